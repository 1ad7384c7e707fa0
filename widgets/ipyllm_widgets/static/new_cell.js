// Puts code of an answer into a new cell of the notebook, which the user may run.

/**
 * Return what does that, or null in a front end whose notebook a widget cannot reach: it can in JupyterLab and Notebook.
 * @param {import("./commands.js").Model} model
 * @param {Element} element in the cell below which the new one is put; outside of the notebook, it becomes the last one
 * @returns {((code: string) => void) | null}
 */
export function cellInserter(model, element) {
  const notebook = model.widget_manager?.context?.model?.sharedModel;
  if (typeof notebook?.insertCell !== "function") return null;
  return (code) => {
    const above = Number(/** @type {HTMLElement | null} */ (element.closest(".jp-Cell"))?.dataset.windowedListIndex ?? NaN);
    notebook.insertCell(Number.isInteger(above) ? above + 1 : notebook.cells.length, { cell_type: "code", source: code.replace(/\n$/, ""), metadata: { trusted: false } });
  };
}

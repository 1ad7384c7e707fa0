"""The explorer in JupyterLab, in Chromium with a real kernel: 5,000 rows × 4 arms, from the cell to the painted rows.

The calls are in the ledger and scored, as after a run, and no two answers are the same. The rows in sight are painted
first; a second figure says when all rows are there, and each filter shows how many pass it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.report import Claim, median
from tests.browser.lab import CHROMIUM, Lab

_ROWS = 5_000
_RUNS = 5
_MAKE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})
from tests.answered_experiment import MODELS, reviews
results = reviews({_ROWS}, MODELS, name="reviews", numbered=True)
len(results.calls)
"""
_EXPLORE = "explorer = results.explore()\nexplorer"
# Each ends when a frame with the change was painted: a message posted in a frame arrives after the paint.
_PAINTED = """
    const painted = () => new Promise(done => {
        const {port1, port2} = new MessageChannel();
        port1.onmessage = done;
        requestAnimationFrame(() => port2.postMessage(0));
    });
"""
# From the key that runs the cell.
_WATCH = (
    "() => {"
    + _PAINTED
    + """
    let began;
    window.addEventListener('keydown', () => (began = performance.now()), {capture: true, once: true});
    const paintedOnce = isThere => new Promise(done => {
        const end = () => done(performance.now() - began);
        const look = () => isThere() ? painted().then(end) : requestAnimationFrame(look);
        look();
    });
    window.opened = paintedOnce(() => document.querySelector('.ipyllm-xrow.active'));
    window.counted = paintedOnce(() => {
        const counts = [...document.querySelectorAll('[data-filter] .ipyllm-count')].map(count => count.textContent);
        return counts.length && counts.every(count => /\\d/.test(count));
    });
}"""
)
_FILTER = (
    "async explorer => {"
    + _PAINTED
    + """
    const times = [];
    for (const chip of [...explorer.querySelectorAll('[data-filter]')].flatMap(chip => [chip, chip])) { // on and off
        const began = performance.now();
        chip.click();
        await painted();
        times.push(performance.now() - began);
    }
    return times;
}"""
)
_SEARCH = (
    "async (explorer, text) => {"
    + _PAINTED
    + """
    const box = explorer.querySelector('[type=search]'), status = explorer.querySelector('.ipyllm-xstatus');
    const search = text => new Promise(done => {
        const watch = new MutationObserver(() => (watch.disconnect(), done()));
        watch.observe(status, {childList: true});
        box.value = text;
        box.dispatchEvent(new Event('input'));
    });
    const began = performance.now();
    await search(text);
    await painted();
    const took = performance.now() - began;
    await search('');
    return took;
}"""
)


def measure() -> list[Claim]:
    if CHROMIUM is None:
        print("no Chromium here: the explorer was not measured")
        return []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        env = {"IPYLLM_LEDGER": f"{home}/ledger.sqlite", "IPYLLM_CONFIG": f"{home}/config.toml"}
        with Lab(Path(home), env=env) as lab:
            notebook = lab.open([_MAKE, _EXPLORE])
            notebook.run(0, timeout_ms=300_000)
            opened, counted = [], []
            for _ in range(_RUNS):
                lab.page.evaluate("void window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
                lab.page.wait_for_function("() => !document.querySelector('.ipyllm-xrow')")
                notebook.cell(1).locator(".jp-InputArea-editor").click()
                lab.page.evaluate(_WATCH)
                lab.page.keyboard.press("Shift+Enter")
                opened.append(lab.page.evaluate("window.opened"))
                counted.append(lab.page.evaluate("window.counted"))
                notebook.wait_idle()
            explorer = notebook.output(1).locator(".ipyllm-explorer")
            filtered = [ms for _ in range(_RUNS) for ms in explorer.evaluate(_FILTER)]
            searched = [
                explorer.evaluate(_SEARCH, text) for text in ("perhaps", "timeout", "phone", "hedges", "(4321)")
            ]
    where = f"{_ROWS:,} rows × 4 arms"
    return [
        Claim(f"explorer of {where}: cell run → rows painted", median(opened) / 1e3, 1, "s"),
        Claim("… all rows there, filters counted", median(counted) / 1e3, 2, "s"),
        Claim("… a filter → painted, slowest", max(filtered), 100, "ms"),
        Claim("… a search by the kernel → painted, 120 ms pause in typing included", median(searched), 400, "ms"),
    ]

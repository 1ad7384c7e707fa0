for (const pre of document.querySelectorAll(".ipyllm-answer pre:not(.ipyllm-text)")) {
if (pre.parentElement.matches(".ipyllm-code")) continue;
const frame = document.createElement("div"), copy = document.createElement("button");
frame.className = "ipyllm-code"; copy.className = "ipyllm-copy"; copy.type = "button"; copy.textContent = "Copy";
copy.setAttribute("aria-label", "Copy code");
copy.onclick = async () => {
try { await navigator.clipboard.writeText(pre.textContent); copy.textContent = "Copied"; }
catch { getSelection().selectAllChildren(pre); copy.textContent = document.execCommand("copy") ? "Copied" : "Selected"; }
setTimeout(() => (copy.textContent = "Copy"), 1500);
};
pre.replaceWith(frame); pre.tabIndex = 0; frame.append(pre, copy);
}

"""Page object of the usage dashboard."""

from __future__ import annotations

SETUP = """\
import itertools, json, pathlib
from datetime import UTC, datetime, timedelta
from ipyllm import OpenAIService, UsageDashboard
from ipyllm.ledger.ids import kernel_id
from ipyllm.ledger import current_ledger

numbers = itertools.count()

def put(n=1, models=("lab/a",), failing=0, **columns):
    '''Put calls of this kernel into the ledger, the latest now.'''
    now = datetime.now(UTC)
    for at in range(n):
        row = {
            "kernel_id": kernel_id(), "model": models[at % len(models)], "service": "lab", "origin": "api",
            "started_at": now - timedelta(seconds=37 * (n - at)),
            "ttft_s": 0.2 + at % 5 / 9 + 0.3 * (at % len(models)), "total_s": 2 + at % 3, "e2e_s": 2.0,
            "output_tps": 40.0 + at % 7 + 9 * (at % len(models)), "input_tokens": 120,
            "output_tokens": 60 + at % 11 * 9, "reasoning_tokens": 12, "usage_source": "server", "cost_usd": 0.002,
            "status": "ok", "prompt": f"Question {at}", "response": "It is **bold**.\\n\\n```python\\n" + "x = 1; " * 40
            + "\\n```", "tags": {"arm": "ab"[at % 2]},
        }
        if failing and at % failing == 0:
            row |= {"status": "error", "error_category": "rate_limit", "error_message": "Too many at once: wait.",
                    "response": None, "ttft_s": None, "output_tokens": None, "cost_usd": None}
        current_ledger().put({"call_id": f"{next(numbers):026d}"} | row | columns)
    current_ledger().flush(30)
"""
SHOW = "dashboard = UsageDashboard(every_s=0.2)\ndashboard"


OURS = (
    "DIV FORM SECTION P LABEL SELECT OPTION INPUT SPAN BUTTON B SMALL I TABLE THEAD TBODY TR TH TD H2 H3 H4 FIGURE"
    " FIGCAPTION NAV DETAILS SUMMARY DL DT DD PRE svg title line text path rect circle polygon"
)
OF_ANSWERS = "A CODE EM STRONG UL OL LI HR BR BLOCKQUOTE H1 H5 H6 S DEL IMG"
LEFT_OF_ATTACKS = """([selector, allowed]) => [...document.querySelectorAll(selector)].flatMap(root =>
    [root, ...root.querySelectorAll('*')]).flatMap(element => {
        const bad = [...element.attributes].filter(({name, value}) => name.startsWith('on')
            || ['srcset', 'srcdoc', 'formaction', 'action', 'data', 'background', 'ping'].includes(name)
            || (name === 'src' && !value.startsWith('data:image/'))
            || (name.endsWith('href') && !/^(https?:|mailto:|#)/i.test(value))
            || (name === 'style' && /url|position|import/i.test(value)));
        const known = allowed.includes(element.tagName) || element.namespaceURI.endsWith('MathML');
        return (bad.length || !known) ? [element.outerHTML.slice(0, 300)] : [];
    })"""


ALLOWED = [*OURS.split(), *OF_ANSWERS.split()]
OPEN_EACH_CALL = """async ([leftOfAttacks, allowed]) => {
    const root = document.querySelector('.ipyllm-dashboard'), names = [], left = [];
    for (const button of root.querySelectorAll('[data-call]')) {
        const name = button.dataset.call, end = performance.now() + 30_000;
        button.click();
        while (root.querySelector('.ipyllm-opened small')?.textContent !== name) {
            if (performance.now() > end) throw new Error(`call ${name} does not open`);
            await new Promise(then => setTimeout(then, 5));
        }
        root.querySelectorAll('.ipyllm-opened details').forEach(details => { details.open = true });
        names.push(name);
        left.push(...eval(leftOfAttacks)(['.ipyllm-opened', allowed]));
    }
    return [names, left.concat(window.pwned === undefined ? [] : ['script ran'])];
}"""


def left_of_attacks(page, selector):
    """What stands there that may not, and whether script ran."""
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    found = page.evaluate(LEFT_OF_ATTACKS, [selector, ALLOWED])
    return sorted(set(found)) + ([] if page.evaluate("window.pwned === undefined") else ["script ran"])


class Dashboard:
    """A dashboard in the output of a cell.

    Parameters
    ----------
    output : Locator
        Output of the cell that shows it.
    """

    def __init__(self, output, nth=0):
        self.root = output.locator(".ipyllm-dashboard").nth(nth)
        self.root.locator(".ipyllm-tiles .tile").first.wait_for()
        self.page = output.page
        self.notice = self.root.locator(".ipyllm-said")
        self.opened = self.root.locator(".ipyllm-opened")
        self.calls = self.root.locator("[data-call]")

    def filter(self, name):
        return self.root.locator(f'[data-filter="{name}"]')

    def n_calls(self):
        return self.root.locator(".tile b").first.inner_text()

    def wait_for_calls(self, n):
        self.root.locator(".tile", has_text="calls").get_by_text(f"{n:,}", exact=True).wait_for()

    def wait_for(self, script, arg=None, timeout=60_000):
        """Wait until a function of the dashboard's element is true."""
        handle = self.root.element_handle()
        self.page.wait_for_function(f"([root, arg]) => ({script})(root, arg)", arg=[handle, arg], timeout=timeout)

"""Page object of the comparison widget."""

from __future__ import annotations

from tests.fakes import answer, drip, server_error, stall

BUSY = "import time\nfor _ in range(60_000): time.sleep(0.01)"
QUESTION = "What is the capital of Switzerland?"
LONG = (
    "The capital is **Bern**.\n\n| city | people |\n| --- | --- |\n| Bern | 134,591 |\n\n"
    + "Its river, its bears. " * 40
)


CONTENT = (
    ".ipyllm-prompt, .ipyllm-text, .ipyllm-reasoning, .ipyllm-error, .ipyllm-whose, .ipyllm-ranking, .ipyllm-transcript"
)
FORBIDDEN = (
    "script, iframe, object, embed, form, link, meta, base, svg, video, audio, input, button:not(.ipyllm-copy),"
    " img:not([src^='data:image/']), .ipyllm-answer style"
)
BAD_ATTRIBUTES = """roots => roots.flatMap(root => [root, ...root.querySelectorAll('*')]).flatMap(element =>
    [...element.attributes].filter(attribute => attribute.name.startsWith('on') || ['srcset', 'srcdoc', 'formaction']
        .includes(attribute.name) || /^\\s*(javascript|vbscript|data:text)/i.test(attribute.value))
    .map(attribute => `${element.tagName} ${attribute.name}=${attribute.value}`))"""


def reply_by_model(request):
    """Return the reply of each model of these tests."""
    return {
        "good": answer(LONG, reasoning="Swiss cities.", ttft=0.2, gap=0.02),
        "bad": answer("It is Basel.", ttft=0.2),
        "broken": server_error(),
        "slow": stall("It is ", after=2),
        "endless": drip("word ", every=0.02),
        "arabic": answer("برن هي عاصمة سويسرا.\n\n```python\nx = 1\n```\n"),
        "japanese": answer("スイスの首都はベルンです。" * 20),
    }.get(request.json["model"])


class Compare:
    """A comparison in the output of a cell; columns, prompt and votes are those of its last round.

    Parameters
    ----------
    output : Locator
        Output of the cell that shows it.
    """

    def __init__(self, output, nth=0):
        self.root = output.locator(".ipyllm-compare").nth(nth)
        self.root.wait_for()
        self.page = output.page
        self.box = self.root.get_by_role("textbox", name="Message")
        self.rounds = self.root.locator(".ipyllm-round")
        self.live = self.root.locator(".ipyllm-round:last-of-type .ipyllm-columns-live")
        self.columns = self.root.locator(".ipyllm-round:last-of-type .ipyllm-column")
        self.prompt = self.root.locator(".ipyllm-round:last-of-type .ipyllm-prompt")
        self.notice = self.root.locator(".ipyllm-notice")
        self.hint = self.root.locator(".ipyllm-hint")
        self.votes = self.root.locator(".ipyllm-round:last-of-type .ipyllm-vote")
        self.ranking = self.root.locator(".ipyllm-ranking")

    def ask(self, prompt=QUESTION):
        self.box.fill(prompt)
        self.box.press("Enter")

    def button(self, name, within=None):
        """Return a button, of the rounds only one of the last."""
        found = (within or self.root).get_by_role("button", name=name, exact=True)
        return found.and_(self.root.locator(":not(.ipyllm-earlier *)"))

    def wait_until_idle(self):
        self.button("Send").wait_for()

    def wait_for_vote(self):
        """Wait until all answers have ended; where fewer than two are complete, nothing can be chosen."""
        self.votes.wait_for()

    def texts(self):
        """Return the answers, in the order of the columns."""
        return [column.locator(".ipyllm-text").inner_text() for column in self.columns.all()]

    def wait_for(self, script, arg=None, timeout=60_000):
        """Wait until a function of the comparison's element is true."""
        handle = self.root.element_handle()
        self.page.wait_for_function(f"([root, arg]) => ({script})(root, arg)", arg=[handle, arg], timeout=timeout)


def left_of_attacks(page):
    """What stands in the page that may not, and whether script ran."""
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    page.wait_for_timeout(500)
    found = page.locator(f":is({CONTENT})").evaluate_all(BAD_ATTRIBUTES)
    elements = page.locator(f":is({CONTENT}) :is({FORBIDDEN})").evaluate_all("found => found.map(e => e.outerHTML)")
    return found + sorted(set(elements)) + ([] if page.evaluate("window.pwned === undefined") else ["script ran"])


def open_comparison(lab, models, more=(), **options):
    """Open a notebook: a comparison of these models in the first cell, the votes in the second, then ``more`` cells."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
    source = f"from ipyllm import CompareWidget, votes\nwidget = CompareWidget(models={models}, {arguments})\nwidget"
    notebook = lab.show([source, "votes()[['outcome', 'blind']]", *more])
    return notebook, Compare(notebook.run(0))

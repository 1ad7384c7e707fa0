"""Page object of the chat widget, and helpers of the browser tests."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from inspect import signature
from itertools import count
from pathlib import Path

from tests.browser.lab import Lab
from tests.fakes import FakeLLM

COUNTED = " ".join(f"w{n}" for n in range(150))
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
)
ANSWER = """## Fitting a line

The slope is $\\hat\\beta = (X^T X)^{-1} X^T y$.

```python
import numpy as np

beta, *_ = np.linalg.lstsq(X, y, rcond=None)  # least squares
```

| method | time (ms) |
| --- | ---: |
| `lstsq` | 1.21 |

Then look at the *residuals*.
"""

PROMPTS = """
from pathlib import Path
Path("prompts").mkdir(exist_ok=True)
for name, text in {"review": "Review this code: what is wrong?", "explain": "Explain it to a child.",
                   "unit tests": "Write unit tests."}.items():
    Path("prompts", f"{name}.md").write_text(text)
"""
FILES = [
    {
        "name": "results-of-the-third-experiment-with-a-long-name.csv",
        "mimeType": "text/csv",
        "buffer": b"a,b\n1,2\n" * 90,
    },
    {"name": "fit.py", "mimeType": "text/x-python", "buffer": b"print(1)\n"},
    {"name": "plot.png", "mimeType": "image/png", "buffer": PNG},
]


def environment(fake, home):
    """Settings of a kernel that knows the fake server only."""
    return {
        "IPYLLM_MODEL": "openai/fake-model",
        "OPENAI_BASE_URL": fake.base_url,
        "OPENAI_API_KEY": "sk-test-0123456789abcdef",
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "IPYLLM_CONFIG": str(home / "config.toml"),
    }


@contextmanager
def lab_with_fake(home, *, env=None, page=Lab, **options):
    """A lab whose kernels know one fake server, and that server."""
    with FakeLLM() as fake, page(home, env=environment(fake, home) | (env or {}), **options) as lab:
        lab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        lab.conversation_numbers = count(1)
        yield lab, fake


@contextmanager
def assert_page_healthy(lab):
    """Yield the lab, and assert afterwards: no error, no external request, no dialog."""
    for record in (lab.errors, lab.external_requests, lab.dialogs):
        record.clear()
    yield lab
    assert lab.errors == [], f"no script of the page may fail: {lab.errors}"
    assert lab.external_requests == [], "nothing is fetched from elsewhere"
    assert lab.dialogs == []


def run_with_fixtures(test, **fixtures):
    """Call another test with those of the fixtures that it takes."""
    test(**{name: fixtures[name] for name in signature(test).parameters})


def click_a_hundred_times(root, *others):
    """Send a hundred questions at once; after each, click the elements that these selectors find."""
    root.evaluate(
        """(root, others) => {
            const box = root.querySelector('.ipyllm-composer textarea');
            for (let n = 0; n < 100; n++) {
                box.value = `question ${n}`;
                box.dispatchEvent(new Event('input'));
                root.querySelector('.ipyllm-go').click();
                for (const other of others) root.querySelector(other)?.click();
            }
        }""",
        list(others),
    )


def paste(box, text):
    """Paste a text as a person does."""
    box.evaluate(
        """(box, text) => {
            const data = new DataTransfer();
            data.setData('text/plain', text);
            box.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        text,
    )


def screenshot(lab, name):
    """Save a screenshot of the page, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    lab.page.screenshot(path=SCREENSHOTS / f"{name}-{lab.theme}.png")


class Chat:
    """A chat in the output of a cell.

    Parameters
    ----------
    output : Locator
        Output of the cell that shows it.
    """

    def __init__(self, output, nth=0):
        self.root = output.locator(".ipyllm-chat").nth(nth)
        self.root.wait_for()
        self.page = output.page
        self.log = self.root.get_by_role("log")
        self.box = self.root.locator(".ipyllm-composer textarea")
        self.notice = self.root.locator(".ipyllm-notice")
        self.hint = self.root.locator(".ipyllm-hint")
        self.turns = self.root.locator(".ipyllm-exchange")
        self.totals = self.root.locator(".ipyllm-totals")
        self.model = self.root.get_by_role("combobox", name="Model")

    def type(self, text):
        self.box.fill(text)
        self.box.press("Enter")

    def ask(self, text):
        """Ask, and wait for the footer."""
        count = self.footers().count()
        self.type(text)
        self.footers().nth(count).wait_for()
        return self.turns.last

    def footers(self):
        return self.root.locator(".ipyllm-foot:not([hidden]) .ipyllm-footer")

    def button(self, name, within=None):
        return (within or self.root).get_by_role("button", name=name, exact=True)

    def wait_until_idle(self):
        self.button("Send").wait_for()

    def drain_queue(self):
        """Wait until all questions that wait were asked; after a stop they are sent by a click."""
        queue = self.root.locator(".ipyllm-queue")
        while queue.is_visible():
            if self.button("Send now").is_visible():
                self.button("Send now").click()
            self.page.wait_for_timeout(200)
        self.wait_until_idle()

    def wait_for(self, script, arg=None, timeout=60_000):
        """Wait until a function of the chat's element is true."""
        handle = self.root.element_handle()
        self.page.wait_for_function(f"([chat, arg]) => ({script})(chat, arg)", arg=[handle, arg], timeout=timeout)

    def text(self):
        return self.log.inner_text()

    def announced(self):
        return self.root.locator("[role=status].ipyllm-away").inner_text()


def opened(lab, *more, arguments="", anew=False):
    """A chat over a conversation of its own, and cells in which TALK is its name; on the kernel there is, if it may."""
    name = f"talk-{next(lab.conversation_numbers)}"
    source = f"from ipyllm import ChatWidget\nchat = ChatWidget(conversation={name!r}, {arguments})\nchat"
    notebook = lab.show([source, *(cell.replace("TALK", name) for cell in more)], new_kernel=anew)
    return notebook, Chat(notebook.run(0))


def words(chat):
    """Return the words of the newest answer."""
    # Not `inner_text`: a turn out of sight is not laid out (content-visibility), and has none.
    return chat.turns.last.locator(".ipyllm-text").text_content().split()

"""In a real JupyterLab, no answer runs script, fetches anything or is typeset by the page's MathJax.

The cell is live, so the page trusts its output; only our sanitiser protects it.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.lab import Lab, needs_chromium
from tests.service.rendering.payloads import CANARY, PAYLOADS

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(240)]

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

SHOW_PAYLOADS = """\
import json, pathlib
from IPython.display import HTML, display
from ipyllm.rendering import STYLE, to_html
payloads = json.loads(pathlib.Path("payloads.json").read_text())
display(HTML(STYLE + "".join(map(to_html, payloads.values())) + to_html("\\n\\n".join(payloads.values()))))
"""
SHOW_UNSAFE = """\
from IPython.display import Markdown, display
display(Markdown(pathlib.Path("unsafe.md").read_text()))
"""
SHOW_MATH = "display(HTML('<div id=\"plain-tex\">$x^2$ and \\\\(y^2\\\\)</div>'))"


class Canary:
    """A loopback server that nobody may visit. It keeps the paths of those who did."""

    def __enter__(self):
        visits = self.visits = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                visits.append(self.path)
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def canary():
    with Canary() as server:
        yield server


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("notebooks")) as started:
        yield started


@pytest.fixture
def watched(lab, canary):
    """The lab with the payloads aimed at the canary, and nothing recorded yet."""
    aimed = {name: payload.replace(CANARY, canary.url) for name, payload in PAYLOADS.items()}
    (lab.root / "payloads.json").write_text(json.dumps(aimed))
    unsafe = f"![x]({canary.url}/pixel)\n\n<img src=x onerror=\"window.pwned=1;fetch('{canary.url}/fetch')\">"
    (lab.root / "unsafe.md").write_text(unsafe)
    for record in (canary.visits, lab.external_requests, lab.dialogs):
        record.clear()
    return lab


def pwned(lab):
    return [frame.evaluate("window.pwned") for page in lab.context.pages for frame in page.frames]


@pytest.mark.smoke
def test_no_payload_runs_or_fetches_or_is_typeset(watched, canary):
    notebook = watched.open([SHOW_PAYLOADS, SHOW_MATH])
    output = notebook.run(0)
    notebook.run(1)
    # When MathJax has typeset the next output, it has had its chance with this one.
    notebook.page.wait_for_selector("#plain-tex mjx-container")
    notebook.page.wait_for_timeout(1000)

    assert output.locator(".ipyllm-answer").count() == len(PAYLOADS) + 1
    assert output.locator("mjx-container").count() == 0
    assert output.locator("math").count() > 5, "our own math is MathML"
    forbidden = "script, iframe, form, svg, object, link, meta, base, [id], [name], [data-commandlinker-command]"
    assert output.locator(f".ipyllm-answer :is({forbidden})").count() == 0
    assert pwned(watched) == [None]
    assert watched.dialogs == []
    assert watched.external_requests == []
    assert canary.visits == []

    links = output.locator(".ipyllm-answer a")
    hrefs = links.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert {href.split(":")[0] for href in hrefs if href is not None} <= {"http", "https", "mailto"}
    here = notebook.page.url
    for href in set(hrefs):
        links.nth(hrefs.index(href)).click(no_wait_after=True, force=True)
    notebook.page.wait_for_timeout(1000)
    assert notebook.page.url == here
    assert notebook.page.evaluate("window.pwned") is None
    assert watched.dialogs == []
    assert len(watched.context.pages) > 1, "links open apart"
    for page in watched.context.pages[1:]:
        assert page.evaluate("window.opener") is None
        page.close()


def test_what_is_not_on_this_machine_is_refused_and_recorded(watched):
    """The control: also an address that no name has to be looked up for."""
    watched.open(["1"])
    failures = []
    watched.page.on("requestfailed", lambda request: failures.append(request.failure))
    addresses = ["http://example.org/a.png", "http://10.0.0.1/b.png", "http://[2001:db8::1]/c.png"]
    watched.page.evaluate(
        "addresses => Promise.allSettled(addresses.map(address => fetch(address, {mode: 'no-cors'})))", addresses
    )
    assert watched.external_requests == addresses
    assert failures == ["net::ERR_NAME_NOT_RESOLVED"] * 3


@pytest.mark.smoke
def test_the_same_page_does_run_and_fetch_what_is_shown_unsafely(watched, canary):
    """The control: without our rendering, the canary sings."""
    notebook = watched.open(["import pathlib", SHOW_UNSAFE])
    notebook.run(0)
    notebook.run(1)
    notebook.page.wait_for_function("window.pwned === 1")
    notebook.page.wait_for_timeout(500)
    assert {"/pixel", "/fetch"} <= set(canary.visits)


RICH_ANSWER = r"""# Fitting a line
A paragraph with **bold**, *emphasis*, ~~struck~~, `code` and a [link](https://numpy.org). For $n$ points
$(x_i, y_i)$ the slope is \(\hat\beta = (X^\top X)^{-1} X^\top y\). It costs $5 and $10.

## In Python

```python
import numpy as np

class Line:
    '''Least squares.'''
    def fit(self, x: np.ndarray, y: np.ndarray) -> "Line":
        # one column of ones for the intercept
        X = np.column_stack([np.ones_like(x), x])
        self.beta, *_ = np.linalg.lstsq(X, y, rcond=None)
        return self  # this line is long, longer than the page is wide, and nothing like it is wrapped

print(f"{Line().fit(x, y).beta[1]:.3f}", True, None, 1.5e-3)
```

| method   | time (ms) | note                    |
|:---------|----------:|:------------------------|
| `lstsq`  |      1.21 | stable                  |
| `solve`  |      0.38 | needs $X^\top X$ well conditioned |

### Why it works

1. Write down the loss:
   $$
   L(\beta) = \sum_{i=1}^n \left( y_i - \beta_0 - \beta_1 x_i \right)^2 \pm \varepsilon
   $$
2. Set the gradient to zero with a step of $\eta$:
   - $\partial L / \partial \beta_0 = 0$
   - $\partial L / \partial \beta_1 = 0$

\[
\begin{pmatrix} a & b \\ c & d \end{pmatrix}^{-1}
= \frac{1}{ad - bc} \begin{pmatrix} d & -b \\ -c & a \end{pmatrix},
\qquad \int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}
\]

$$
\begin{aligned}
\lim_{n \to \infty} \operatorname{Var}[\hat\beta] &= \sigma^2 \max_x f(x) \\
&\leq \left( \frac{a}{b} \right)^2, \quad \alpha \in \mathbb{R}^n
\end{aligned}
$$

\(\undefined{macro}\) stays as it is.

> All models are wrong, but some are useful.
> See <https://en.wikipedia.org/wiki/All_models_are_wrong>.

![residuals](https://plots.example.com/residuals.png)

---

```diff
- old line
+ new line
```
"""

RICH_ANSWER = RICH_ANSWER.replace("and nothing", "and " * 12 + "nothing")

SHOW_RICH_ANSWER = """\
import pathlib
from IPython.display import HTML
from ipyllm.rendering import STYLE, footer_html, to_html
from ipyllm.response import ChatResponse, Usage
from ipyllm.timing import Timing
response = ChatResponse(
    model="local/smollm2-135m", usage=Usage(36, 120, source="server"), cost_usd=0.0,
    timing=Timing(ttft_s=0.08, total_s=1.21, output_tps=101.3, attempts=1), finish_reason="length",
)
HTML(STYLE + to_html(pathlib.Path("answer.md").read_text()) + footer_html(response)
     + '<div class="ipyllm-waiting">ollama/llama3.2 …</div>')
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_rich_answer_looks_right(theme, tmp_path):
    (tmp_path / "answer.md").write_text(RICH_ANSWER)
    with Lab(tmp_path, theme=theme, height=1900) as lab:
        output = lab.open([SHOW_RICH_ANSWER]).run(0)
        answer = output.locator(".ipyllm-answer")
        answer.wait_for()
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        lab.page.locator(".jp-Notebook .jp-CodeCell").first.screenshot(path=SCREENSHOTS / f"answer-{theme}.png")

        assert lab.page.locator("body").get_attribute("data-jp-theme-light") == str(theme == "light").lower()
        code = answer.locator("pre").first
        assert code.evaluate("pre => pre.scrollWidth > pre.clientWidth"), "long code scrolls"
        assert answer.evaluate("div => div.scrollWidth <= div.clientWidth"), "and the answer around it does not"
        for shown, behind in (
            (answer.locator("p").first, answer),
            (code, code),
            (code.locator(".k").first, code),
        ):
            assert contrast(shown, behind) > 4.5, shown
        assert answer.locator("img").count() == 0
        assert lab.external_requests == []


def contrast(shown, behind):
    """WCAG contrast of text to the nearest opaque background."""
    front = shown.evaluate("e => getComputedStyle(e).color")
    back = behind.evaluate(
        """e => {
            for (; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (!/rgba\\(.*, 0\\)|transparent/.test(colour)) return colour;
            }
            return 'rgb(255, 255, 255)';
        }"""
    )
    lighter, darker = sorted((luminance(front, back), luminance(back, back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour, behind):
    """Relative luminance of ``rgb(…)`` or ``rgba(…)`` drawn over an opaque colour."""
    *rgb, alpha = [*numbers(colour), 1.0][:4]
    mixed = [alpha * c + (1 - alpha) * b for c, b in zip(rgb, numbers(behind)[:3], strict=True)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in mixed)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def numbers(colour):
    return [float(part) for part in colour.split("(")[1].rstrip(")").split(",")]

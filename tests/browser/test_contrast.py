"""What magics and widgets say while they wait, when they fail, and below answers can be read, light and dark."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.browser.contrast import shown_texts
from tests.browser.lab import Lab, needs_chromium, set_theme
from tests.fakes import FakeLLM, answer, model_not_found

pytestmark = [pytest.mark.browser, pytest.mark.thorough, needs_chromium, pytest.mark.timeout(240)]

ANSWER = """## An answer

It has `code`, [a link](https://example.com/a), $x^2$ and a footnote.[^1]

```python
@cache
def mean(values: list[float]) -> float:  # arithmetic
    return sum(values) / max(1, len(values))
```

```html
<p class="x">1 &amp; 2</p>
```

```bash
echo "$HOME" | wc -l
```

```diff
-one
+two
```

```sql
SELECT 'a', 2 FROM t
```

> It is said so.

| law | n |
| --- | ---: |
| first | 1 |

[^1]: Here.
"""
CELLS = [
    "%load_ext ipyllm\nfrom ipyllm import ChatWidget, CompareWidget",
    "%%llm -m openai/good\nGo",
    "%%llm -m openai/broken\nGo",
    "_llm",
    "%%llm_compare -m openai/good -m openai/broken -m openai/gone\nGo",
    "%llm_vote tie",
    "%llm_history",
    "chat = ChatWidget(model='openai/broken')\nchat.ask_later = chat.send('Go')\nchat",
    "compare = CompareWidget(models=['openai/good', 'openai/gone'])\ncompare.ask('Go')\ncompare",
    "%%llm_compare -m openai/slow -m openai/good\nGo",
    "%%llm -m openai/slow\nGo",
]
OURS = ".jp-RenderedHTML, .ipyllm-chat, .ipyllm-compare"
TOLD = ("waiting", "first token", "was lost during the response", "Reasoning", "arithmetic")
WAITING = {9: ".ipyllm-columns .ipyllm-waiting", 10: ".ipyllm-waiting"}


def by_model(request):
    match request.json["model"]:
        case "good":
            return answer(ANSWER, reasoning="They want an answer.")
        case "broken":
            return fakes.reset(answer("one two three", reasoning="Well."), after=3)
        case "slow":
            return fakes.never_answers()
    return model_not_found()


@pytest.fixture
def lab(tmp_path):
    with FakeLLM() as fake:
        fake.on(by_model)
        env = {
            "OPENAI_BASE_URL": fake.base_url,
            "IPYLLM_MAX_RETRIES": "0",
            "IPYLLM_LEDGER": str(tmp_path / "ledger.sqlite"),
            "IPYLLM_CONFIG": str(tmp_path / "config.toml"),
        }
        with Lab(tmp_path, env=env, height=1600) as lab:
            yield lab


def test_every_text_has_the_contrast_that_can_be_read_in_light_and_dark(lab):
    notebook, faint, looked_at = lab.open(CELLS), [], set()

    def look(number):
        notebook.cell(number).scroll_into_view_if_needed()
        notebook.cell(number).evaluate("cell => document.querySelector('.looked-at')?.classList.remove('looked-at') "
                                       "|| cell.classList.add('looked-at')")  # fmt: skip
        for theme in ("dark", "light"):
            set_theme(lab.page, theme)
            texts = shown_texts(lab.page, f".looked-at :is({OURS})")
            assert texts, CELLS[number]
            looked_at.update(text["text"] for text in texts)
            faint.extend((theme, CELLS[number], text) for text in texts if text["contrast"] < text["least"])

    notebook.run(0)
    for number in range(1, 9):
        notebook.run(number)
        if "_vote" not in CELLS[number]:
            look(number)
    for number, line in WAITING.items():
        notebook.start(number)
        notebook.output(number).locator(line).first.wait_for()
        look(number)
        notebook.interrupt(number)
    assert faint == []
    told = " ".join(looked_at)
    assert [words for words in TOLD if words not in told] == []

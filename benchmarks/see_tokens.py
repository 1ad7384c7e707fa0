"""What a model computes, as it is shown: the view of tokens and the sliders in Chromium, ``next_token`` when warm.

Each drawing is timed from the change to its layout, in the page.
"""

from __future__ import annotations

import math
from time import perf_counter

from benchmarks.report import Claim, median
from ipyllm import SamplingExplorer, next_token
from ipyllm.logprobs import read_logprobs
from ipyllm.prediction.distribution import Distribution
from ipyllm.rendering import STYLE
from ipyllm.rendering.token_view import tokens_html
from tests.browser.drawing import DRAW, SLIDE
from tests.browser.lab import chromium
from tests.browser.teaching import show

_RUNS = 15
_TOKENS = 2_000
_VOCABULARY = 49_152  # that of the embedded model


def _view_of_tokens():
    alternatives = [{"token": f" other{n}", "logprob": -1.0 - n} for n in range(5)]
    items = [
        {"token": f" word{n}", "logprob": -((n % 7) ** 1.5) / 3, "top_logprobs": alternatives} for n in range(_TOKENS)
    ]
    return tokens_html(read_logprobs(items))


def _distribution():
    logprobs = tuple(-1.0 - math.log(rank + 1) for rank in range(_VOCABULARY))
    return Distribution("The", "local/m", tuple(f" t{rank}" for rank in range(_VOCABULARY)), logprobs, is_whole=True)


def _next_token_ms():
    start = perf_counter()
    next_token("The capital of France is", model="local/smollm2-135m", top=10)
    return 1e3 * (perf_counter() - start)


def measure():
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(f"<!doctype html><title>Tokens</title>{STYLE}<main></main>")
        html = _view_of_tokens()
        drawn = [page.evaluate(DRAW, html) for _ in range(_RUNS)]
        show(page, SamplingExplorer(_distribution(), top_p=0.99))
        page.evaluate(SLIDE, 5)
        slid = page.evaluate(SLIDE, 3 * _RUNS)
    _next_token_ms()
    warm = [_next_token_ms() for _ in range(_RUNS)]
    return [
        Claim(f"`-f tokens`: {_TOKENS:,} tokens drawn", median(drawn), 200, "ms", f"best {min(drawn):.0f} ms"),
        Claim("`next_token`, warm", median(warm), 150, "ms", f"best {min(warm):.0f} ms"),
        Claim(
            f"a slider over {_VOCABULARY:,} tokens moved → repainted",
            median(slid),
            30,
            "ms",
            f"best {min(slid):.1f} ms",
        ),
    ]

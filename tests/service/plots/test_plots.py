"""Plots show the figures of the tables, fit long names, and refuse missing data with an explanation."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ipyllm import plots
from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.plots.theme import arm_styles, labels, themed
from ipyllm.plots.timing_plots import _rate
from tests.service.statistics.simulated import calls, votes

ARMS = {"local/smollm2-135m": (0.45, 0.1), "openai/gpt-6-luna · temperature=0": (0.8, 0.6)}


@pytest.fixture(autouse=True)
def offscreen():
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def two():
    return calls(ARMS, prompts=40)


def _texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def _outside(figure):
    """Return the names, labels and titles that do not lie wholly within the picture."""
    figure.canvas.draw()
    written = [text for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        written += [ax.title, ax.xaxis.label, ax.yaxis.label]
        written += ax.get_yticklabels() if "\n" in "".join(t.get_text() for t in ax.get_yticklabels()) else []
    box = figure.bbox
    return [
        text.get_text()
        for text in written
        if text.get_text()
        for extent in [text.get_window_extent()]
        if extent.x0 < box.x0 - 2 or extent.x1 > box.x1 + 2 or extent.y0 < box.y0 - 2 or extent.y1 > box.y1 + 2
    ]


@pytest.mark.parametrize(("n", "dark"), [(2, None), (6, True), (12, False)])
def test_every_picture_holds_all_its_names_however_many_and_long(n, dark):
    arms = {
        f"provider-{i}/some-model-with-a-long-name-{i}b-instruct · temperature={i % 3} · You classify with care": (
            0.3 + 0.05 * i,
            0.05 * 1.35**i,
        )
        for i in range(n)
    }
    given = calls(arms, prompts=8, repeats=1)
    given.loc[3, "status"] = "error"
    axes = [
        plots.latency(given, dark=dark),
        plots.intervals(given, dark=dark),
        plots.intervals(given, "exact", dark=dark),
        plots.cost_score(given, dark=dark),
        plots.throughput(given, dark=dark),
        plots.pairs(given, dark=dark),
        plots.win_matrix(votes({arm: i * 0.3 for i, arm in enumerate(arms)}, n=20 * n), dark=dark),
    ]
    for figure in [*(ax.figure for ax in axes), plots.overview(given, dark=dark)]:
        assert _outside(figure) == []


def test_the_line_of_an_arm_rises_to_all_of_its_calls_and_crosses_half_at_the_median(two):
    line = plots.latency(two).get_lines()[2]
    x, y = line.get_xdata(), line.get_ydata()
    first = two[two["arm"] == "local/smollm2-135m"]["ttft_s"]
    assert (x[0], y[0], x[-1], y[-1]) == (first.min(), 0, first.max(), 1)
    assert x[np.searchsorted(y, 0.5)] == pytest.approx(first.median(), rel=0.05)


def test_points_and_whiskers_are_those_of_the_table(two):
    table = st.summarise_arms(two)
    drawn = [(line.get_xdata()[0], line.get_xdata()[-1]) for line in plots.intervals(two, "exact").get_lines()]
    for arm in table.index:
        low, high = table.loc[arm, "score_exact_low"], table.loc[arm, "score_exact_high"]
        assert any(pair == pytest.approx((low, high)) for pair in drawn)
        assert any(pair == pytest.approx((table.loc[arm, "score_exact"],) * 2) for pair in drawn)


def test_arms_stand_in_the_order_of_the_call_or_the_best_first():
    given = calls({"c": (0.4, 0.3), "a": (0.9, 0.2), "b": (0.6, 0.1)}, prompts=30)

    def order(ax):
        return [label.get_text() for label in ax.get_yticklabels()]

    assert order(plots.intervals(given, "exact")) == order(plots.intervals(given)) == ["c", "a", "b"]
    assert order(plots.intervals(given, "exact", sort="value")) == ["a", "b", "c"]
    by_time = plots.intervals(given.assign(cold=given["arm"] == "b"), sort="value")
    assert order(by_time) == ["a", "c", "b"]
    assert [text.get_text() for text in by_time.texts] == ["no valid call"]
    sorted_axes = [order(ax) for ax in plots.overview(given, sort="value").axes if len(order(ax)) == 3]
    assert ["a", "b", "c"] in sorted_axes
    assert ["b", "a", "c"] in sorted_axes
    with pytest.raises(LLMError, match="sort must be 'value'"):
        plots.intervals(given, sort="name")


def test_the_tokens_of_all_bins_are_those_of_all_calls():
    edges = np.linspace(0, 10, 51)
    first, last, tokens = np.array([0.0, 2.05, 3.0]), np.array([10.0, 2.06, 8.0]), np.array([100.0, 7.0, 50.0])
    rate = _rate(edges, first, last, tokens)
    assert (rate * np.diff(edges)).sum() == pytest.approx(157)
    assert rate[0] == pytest.approx(10)
    assert rate[20] == pytest.approx(20)  # from 4 s: 100 tokens in 10 s and 50 in 5


def test_the_arms_of_the_throughput_stand_upon_one_another(two):
    ax = plots.throughput(two)
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in ax.collections]
    assert len(tops) == 2
    assert tops[1] > tops[0] > 0


def test_the_front_holds_those_that_no_other_arm_beats():
    given = calls({"cheap": (0.5, 0.1), "dear": (0.9, 0.1), "bad": (0.3, 0.1)})
    cost = {"cheap": 1.0, "dear": 3.0, "bad": 2.0}
    ax = plots.cost_score(given.assign(cost_usd=given["arm"].map(cost)))
    filled = [
        line.get_xdata()[0]
        for line in ax.get_lines()
        if line.get_marker() != "None" and line.get_markerfacecolor() == line.get_color()
    ]
    assert filled == [1.0, 3.0]


def test_plots_of_cost_and_throughput_say_how_many_calls_they_leave_out(two):
    given = two.copy()
    given.loc[given.index[:10], ["cost_usd", "output_tokens"]] = None
    n = len(given)
    assert f"means of known costs: 10 of {n} unknown" in _texts(plots.cost_score(given).figure)
    assert plots.intervals(given, "cost_usd").get_xlabel().endswith(f": mean of known costs, 10 of {n} unknown")
    assert plots.throughput(given).get_xlabel().endswith(f"; 10 of {n} calls not counted")
    for axes in (plots.cost_score(two), plots.intervals(two, "cost_usd"), plots.throughput(two)):
        assert not any("unknown" in text or "not counted" in text for text in _texts(axes.figure))


def test_pairs_count_the_prompts_on_either_side(two):
    ax = plots.pairs(two, metric="exact")
    wide = two.pivot_table(index="prompt_id", columns="arm", values="score_exact")
    d = wide.iloc[:, 1] - wide.iloc[:, 0]
    assert ax.get_title().startswith(
        f"better on {(d > 0).sum()}, worse on {(d < 0).sum()}, the same on {(d == 0).sum()} of 40 prompts"
    )
    slower = plots.pairs(two, metric="ttft_s")
    assert slower.get_title().startswith("better on 0, worse on 40")


def test_every_cell_of_the_win_matrix_says_of_how_many_votes():
    cast = votes(dict.fromkeys("abc", 0.0), n=60)
    texts = [text.get_text() for text in plots.win_matrix(cast).texts]
    assert len(texts) == 6
    assert sum(int(text.rsplit(" ", 1)[1]) for text in texts) == 120


def test_an_arm_looks_the_same_in_every_picture_and_like_no_other():
    with themed(dark=False):
        style = arm_styles([f"arm{i}" for i in range(12)])
    assert len({(one.colour, one.line) for one in style.values()}) == 12
    assert len({one.marker for one in style.values()}) == 12


@pytest.mark.parametrize("dark", [True, False])
def test_colours_and_text_stand_out_from_their_ground(dark):
    from matplotlib.colors import to_rgb

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    with themed(dark):
        ground = luminance(mpl.rcParams["axes.facecolor"])
        shades = [luminance(style.colour) for style in arm_styles(list("abcdefg")).values()]
        text = luminance(mpl.rcParams["text.color"])
    contrast = [(max(shade, ground) + 0.05) / (min(shade, ground) + 0.05) for shade in shades]
    assert min(contrast) > 2
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) > 7


def test_without_being_told_pictures_follow_matplotlibs_style(two):
    with plt.style.context("dark_background"):
        ax = plots.latency(two)
        assert ax.get_facecolor()[:3] == (0, 0, 0)
        assert ax.get_lines()[2].get_color() == "#56B4E9"
    assert plots.latency(two).get_lines()[2].get_color() == "#0072B2"


def test_drawing_leaves_matplotlibs_settings_alone(two):
    before = dict(mpl.rcParams)
    plots.overview(two, dark=True)
    assert dict(mpl.rcParams) == before


def test_a_picture_goes_into_the_axes_it_is_given(two):
    _, ax = plt.subplots()
    assert plots.latency(two, ax=ax) is ax
    assert not ax.figure.legends


def test_a_name_is_never_read_as_tex_nor_as_an_escape_sequence():
    given = calls({r"$\frac{1}$ \x": (0.5, 0.1), "costs $5\x1b]0;x\x07": (0.6, 0.1)}, prompts=4)
    figure = plots.overview(given)
    figure.canvas.draw()
    assert any("costs" in text and "\x1b" not in text for text in _texts(figure))


def test_names_that_would_be_shortened_to_the_same_stay_apart():
    arms = [
        f"model · {'a long and winding system prompt ' * 4}{i} which goes on as it began, on and on" for i in (1, 2)
    ]
    assert len(set(labels(arms).values())) == 2


def test_what_is_not_there_is_not_drawn(two):
    bare = two[["arm", "prompt_id", "status", "ttft_s"]]
    assert len(plots.overview(bare).axes) == 2
    for draw, match in [
        (lambda: plots.throughput(bare), "no column started_at"),
        (lambda: plots.cost_score(bare), "have no scores, so there is nothing to draw against cost"),
        (lambda: plots.cost_score(two.assign(cost_usd=None)), "No arm has both a known cost and a score"),
        (lambda: plots.latency(two.assign(cold=True)), "None of these calls has a valid time to first token"),
        (lambda: plots.latency(two, "tffb_s"), "There is no metric 'tffb_s'"),
        (lambda: plots.pairs(two[two["arm"] == "local/smollm2-135m"]), "There is only one arm"),
        (lambda: plots.pairs(two, "gpt"), "There is no arm 'gpt'"),
        (lambda: plots.overview(two[["arm", "status"]]), "neither times nor scores"),
    ]:
        with pytest.raises(LLMError, match=match):
            draw()


def _late(two, *, of_small):
    """Return the calls, some of the first arm and a tenth of the second read late."""
    small = (two["arm"] == "local/smollm2-135m").to_numpy()
    n = np.arange(len(two))
    late = np.where(small, n % 10 < 10 * of_small, n % 10 == 0)
    return two.assign(arrival_clock="process", client_lag_s=np.where(late, 0.2, 0.001))


def test_an_arm_that_was_mostly_measured_late_is_named_and_not_drawn(two):
    late = _late(two, of_small=0.9)
    n_lines = len(plots.latency(two).get_lines())
    line_plot = plots.latency(late)
    assert len(line_plot.get_lines()) == n_lines - 1
    assert any("smollm2-135m: most calls measured late" in text for text in _texts(line_plot.figure))
    assert any("88 of 160 calls left out" in text for text in _texts(line_plot.figure))
    points = plots.intervals(late)
    assert "most calls measured late" in _texts(points.figure)
    assert "most calls measured late" not in _texts(plots.intervals(late, "total_s").figure)
    assert _outside(line_plot.figure) == _outside(points.figure) == []
    with pytest.raises(LLMError, match="valid time to first token: most were measured late"):
        plots.latency(late[late["arm"] == "local/smollm2-135m"])


def test_the_overview_says_why_it_has_no_first_times(two):
    figure = plots.overview(two.assign(arrival_clock="process", client_lag_s=0.2))
    assert "no time to first token: most calls measured late" in _texts(figure)
    assert any(text.startswith("total time (s)") for text in _texts(figure))
    assert "no time to first token: most calls measured late" not in _texts(plots.overview(two))


def test_calls_left_out_are_counted_below_the_axis(two):
    some = _late(two, of_small=0.1)
    for draw in (plots.latency, plots.intervals):
        assert "16 of 160 calls left out (cold, cached, late or failed)" in draw(some).get_xlabel()
        assert "left out" not in draw(two).get_xlabel()
    assert "left out" not in plots.latency(some, "total_s").get_xlabel()
    missing = two.assign(output_tokens=two["output_tokens"].where(two.index >= 5).astype("Int64"))
    assert "5 of 160 calls not counted" in plots.throughput(missing).get_xlabel()
    assert "not counted" not in plots.throughput(two).get_xlabel()
    unscored = two.assign(score_exact=two["score_exact"].astype(float).mask(two["prompt_id"] == "p3"))
    assert "1 prompt without both values" in plots.pairs(unscored, metric="exact").get_xlabel()
    assert "without" not in plots.pairs(two, metric="exact").get_xlabel()


def test_first_times_are_those_to_the_visible_text_where_a_model_reasons(two):
    reasoning = two.assign(ttfo_s=two["ttft_s"] + 1, thinking_s=1.0)
    for draw in (plots.latency, plots.intervals):
        assert draw(reasoning).get_xlabel().startswith("time to first visible text (s)")
        assert draw(two).get_xlabel().startswith("time to first token (s)")
        assert draw(reasoning, "ttft_s").get_xlabel().startswith("time to first token (s)")
    bare = reasoning.drop(columns=["score_exact", "score_similarity"])
    assert plots.pairs(bare).get_ylabel() == "difference in time to first visible text (s)"
    assert plots.overview(reasoning).axes[2].get_xlabel().startswith("time to first visible text")


def test_tokens_are_spread_from_the_first_of_a_stream_and_over_all_of_a_whole_answer():
    one = calls({"a": (0.5, 0.2)}, prompts=1, repeats=1).assign(
        ttft_s=8.0, total_s=10.0, queue_s=1.0, output_tokens=100, streamed=True
    )
    tops = [
        plots.throughput(one.assign(**changes)).collections[0].get_paths()[0].vertices[:, 1].max()
        for changes in ({}, {"streamed": False}, {"streamed": False, "queue_s": 0.0})
    ]
    assert tops == pytest.approx([100, 100 / 9, 10], rel=0.02)


def test_one_arm_and_one_call_can_be_drawn():
    plots.overview(calls({"a": (0.5, 0.2)}, prompts=1, repeats=1)).canvas.draw()


def test_nothing_of_it_is_loaded_before_it_is_used():
    code = (
        "import sys, ipyllm, ipyllm.statistics, ipyllm.plots, ipyllm.comparison.report;"
        "ipyllm.assert_no_regression if False else None;"
        "print([m for m in ('matplotlib', 'scipy', 'numpy', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (found.stdout.strip(), found.returncode) == ("[]", 0)

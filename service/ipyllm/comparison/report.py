"""Writes a comparison as one HTML file: a headline, a table and a picture; then all figures and answers.

The file is self-contained; its answers are sanitised by :mod:`ipyllm.rendering`.
"""

from __future__ import annotations

import base64
import io
import platform
from html import escape
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ipyllm._version import __version__
from ipyllm.comparison.report_page import page
from ipyllm.dataframes.call_totals import cost_total
from ipyllm.errors import LLMError, bad_request
from ipyllm.rendering import to_html
from ipyllm.text.format import count, join_names, number, seconds, shorten
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences
from ipyllm.user_file import file_path, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

    from ipyllm.comparison.report_page import PagePart
    from ipyllm.statistics.observations import Metric, Observations, Sort

__all__ = ["write"]

_METHOD = """\
Warm-up calls are not counted. Calls that loaded a model or came from the cache are left out of the latencies; calls
whose first token was read more than 0.01 s after its arrival, without a time stamp of the kernel, are left out of first
times and token rates. Where most calls of an arm were measured late, these are not shown.
Quantiles have exact order-statistic intervals; means have standard errors clustered by prompt and Student's
interval with Hall's correction for skewness, or Wilson's for right and wrong asked once.
Differences are taken prompt by prompt after averaging repeats:
McNemar's mid-p test for right and wrong, extended to means where prompts were asked several times, paired t for
other scores and cost, Wilcoxon's signed ranks with the Hodges–Lehmann difference for times. Each interval
inverts its test; p_adjusted and the intervals are corrected for all comparisons of the primary metrics, and apart from
these for all of the secondary ones (Bonferroni).
Votes: Bradley–Terry with ties after Davidson and a normal prior, standard errors clustered by prompt (jackknife);
an arm is preferred where the intervals of all pairs together (Bonferroni) say so."""

_SUMMARY_CHARACTERS = 160
_TRADEOFF_HEIGHT = 4.6  # inches


def write(
    results: Any,
    path: str | Path,
    *,
    votes: pd.DataFrame | None = None,
    baseline: str | None = None,
    metrics: Sequence[str] | str | None = None,
    secondary: Sequence[str] | str | None = None,
    sort: Sort | None = None,
    title: str = "Comparison of language models",
    level: float = 0.95,
    most_prompts: int = 500,
    explorer: PagePart | None = None,
) -> Path:
    """Write a report and return its path.

    It begins with a headline (:func:`ipyllm.comparison.headline.headline`), one table of the arms, and their scores
    against cost and time. All tables of the statistics, the other plots and the answers follow.

    Parameters
    ----------
    results : DataFrame, or anything that has one as ``.calls``
        As in :func:`ipyllm.statistics.summarise_arms`; with ``prompt`` and ``response``, answers are shown.
    path : str or Path
        The file to write or replace.
    votes : DataFrame, optional
        As in :func:`ipyllm.statistics.ranking`; by default ``results.votes``, if there is one.
    baseline : str, optional
        The arm to compare with; by default the first.
    metrics, secondary : str or sequence of str, optional
        The metrics of the differences, as in :func:`ipyllm.statistics.paired`.
    sort : {"value"}, optional
        Tables and plots by value, the best arm first; by default in the order of the call.
    title : str
        Heading of the report.
    level : float
        Confidence of all intervals.
    most_prompts : int
        Maximum number of prompts with answers in the report, in the order of the calls.
    explorer : PagePart, optional
        The explorer of the answers, as ``results.explorer_part()`` returns it; the answers stand below it, folded.

    Returns
    -------
    Path

    Raises
    ------
    LLMError
        ``bad_request``: no calls, no such baseline, no such folder, or the file cannot be written.
    """
    import pandas as pd

    from ipyllm.comparison.headline import headline
    from ipyllm.comparison.report_tables import arms_table, difference_tables, sentences, summary_tables, table
    from ipyllm.statistics import paired, ranking, summarise_arms
    from ipyllm.statistics.families import families_of
    from ipyllm.statistics.observations import observe

    path = file_path(path)
    if not path.parent.is_dir():
        raise bad_request(f"The folder {str(path.parent)!r} of the report does not exist.")
    calls = results if isinstance(results, pd.DataFrame) else getattr(results, "calls", results)
    if votes is None and not isinstance(results, pd.DataFrame):
        votes = getattr(results, "votes", None)
    valid_votes = votes if isinstance(votes, pd.DataFrame) and len(votes) else None
    observed = observe(calls)
    families = families_of(observed, metrics, secondary)
    primary = families[0].metrics if families else ()
    summary = summarise_arms(calls, level=level, sort=sort)
    pairs = None
    if len(observed.arms) > 1:
        pairs = paired(calls, baseline, metrics=metrics, secondary=secondary, level=level, sort=sort)
    first, *others = headline(observed, primary, summary, pairs, level=level)
    sections = [
        f'<p class="facts">{_facts(observed)}</p>',
        f'<p class="headline">{escape(strip_control_sequences(first))}</p>',
        *(f'<p class="beside">{escape(strip_control_sequences(other))}</p>' for other in others),
        arms_table(observed, primary, summary, pairs, level=level),
        *_tradeoffs(calls, observed, primary),
        f'<section class="details"><h2>Summary by arm</h2>{"".join(summary_tables(summary))}{sentences(summary)}',
    ]
    if pairs is not None:
        reference = pairs["baseline"].iloc[0] if len(pairs) else observed.arms[0]
        sections.append(f"<h2>Differences from {escape(strip_control_sequences(str(reference)))}</h2>")
        sections += [*difference_tables(observed, pairs), sentences(pairs, summary)]
    if valid_votes is not None:
        strengths = ranking(valid_votes, level=level)
        sections += ["<h2>Votes</h2>", table(strengths.compact()), sentences(strengths)]
    sections += _plots(calls, observed, valid_votes, sort)
    answers = "".join(_prompts(calls, observed, most_prompts))
    if explorer is not None and answers:
        folded = f"<details><summary>All answers</summary>{answers}</details>"
        answers = f"<h2>Explore the answers</h2>{explorer.html}{folded}"
    sections.append(answers)
    sections.append(f"<h2>Method and environment</h2><p class='method'>{escape(_METHOD)}</p>{_environment()}</section>")
    script_source = explorer.script_source if explorer is not None else ""
    return write_file(path, page(title, "\n".join(sections), script_source))


def _facts(observed: Observations) -> str:
    frame = observed.frame
    facts = [
        count(len(observed.arms), "arm"),
        count(int(frame["prompt"].nunique()), "prompt"),
        count(len(frame), "call"),
        cost_total(frame).sentence,
    ]
    if "started_at" in frame.columns and frame["started_at"].notna().any():
        import pandas as pd

        started = pd.to_datetime(frame["started_at"], utc=True)
        facts.append(f"{started.min():%Y-%m-%d %H:%M} to {started.max():%Y-%m-%d %H:%M} UTC")
    return escape(" · ".join(facts))


def _tradeoffs(calls: pd.DataFrame, observed: Observations, primary: Sequence[Metric]) -> list[str]:
    """Return the plots of the first primary score against cost and time."""
    from ipyllm.comparison.report_tables import capitalized
    from ipyllm.plots.overview_page import available_tradeoffs, draw_plots

    score = next((metric for metric in primary if metric.kind == "score"), None)
    plots = available_tradeoffs(observed, score.name) if score is not None and _has_plots() else {}
    if score is None or not plots:
        return []
    expenses = join_names(list(plots))
    return [
        f"<h2>{escape(capitalized(score.label))} against {expenses}</h2>",
        _plot(
            lambda dark: draw_plots(calls, observed, plots, row_height=_TRADEOFF_HEIGHT, dark=dark),
            f"{score.label} of each arm against {expenses}, with intervals",
        ),
    ]


def _plots(calls: pd.DataFrame, observed: Observations, votes: pd.DataFrame | None, sort: Sort | None) -> list[str]:
    from ipyllm.plots.overview_page import available_plots, draw_plots, row_height
    from ipyllm.plots.theme import pyplot

    try:
        pyplot()
    except LLMError as exc:  # matplotlib is optional; the tables have the same results
        return [f"<h2>Plots</h2><p>{escape(str(exc))}</p>"]
    plots = []
    found = {name: draw for name, draw in available_plots(observed, sort).items() if name != "cost"}
    if found:
        alt_text = "scores, latency and throughput of each arm"
        height = row_height(observed)
        plots.append(_plot(lambda dark: draw_plots(calls, observed, found, row_height=height, dark=dark), alt_text))
    if votes is not None:
        from ipyllm.plots import win_matrix

        plots.append(_plot(lambda dark: win_matrix(votes, dark=dark).figure, "how often each arm was preferred"))
    return ["<h2>Plots</h2>", *plots] if plots else []


def _has_plots() -> bool:
    """Return whether matplotlib, which is optional, is installed."""
    return find_spec("matplotlib") is not None


def _plot(draw: Callable[[bool], Any], alt_text: str) -> str:
    """Return the HTML of a plot, drawn for light and dark pages; a ``<picture>`` would print the dark one."""
    drawn = ((theme, _png(draw(theme == "dark"))) for theme in ("light", "dark"))
    images = [f'<img class="{theme}" src="{source}" alt="{escape(alt_text)}">' for theme, source in drawn]
    return f"<p>{''.join(images)}</p>"


def _png(figure: Figure) -> str:
    from ipyllm.plots.theme import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    # An open figure would also be shown in the notebook.
    pyplot().close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _prompts(calls: pd.DataFrame, observed: Observations, most: int) -> list[str]:
    if "response" not in calls.columns:
        return ["<h2>Answers</h2><p>The texts of these calls were not stored.</p>"]
    from ipyllm.dataframes.latency_filter import as_bool

    warm_up = as_bool(calls["warmup"]).to_numpy() if "warmup" in calls.columns else [False] * len(calls)
    by = "arm" if "arm" in calls.columns else "model"
    # The rows of `observed.frame`, in the same order, with the texts.
    texts = calls[[not warm for warm in warm_up] & calls[by].notna().to_numpy()].reset_index(drop=True)
    frame = observed.frame
    in_order = frame.sort_values("arm", kind="stable")
    rows_of = {prompt: list(rows.index) for prompt, rows in in_order.groupby("prompt", sort=False)}
    rows_of = {prompt: rows_of[prompt] for prompt in frame["prompt"].unique()}
    shown = list(rows_of)[:most]
    sections = ["<h2>Answers</h2>"]
    sections += ["".join(_prompt(texts, observed, rows_of[prompt])) for prompt in shown]
    if len(rows_of) > len(shown):
        sections.append(f"<p>{len(rows_of) - len(shown):,} more prompts are not shown here.</p>")
    return sections


def _prompt(texts: pd.DataFrame, observed: Observations, rows: Any) -> Iterator[str]:
    """Yield the HTML of one prompt, folded, with all its answers."""
    frame, scores, first_time = observed.frame, observed.scores, observed.first_time
    first = texts.iloc[rows[0]]
    name = _text(first.get("prompt_id"))
    prompt = _text(first.get("prompt"))
    score = scores[0] if scores else None
    means = {} if score is None else frame.iloc[rows].groupby("arm", observed=True)[score].mean().dropna().to_dict()
    yield f"<details><summary><b>{escape(name)}</b> {escape(shorten(prompt, _SUMMARY_CHARACTERS))}"
    if score is not None and means:
        by_arm = ", ".join(f"{arm} {number(mean)}" for arm, mean in means.items())
        yield f"<br><small>{escape(score.removeprefix('score_'))}: {escape(by_arm)}</small>"
    yield f'</summary><pre class="prompt" dir="auto">{escape(prompt)}</pre>'
    for row in rows:
        call, measured = texts.iloc[row], frame.iloc[row]
        facts = [str(measured["arm"])]
        facts += [f"{score.removeprefix('score_')} {number(measured[score])}" for score in scores]
        facts += ["cut off at max_tokens"] if measured["finish_reason"] == "length" else []
        first_s, thinking_s = measured[first_time.name], measured["thinking_s"]
        reached = "whole answer" if measured["whole"] else first_time.label.removeprefix("time to ")
        facts += [f"thought {seconds(thinking_s)}"] if thinking_s >= 0 else []
        facts += [f"{reached} after {seconds(first_s)}"] if first_s >= 0 else []
        status = str(measured["status"])
        failed = f' · <span class="failed">{escape(status)} {escape(_text(call.get("error_message")))}</span>'
        yield f'<div class="answer"><header>{escape(" · ".join(facts))}{failed if status != "ok" else ""}</header>'
        yield f"{to_html(_text(call['response']))}</div>"
    yield "</details>"


def _text(value: Any) -> str:
    """Return a value as text, empty for null."""
    import pandas as pd

    return "" if pd.isna(value) else redact(strip_control_sequences(str(value)))


def _environment() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("pandas", "numpy", "scipy"))
    return (
        f"<p class='method'>ipyllm {escape(__version__)}, Python {platform.python_version()}, {escape(packages)}, "
        f"{escape(platform.system())} {escape(platform.machine())}</p>"
    )

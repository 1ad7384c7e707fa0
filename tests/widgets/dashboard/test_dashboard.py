"""The usage dashboard from the ledger to its HTML; `tests/browser` tests the page."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ipyllm import LLMError, OpenAIService, UsageDashboard, usage
from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
from ipyllm_widgets.dashboard.dashboard_html import call_html, dashboard_html
from ipyllm_widgets.dashboard.figures import figures_of
from ipyllm_widgets.dashboard.series import interval_width, over_time
from ipyllm_widgets.dashboard.static_snapshot import static_snapshot
from tests.fakes import answer, server_error

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'&"


@pytest.fixture
def service(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    return lambda model="gpt-6-luna": OpenAIService(model, max_retries=0)


@pytest.fixture
def dashboard():
    made = []

    def make(**options):
        made.append(UsageDashboard(**options))
        made[-1].sent = []
        made[-1].channel._send = lambda message, buffers: made[-1].sent.append((message, buffers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_shows_the_calls_of_this_kernel(fake, service, dashboard):
    fake.default = answer("Bern.")
    service().chat("Capital?")
    service("gpt-6-sol").chat("Capital?")
    fake.reply(server_error())
    with pytest.raises(LLMError):
        service().chat("Capital?")
    shown = dashboard()
    assert "<b>3</b><span>calls</span>" in shown.tiles
    assert "<b>1</b><span>errors</span>" in shown.tiles
    assert "openai/gpt-6-luna" in shown.models
    assert shown.charts.count("<figure>") == 5
    assert shown.calls.count("data-call=") == 3
    assert not shown.problem


def test_the_charts_show_every_call_once(fake, service):
    fake.default = answer("One two three.")
    for model in ("gpt-6-sol", "gpt-6-luna", "gpt-6-sol"):
        service(model).chat("Count.")
    frame = usage()
    series = over_time(frame, ("output_tokens", "n"), dict.fromkeys(frame["model"], 0))
    assert sum(value or 0 for values in series.by_column["n"].values() for value in values) == 3
    assert (
        sum(value or 0 for value in series.by_column["output_tokens"]["openai/gpt-6-sol"])
        == frame.loc[frame["model"] == "openai/gpt-6-sol", "output_tokens"].sum()
    )


@pytest.mark.parametrize("days", [0, 0.001, 0.2, 3, 400, 20_000])
def test_a_chart_never_has_more_than_48_stretches(days):
    span = timedelta(days=days)
    assert span / interval_width(span) < 48


def test_calls_far_apart_stand_far_apart():
    frame = pd.DataFrame(
        {
            "started_at": pd.to_datetime(["2026-01-01T00:00Z", "2026-01-31T00:00Z"]),
            "model": ["a", "a"],
            "status": ["ok", "ok"],
            "ttft_s": [0.1, 0.2],
        }
    )
    values = over_time(frame, ("ttft_p50_s",), dict.fromkeys(frame["model"], 0)).by_column["ttft_p50_s"]["a"]
    assert values[0] == 0.1
    assert values[-1] == 0.2
    assert set(values[1:-1]) == {None}


def test_a_filter_narrows_what_is_shown(fake, service, dashboard):
    service("gpt-6-sol").chat("Hello", tags={"arm": "a"})
    service("gpt-6-luna").chat("Hello", tags={"arm": "b"})
    shown = dashboard(tag="arm=a")
    assert list(shown.frame()["model"]) == ["openai/gpt-6-sol"]
    shown._on_command(shown, {"command": "filter", "name": "tag", "value": ""}, [])
    shown._on_command(shown, {"command": "filter", "name": "model", "value": "openai/gpt-6-luna"}, [])
    assert list(shown.frame()["tags"]) == [{"arm": "b"}]
    assert shown.filters["model"] == "openai/gpt-6-luna"
    assert '<option value="openai/gpt-6-sol">' in shown.bar, "the other model can still be chosen"


def test_all_kernels_are_shown_on_request(service, dashboard):
    from ipyllm.ledger import current_ledger

    service().chat("Hello")
    current_ledger().put({"call_id": "0", "kernel_id": "another", "model": "local/x", "status": "ok"})
    assert len(dashboard().frame()) == 1
    assert len(dashboard(scope="all", since="all").frame()) == 2


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("since", "dya", "Did you mean 'day'?"),
        ("scope", "galaxy", "Choose one of: all, kernel."),
        ("status", "okay", "Did you mean 'ok'?"),
        ("tag", "arm", "key=value"),
        ("modle", "x", "Did you mean 'model'?"),
    ],
)
def test_a_wrong_filter_is_one_sentence_and_changes_nothing(dashboard, name, value, says):
    with pytest.raises(LLMError, match=re.escape(says)):
        UsageDashboard(**{name: value})
    shown = dashboard()
    shown._on_command(shown, {"command": "filter", "name": name, "value": value}, [])
    assert says in shown.sent[-1][0]["error"]
    assert shown.filters == {"scope": "kernel", "since": "day", "model": "", "status": "", "tag": ""}


@pytest.mark.parametrize("every_s", ["2", None, 0, -1, float("nan"), float("inf")])
def test_seconds_that_cannot_be_waited_are_refused_in_one_sentence(every_s):
    with pytest.raises(LLMError, match="every_s must be a number of seconds above 0, not "):
        UsageDashboard(every_s=every_s)


def test_one_call_is_read_whole(fake, service, dashboard):
    fake.default = answer("It is **Bern**.", reasoning="Think.")
    response = service().chat("Capital?")
    shown = dashboard()
    shown._on_command(shown, {"command": "call", "call_id": response.call_id}, [])
    page = shown.sent[-2][0]
    assert page["call_id"] == response.call_id
    assert "<strong>Bern</strong>" in page["html"]
    assert "Think." in page["html"]
    assert "ttft_s" in page["html"]
    shown._on_command(shown, {"command": "call", "call_id": "gone"}, [])
    assert "no longer" in shown.sent[-1][0]["error"]


def test_what_strangers_wrote_is_harmless(fake, service, dashboard):
    fake.default = answer(HOSTILE)
    response = service(HOSTILE.replace("/", "")).chat(HOSTILE, tags={HOSTILE: HOSTILE})
    shown = dashboard()
    shown._on_command(shown, {"command": "call", "call_id": response.call_id}, [])
    html = "".join((shown.bar, shown.tiles, shown.models, shown.charts, shown.calls, shown.sent[-2][0]["html"]))
    assert not re.search(r"<(img|script)", html)
    assert not re.search(r"<[^>]*onerror", re.sub(r'"[^"]*"', "", html))


def test_what_is_shown_is_exported(fake, service, dashboard, tmp_path):
    service().chat("Hello", tags={"arm": "a"})
    shown = dashboard()
    assert list(pd.read_csv(shown.export(tmp_path / "calls.csv"))["status"]) == ["ok"]
    assert list(pd.read_parquet(shown.export(tmp_path / "calls.parquet"))["tags"]) == ['{"arm": "a"}']
    shown._on_command(shown, {"command": "export", "format": "csv"}, [])
    content, buffers = shown.sent[-2]
    assert content == {"kind": "file", "nonce": None, "name": "ipyllm-usage.csv"}
    assert b"openai/gpt-6-luna" in buffers[0]


def test_it_keeps_up_while_somebody_looks(service, dashboard):
    shown = dashboard(every_s=0.05)
    assert "<b>0</b><span>calls</span>" in shown.tiles
    shown._on_command(shown, {"command": "here", "view": "a"}, [])
    service().chat("Hello")
    end = time.monotonic() + 60
    while "<b>1</b><span>calls</span>" not in shown.tiles:
        assert time.monotonic() < end
        time.sleep(0.02)
    thread = shown._thread
    shown.close()
    thread.join(60)
    assert not thread.is_alive()


def test_nobody_who_looks_means_no_thread(dashboard):
    shown = dashboard(every_s=60)
    for view in "ab":
        shown._on_command(shown, {"command": "here", "view": view}, [])
    thread = shown._thread
    shown._on_command(shown, {"command": "gone", "view": "a"}, [])
    thread.join(0.5)
    assert thread.is_alive(), "the other one still looks"
    shown._on_command(shown, {"command": "gone", "view": "b"}, [])
    thread.join(60)
    assert not thread.is_alive()
    shown._on_command(shown, {"command": "here", "view": "c"}, [])
    assert shown._thread.is_alive()


ODD = [None, True, 7, -1.5, "x", "", [], {}, [[]], {"a": 1}, b"x", "\x00", "a=b" * 10**6, object(), float("nan")]


def test_messages_that_are_none_change_nothing_and_are_answered_in_a_sentence(service, dashboard):
    service().chat("Hello")
    shown = dashboard()
    before = {name: getattr(shown, name) for name in ("bar", "tiles", "models", "charts", "calls", "filters")}
    names = ["scope", "since", "status", "self", "every_s", "__class__"]
    for odd in ODD:
        for junk in (odd, {"command": odd}, {"command": "call", "call_id": odd}, {"command": "export", "format": odd}):
            shown._on_command(shown, junk, [b"x"])
        shown._on_command(shown, {"command": "here", "view": odd if not isinstance(odd, str) else 3}, [])
        shown._on_command(shown, {"command": "filter", "name": odd, "value": "x"}, [])
        for name in names:
            if odd not in (None, "") or name != "status":
                shown._on_command(shown, {"command": "filter", "name": name, "value": odd}, [])
    said = [content["error"] for content, _ in shown.sent if content["kind"] == "ack" and content["error"]]
    assert said
    assert all(text.endswith((".", "?")) and len(text) < 1500 and "Error" not in text for text in said), said
    assert {name: getattr(shown, name) for name in before} == before
    assert shown._thread is None, "nobody said that he is looking"


def test_nothing_is_sent_when_nothing_changed(service, dashboard):
    service().chat("Hello")
    shown = dashboard()
    changes = []
    shown.observe(changes.append)
    shown.refresh()
    assert changes == []


def test_a_ledger_that_cannot_be_read_is_said_in_the_page(dashboard, monkeypatch):
    shown = dashboard()
    monkeypatch.setenv("IPYLLM_TIMEOUT", "soon")
    shown.refresh()
    assert "could not be shown: Invalid value 'soon'" in shown.problem
    monkeypatch.delenv("IPYLLM_TIMEOUT")
    shown.refresh()
    assert not shown.problem


def test_sums_without_unknown_calls_are_lower_bounds_in_tiles_tables_and_charts():
    base = dict.fromkeys(usage().columns) | {"model": "lab/x", "status": "ok"}
    base["started_at"] = pd.Timestamp("2026-01-01", tz="UTC")
    counted = base | {"input_tokens": 4, "output_tokens": 5, "cost_usd": 0.016, "usage_source": "server"}
    estimated = base | {"output_tokens_estimated": 50, "usage_source": "estimated"}
    calls = pd.DataFrame([row | {"call_id": f"{n}"} for n, row in enumerate([counted] * 10 + [estimated] * 10)])
    figures = figures_of(calls, calls.tail(1))
    tiles = {tile.name: (tile.value, tile.note) for tile in figures.tiles}
    assert tiles["cost"] == ("≥ $0.16", "10 of 20 unknown")
    assert tiles["tokens in"] == ("≥ 40", "10 of 20 not counted")
    assert tiles["tokens out"] == ("≥ 50", "10 of 20 not counted")
    assert figures.models[0].cells[-3:] == ("≥ 40", "≥ 50", "≥ $0.16, 10 of 20 unknown")
    labels = [chart.label for chart in figures.charts]
    assert "Cost, at least: 10 of 20 unknown" in labels
    assert "Output tokens, at least: 10 of 20 not counted" in labels
    assert figures.calls[0].cells[2] == "~50"


def test_an_unknown_cost_is_never_shown_as_nothing():
    frame = usage()
    assert "cost" in dashboard_html(figures_of(frame, frame), DashboardFilters()).tiles
    row = dict.fromkeys(frame.columns) | {
        "call_id": "1",
        "model": "lab/x",
        "status": "ok",
        "started_at": pd.Timestamp("2026-01-01", tz="UTC"),
        "output_tokens": 5,
        "usage_source": "server",
    }
    unknown = pd.DataFrame([row])
    assert "<b>unknown</b><span>cost</span>" in dashboard_html(figures_of(unknown, unknown), DashboardFilters()).tiles
    assert "not known" in dashboard_html(figures_of(unknown, unknown), DashboardFilters()).charts
    assert "not stored" in call_html(row)


def _calls(n=4, **columns):
    started = pd.to_datetime("2026-01-01T00:00Z") + pd.to_timedelta(range(n), unit="s")
    known = {"call_id": [str(i) for i in range(n)], "started_at": started, "model": "lab/a", "status": "ok"}
    frame = pd.DataFrame(known | {"ttft_s": 0.25, "total_s": 2.0, "usage_source": "server"} | columns)
    empty = usage().iloc[:0]
    return frame.reindex(columns=empty.columns).astype({"output_tokens": "Int64", "input_tokens": "Int64"})


def test_where_a_model_reasons_the_first_visible_text_takes_the_place_of_the_first_token():
    frame = _calls(ttft_s=0.25, ttfo_s=1.25, reasoning_tokens=5)
    figures = figures_of(frame, frame)
    assert figures.model_heads[4] == "first text p50"
    assert figures.call_heads[3] == "first text"
    assert figures.models[0].cells[3:5] == ("1.25 s", "1.25 s")
    assert figures.calls[0].cells[0] == "1.25 s"
    assert figures.charts[0].label == "Time to first visible text, median"
    plain = figures_of(_calls(), _calls())
    assert (plain.model_heads[4], plain.call_heads[3]) == ("TTFT p50", "TTFT")
    assert plain.models[0].cells[3] == "0.25 s"
    assert plain.charts[0].label == "Time to first token, median"


def test_what_is_left_out_of_the_times_is_said_on_the_page_and_in_what_is_kept():
    late = _calls(arrival_clock="process", client_lag_s=[0.2, 0.2, 0.2, 0.001])
    figures = figures_of(late, late)
    assert figures.models[0].cells[3:6] == ("–", "–", "2.00 s")
    assert "first times without 3: cold, cached or measured late; no figure, because" in figures.models[0].note
    assert figures.charts[0].label == "Time to first token, median (without 3 measured late)"
    page = dashboard_html(figures, DashboardFilters())
    assert "<small>first times without 3: cold" in page.models, "it needs no pointer over it"
    html, text = static_snapshot(figures, DashboardFilters(), datetime.now(UTC))
    assert "first times without 3" in html
    assert "first times without 3" in text
    cold = figures_of(_calls(cold=[True, False, False, False]), _calls())
    assert cold.models[0].note == "first times without 1: cold, cached or measured late"
    assert cold.charts[0].label == "Time to first token, median"
    assert figures_of(_calls(), _calls()).models[0].note == ""


def test_answers_cut_off_at_the_limit_are_counted_apart():
    calls = _calls(finish_reason=["length", "length", "stop", None], status=["ok", "ok", "ok", "error"])
    figures = figures_of(calls, calls)
    assert next(tile for tile in figures.tiles if tile.name == "cut off").value == "2"
    cells = dict(zip(figures.model_heads[1:], figures.models[0].cells, strict=True))
    assert (cells["calls"], cells["errors"], cells["cut off"]) == ("4", "1", "2")
    assert [call.failure for call in figures.calls] == ["cut off", "cut off", "", ""]

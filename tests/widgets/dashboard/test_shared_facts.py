"""Dashboards of a process share what they read of the ledger."""

from __future__ import annotations

import gc
import threading
import weakref
from datetime import datetime, timedelta

import pandas as pd

from ipyllm import UsageDashboard
from ipyllm_widgets.dashboard import ledger_reader, usage_dashboard
from ipyllm_widgets.dashboard import shared_facts as shared_facts_module
from ipyllm_widgets.dashboard.call_facts import CallFacts
from ipyllm_widgets.dashboard.call_list import CallList
from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
from ipyllm_widgets.dashboard.ledger_reader import LedgerReader
from ipyllm_widgets.dashboard.shared_facts import SharedFacts, shared_facts
from tests.widgets.dashboard.test_dashboard_ledgers import n_shown, put

ALL, DAY = DashboardFilters("all", "all"), DashboardFilters("all", "day")


def facts(filters=ALL):
    return CallFacts(filters, pd.DataFrame({"status": []}))


def test_what_was_read_is_read_again_only_if_the_ledger_has_changed_or_a_call_runs(monkeypatch):
    shared, n_read = SharedFacts(), []
    mark = "before"
    monkeypatch.setattr("ipyllm.ledger.Ledger.content_mark", lambda self: mark)

    def read(*statuses):
        n_read.append(len(statuses))
        return CallFacts(ALL, pd.DataFrame({"status": statuses})), None

    first, _ = shared.read(ALL, lambda: read("ok"))
    assert shared.read(DAY, lambda: read("ok"))[0] is first
    assert shared.newest(DAY)[1] < 60
    mark = "after"
    assert shared.read(ALL, lambda: read("ok", "running"))[0] is not first
    shared.read(ALL, lambda: read("ok", "ok", "ok"))
    mark = None  # not known
    shared.read(ALL, lambda: read("ok", "ok", "ok", "ok"))
    shared.read(ALL, lambda: read("ok", "ok", "ok", "ok", "ok"))
    assert n_read == [1, 2, 3, 4, 5]


def test_dashboards_that_wait_for_a_reading_share_one_that_began_after_they_asked(monkeypatch):
    monkeypatch.setattr("ipyllm.ledger.Ledger.content_mark", lambda self: None)
    shared, reads, found = SharedFacts(), [], {}
    first_began, may_end, both_wait = threading.Event(), threading.Event(), threading.Event()

    class TellingLock:
        """Tells when three have asked for it."""

        lock, asked = threading.Lock(), 0

        def __enter__(self):
            self.asked += 1
            if self.asked == 3:
                both_wait.set()
            self.lock.acquire()

        def __exit__(self, *_):
            self.lock.release()

    shared._reading = TellingLock()

    def read():
        reads.append(facts())
        if len(reads) == 1:
            first_began.set()
            assert may_end.wait(60)
        return reads[-1], None

    def ask(name):
        found[name] = shared.read(DAY, read)[0]

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("first", "second", "third")]
    threads[0].start()
    assert first_began.wait(60)
    for thread in threads[1:]:  # both ask while the first reading runs, which may lack what they are to show
        thread.start()
    assert both_wait.wait(60)
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert len(reads) == 2
    assert found["first"] is reads[0]
    assert found["second"] is found["third"] is reads[1]
    assert shared.newest(DAY)[0] is reads[1], "the older one is not kept"


def test_a_reading_that_failed_is_not_kept():
    shared = SharedFacts()
    assert shared.read(ALL, lambda: (facts(), "it is locked"))[1] == "it is locked"
    assert shared.newest(ALL) is None


def test_what_others_do_not_contain_is_kept_and_no_more():
    shared = SharedFacts()
    day, everything, tagged = facts(DAY), facts(), facts(ALL.replace("tag", "a=1"))
    for one in (day, everything, tagged):
        shared.read(one.filters, lambda one=one: (one, None))
    assert shared.newest(DAY)[0] is everything
    assert shared.newest(tagged.filters)[0] is tagged
    assert [one.facts for one in shared._kept] == [tagged, everything]


def test_what_one_dashboard_read_another_shows_at_once(monkeypatch):
    monkeypatch.setattr(ledger_reader, "FEW", 2)
    put(n=5)
    one, other = LedgerReader(), LedgerReader()
    assert other.at_once(ALL, CallList()).n_newest == 2
    one.calls(ALL, CallList())
    reading = other.at_once(ALL, CallList())
    assert (len(reading.calls), reading.n_newest, reading.is_current) == (5, 0, False)
    assert other.calls(ALL, CallList()).is_current


def test_nothing_is_kept_without_a_dashboard(monkeypatch):
    monkeypatch.setattr(shared_facts_module, "_instances", weakref.WeakValueDictionary())
    reader = LedgerReader()
    reader.calls(ALL, CallList())
    assert shared_facts().newest(ALL) is not None
    del reader
    gc.collect()
    assert shared_facts().newest(ALL) is None


def test_dashboards_compute_figures_of_all_calls_one_after_the_other_and_a_click_waits_for_none(dashboard, monkeypatch):
    monkeypatch.setattr(ledger_reader, "FEW", 2)
    monkeypatch.setattr(UsageDashboard, "_start_thread", lambda self: None)
    put(n=3)
    put(n=2, first=3, model="lab/b")
    shown = [dashboard() for _ in range(3)]
    began, may_end, at_once, most = threading.Event(), threading.Event(), [], []
    figures_of = usage_dashboard.figures_of

    def slow(*args, **options):
        at_once.append(threading.current_thread().name)
        most.append(len(at_once))
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert may_end.wait(60)
        at_once.remove(threading.current_thread().name)
        return figures_of(*args, **options)

    monkeypatch.setattr(usage_dashboard, "figures_of", slow)
    readers = [threading.Thread(target=one.refresh) for one in shown]
    for reader in readers:
        reader.start()
    assert began.wait(60)
    assert most == [1]
    shown[0].choose(model="lab/b")
    assert n_shown(shown[0]) == 2
    assert most == [1, 2], "the click's, beside one of the others"
    may_end.set()
    for reader in readers:
        reader.join(60)
    assert most == [1, 2, 1, 1]
    assert [n_shown(one) for one in shown] == [2, 5, 5]


def test_a_click_does_not_wait_for_a_reading_that_is_under_way(dashboard, monkeypatch):
    monkeypatch.setattr(ledger_reader, "FEW", 2)
    monkeypatch.setattr(UsageDashboard, "_start_thread", lambda self: None)
    put(n=3)
    put(n=2, first=3, model="lab/b")
    shown = dashboard()
    began, may_end = threading.Event(), threading.Event()
    whole = shown._reader.calls

    def slow(filters, listing):
        reading = whole(filters, listing)
        began.set()
        assert may_end.wait(60)
        return reading

    monkeypatch.setattr(shown._reader, "calls", slow)
    reader = threading.Thread(target=shown.refresh)
    reader.start()
    assert began.wait(60)
    shown.choose(model="lab/b")
    assert n_shown(shown) == 2
    may_end.set()
    reader.join(60)
    assert n_shown(shown) == 2, "what was read for another filter is dropped"


def test_a_reading_that_ends_after_a_newer_one_is_dropped(dashboard, monkeypatch):
    put(n=3)
    shown = dashboard()
    whole = shown._reader.calls

    def overtaken(filters, listing):
        reading = whole(filters, listing)
        monkeypatch.setattr(shown._reader, "calls", whole)
        put(n=1, first=3)
        shown.refresh()
        return reading

    monkeypatch.setattr(shown._reader, "calls", overtaken)
    shown.refresh()
    assert n_shown(shown) == 4


def test_a_click_dates_what_was_read_before_and_has_what_is_old_read_anew(dashboard, monkeypatch):
    monkeypatch.setattr(ledger_reader, "FEW", 2)
    monkeypatch.setattr(UsageDashboard, "_start_thread", lambda self: None)
    put(n=5)
    shown = dashboard(every_s=1000)
    shown.refresh()
    shown._wake.clear()
    shown._rest_s = 50.0  # as after a long reading
    shown.choose(model="")
    assert not shown._wake.is_set(), "what was read just now is not read again"
    shared = shown._reader._shared
    shared._kept = [one._replace(began=one.began - 60) for one in shared._kept]
    put(n=1, first=5)
    shown.choose(model="")
    assert n_shown(shown) == 5
    assert datetime.now().astimezone() - shown._read_at >= timedelta(seconds=60)
    assert shown._wake.is_set(), "the thread reads what is new"

"""Tests that a budget is enforced before money is spent, also by concurrent calls."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest

from ipyllm import LLMError
from ipyllm.pipeline.budget import Budget, kernel_budget
from ipyllm.pipeline.retry import is_retryable


def test_a_call_that_could_pass_the_limit_is_refused_before_anything_is_spent():
    budget = Budget(1.0)
    budget.reserve(0.9).settle(0.7)
    with pytest.raises(LLMError) as caught:
        budget.reserve(0.31, model="openai/gpt-6-sol")
    assert budget.spent_usd == 0.7
    assert str(caught.value) == (
        "A call to openai/gpt-6-sol may cost up to $0.31, but of max_cost_usd=$1.00 only $0.30 is left ($0.70 spent; "
        "$0 reserved by calls in flight); it was not sent. Raise max_cost_usd, or make the call smaller, for example "
        "with max_tokens=…."
    )
    assert (caught.value.category, caught.value.model, caught.value.status_code) == ("quota", "openai/gpt-6-sol", None)
    assert not is_retryable(caught.value)
    budget.reserve(0.30)


def test_calls_in_flight_count_and_the_sentence_says_so():
    budget = Budget(1.0)
    first = budget.reserve(0.8)
    with pytest.raises(LLMError, match=r"only \$0.20 is left \(\$0 spent; \$0.80 reserved by calls in flight\)"):
        budget.reserve(0.8)
    first.settle(0.1)
    assert (budget.spent_usd, budget.reserved_usd) == (0.1, 0.0)
    budget.reserve(0.8)


def test_a_single_call_over_its_own_limit_is_told_the_limit_only():
    with pytest.raises(LLMError, match=r"may cost up to \$0.02, but max_cost_usd is \$0.01; it was not sent"):
        Budget(0.01).reserve(0.02)


def test_fifty_threads_cannot_overspend_together():
    budget, limit = Budget(1.0), 1.0
    start, refused, most = threading.Barrier(50), [], []

    def call(seed):
        chance = random.Random(seed)
        start.wait()
        for _ in range(200):
            estimate = chance.uniform(0.001, 0.02)
            try:
                with budget.reserve(estimate) as reservation:
                    most.append(budget.spent_usd + budget.reserved_usd)
                    reservation.settle(chance.uniform(0, estimate))
            except LLMError:
                refused.append(estimate)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert limit - 0.02 < budget.spent_usd <= limit * (1 + 1e-8)
    assert budget.reserved_usd == pytest.approx(0, abs=1e-9)
    assert max(most) < limit + 0.02  # read without the lock, a call may be seen in both


def test_rounding_refuses_nobody():
    budget = Budget(0.3)
    for _ in range(3):
        budget.reserve(0.1).settle(0.1)
    with pytest.raises(LLMError):
        budget.reserve(0.001)


def test_a_call_that_ends_unknown_costs_its_estimate_and_one_that_was_not_sent_costs_nothing():
    budget = Budget(1.0)
    with pytest.raises(RuntimeError), budget.reserve(0.25):
        raise RuntimeError("cancelled in mid-answer")
    assert budget.spent_usd == 0.25
    budget.reserve(0.25).settle(0.0)
    assert budget.spent_usd == 0.25


def test_a_reservation_is_settled_once():
    budget = Budget(1.0)
    with budget.reserve(0.5) as reservation:
        reservation.settle(0.1)
        reservation.settle(0.4)
    assert (budget.spent_usd, budget.reserved_usd) == (0.1, 0.0)


def test_a_cost_above_the_estimate_is_counted_in_full():
    budget = Budget(1.0)
    budget.reserve(0.5).settle(1.5)
    with pytest.raises(LLMError, match=r"\$0 is left \(\$1.50 spent; "):
        budget.reserve(0.01)


def test_an_unknown_price_is_refused_under_a_budget_unless_allowed():
    with pytest.raises(
        LLMError, match=r"unknown, so max_cost_usd=\$1.00 cannot be enforced; it was not sent"
    ) as caught:
        Budget(1.0).reserve(None, model="lab/m")
    assert caught.value.category == "quota"
    allowed = Budget(1.0, allow_unknown_price=True)
    allowed.reserve(None).settle(None)
    assert allowed.spent_usd == 0.0


def test_without_a_limit_everything_is_counted_and_nothing_refused():
    budget = Budget(None)
    budget.reserve(None).settle(0.5)
    budget.reserve(1e9).settle(0.25)
    assert budget.spent_usd == 0.75


def test_the_kernels_budget_follows_the_settings_and_remembers_what_was_spent(monkeypatch):
    before = kernel_budget().spent_usd
    kernel_budget().reserve(None).settle(0.5)
    monkeypatch.setenv("IPYLLM_MAX_COST_USD", str(before + 0.6))
    with pytest.raises(LLMError, match="max_cost_usd"):
        kernel_budget().reserve(0.2)
    with pytest.raises(LLMError, match="unknown"):
        kernel_budget().reserve(None)
    monkeypatch.setenv("IPYLLM_ALLOW_UNKNOWN_PRICE", "1")
    kernel_budget().reserve(None).settle(None)
    monkeypatch.delenv("IPYLLM_MAX_COST_USD")
    kernel_budget().reserve(0.2).settle(0.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_free_of_the_parents_calls_in_flight():
    budget = kernel_budget()
    spent = budget.spent_usd
    reservation = budget.reserve(0.5)
    with budget._lock:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(3)  # ends a child that waits for the parent's lock
            status = int((budget.reserved_usd, budget.spent_usd) != (0.0, spent))
            budget.reserve(0.1).settle(0.0)
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    reservation.settle(0.0)

"""Settings of a run, and the request of each trial under them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ipyllm.experiment.conditions import Conditions
from ipyllm.experiment.grid import GRID_TAG, TRIAL_TAG
from ipyllm.experiment.servers import is_embedded, n_servers
from ipyllm.process_identity import host_name
from ipyllm.request import Provenance
from ipyllm.routing.balancing import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.errors import LLMError
    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.pace import Pace
    from ipyllm.experiment.spending_limit import SpendingLimit
    from ipyllm.experiment.trial_claims import TrialClaims
    from ipyllm.pipeline.exchange_row import RowSink
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["RunConfig", "request_of"]

_DEFAULT_CONCURRENCY: Final = 32


@dataclass(frozen=True)
class RunConfig:
    """Settings shared by all calls of a run."""

    experiment: str  # its name
    grid: str  # its grid's signature
    warmups: int  # calls to each model before the measured ones
    concurrency: int | None  # most calls to one endpoint at the same time, if the user gave it
    ledger: RowSink
    spending: SpendingLimit
    texts: dict[str, str] | None = None  # filled with the answers, by call id, if the ledger does not store them
    on_outcome: Callable[[Trial, ChatResponse, LLMError | None], None] | None = None  # on the service thread
    pace: Pace | None = None  # learns how many calls are in flight, up to the most
    claims: TrialClaims | None = None  # without, no other process runs the same trials
    waits_for_others: bool = True  # for the trials that others have claimed
    senders: int = 1  # processes that share the limits per minute, as far as it is known
    executor: str | None = None  # what runs the calls in other processes, for the ledger
    max_failures: int | None = None  # in a row, after which an arm is left
    warm: frozenset[str] = frozenset()  # models (``arm.server``) that need no warm-up

    @property
    def most_in_flight(self) -> int:
        """Most calls to one endpoint that is not embedded."""
        if self.concurrency is not None:
            return self.concurrency
        return _DEFAULT_CONCURRENCY if self.pace is None else self.pace.most

    def asks_one_at_a_time(self, service: BaseLLMService) -> bool:
        """Whether calls to a service share this machine's cores, and so must not run at the same time."""
        return self.concurrency is None and is_embedded(service)

    def in_flight_at(self, service: BaseLLMService) -> int:
        """Most calls at the same time to the endpoint of a service."""
        if self.asks_one_at_a_time(service):
            return 1
        most = self.most_in_flight
        most = min(most, service.at_once or most, service.limits.max_in_flight or most)
        return most * n_servers(service) if isinstance(service, Pool) else most

    def conditions(self, service: BaseLLMService) -> Conditions:
        """Return the conditions under which calls to a service are measured."""
        return Conditions(self.in_flight_at(service), self.executor, host_name())


def request_of(trial: Trial, config: RunConfig) -> ChatRequest:
    """Return the request of a trial; raise ``bad_request`` if the file of an image has gone or changed."""
    arm, prompt = trial.arm, trial.prompt
    request = arm.request
    return replace(
        request,
        messages=trial.messages,
        # A repeat needs a new answer.
        cache=request.cache if trial.repeat == 0 and not trial.warmup else False,
        provenance=Provenance(
            origin="experiment",
            tags={**request.provenance.tags, TRIAL_TAG: trial.key, GRID_TAG: config.grid},
            experiment=config.experiment,
            arm=arm.label,
            variant=arm.variant or None,
            prompt_id=prompt.prompt_id,
            repeat=trial.repeat,
            warmup=trial.warmup,
            concurrency=config.in_flight_at(arm.service),
            executor=config.executor,
        ),
    )

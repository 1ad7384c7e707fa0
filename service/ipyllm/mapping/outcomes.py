"""What became of the prompts of a map: answers, by trial, and reasons why others have none.

Answers of earlier calls are read from the ledger. Where it does not store text, this process remembers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.usage import usage
from ipyllm.experiment.earlier_rows import may_have_answered
from ipyllm.experiment.grid import TRIAL_TAG
from ipyllm.mapping.reasons import Reason
from ipyllm.pipeline.candidates import category_of
from ipyllm.structured import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from ipyllm.errors import LLMError
    from ipyllm.experiment.grid import Trial
    from ipyllm.ledger import Ledger
    from ipyllm.response import ChatResponse
    from ipyllm.structured import Schema

__all__ = ["Outcomes"]

_remembered: dict[str, dict[str, str]] = {}
"""Answers that the ledger does not store, by the name of their map and by trial."""


@dataclass
class Outcomes:
    """Answers and reasons by the key of their trial; written on the service thread while a run lasts.

    ``schema`` reads answers, and ``plain`` makes plain values of them.
    """

    name: str
    schema: Schema | None
    plain: Callable[[Any], Any]
    stores_text: bool
    answers: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, Reason] = field(default_factory=dict)

    def read(
        self, ledger: Ledger, keys: set[str], earlier_keys: Mapping[str, str], addresses: AbstractSet[str | None]
    ) -> None:
        """Take the answers of earlier calls with these keys. One that does not fit the schema counts as none.

        Earlier versions wrote other keys, and only the host of an address, which must be that of one of ``addresses``.
        """
        earlier = dict(_remembered.get(self.name, {}))
        rows = usage(kernel=None, experiment=self.name, status="ok", ledger=ledger)
        columns = (rows["tags"], rows["response"], rows["address"], rows["endpoint"])
        for tags, text, address, endpoint in zip(*columns, strict=True):
            key = str(tags.get(TRIAL_TAG)) if isinstance(tags, dict) else ""
            if not isinstance(address, str) and may_have_answered(addresses, endpoint):
                key = earlier_keys.get(key, key)
            if key in keys and isinstance(text, str):
                earlier[key] = text  # the latest: earlier ones did not fit, or were asked for again
        for key in keys & earlier.keys():
            try:
                self.answers[key] = self._value(earlier[key])
            except SchemaMismatch:
                continue

    def record(self, trial: Trial, response: ChatResponse, error: LLMError | None) -> None:
        """Take the outcome of a call."""
        if error is not None:
            self.reasons[trial.key] = self._reason(error)
            return
        self.reasons.pop(trial.key, None)
        self.answers[trial.key] = response.content if self.schema is None else self.plain(response.parsed)
        if not self.stores_text:
            _remembered.setdefault(self.name, {})[trial.key] = response.content

    def leave_out(self, trials: Iterable[Trial], why: LLMError) -> None:
        """Give the reason for the trials that were not asked; raise it if there is no answer at all."""
        if not self.answers:
            raise why
        for trial in trials:
            if trial.key not in self.answers:
                self.reasons.setdefault(trial.key, self._reason(why))

    @staticmethod
    def _reason(error: LLMError) -> Reason:
        return Reason(category_of(error), str(error))

    def _value(self, text: str) -> Any:
        return text if self.schema is None else self.plain(self.schema.parse(text))

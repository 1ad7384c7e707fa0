"""What a comparison widget asks next: the compared models, and the settings for all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.registry.models import create_llm_service
from ipyllm_widgets.widget_parameters import validate_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm.services.base import BaseLLMService

__all__ = ["ArmSettings", "CompareSettings"]


@dataclass(frozen=True)
class ArmSettings:
    """One compared model with its own parameters."""

    model: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def service(self, shared: Mapping[str, Any], services: Mapping[str, BaseLLMService]) -> BaseLLMService:
        """Create the service, or take that of ``services``; its own parameters override the shared ones."""
        params = {**shared, **self.params}
        if (given := services.get(self.model)) is not None:
            return given.with_params(params)
        return create_llm_service(self.model, **params)


@dataclass(frozen=True)
class CompareSettings:
    """Settings of the next question."""

    arms: list[ArmSettings]
    params: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    blind: bool = False
    multi_turn: bool = False
    services: Mapping[str, BaseLLMService] = field(default_factory=dict, repr=False)
    """Those that the widget was given, by their names in the widget."""

    @property
    def names(self) -> list[str]:
        """Return a name for each compared model; of several with one model, the later ones are numbered.

        Examples
        --------
        >>> CompareSettings([ArmSettings("ollama/qwen3"), ArmSettings("ollama/qwen3", {"temperature": 1})]).names
        ['ollama/qwen3', 'ollama/qwen3 #2']
        """
        seen: Counter[str] = Counter()
        names = []
        for arm in self.arms:
            seen[arm.model] += 1
            names.append(arm.model if seen[arm.model] == 1 else f"{arm.model} #{seen[arm.model]}")
        return names

    def service(self, name: str) -> BaseLLMService:
        """Create the service of the compared model with this name."""
        return self.arms[self.names.index(name)].service(self.params, self.services)

    @property
    def full_names(self) -> list[str]:
        """Return the full names of the compared models."""
        return [self.services[arm.model].full_name if arm.model in self.services else arm.model for arm in self.arms]

    def as_json(self) -> dict[str, Any]:
        """Return all but the services as JSON's values, which :meth:`with_changes` takes."""
        return {
            "arms": [{"model": arm.model, "params": dict(arm.params)} for arm in self.arms],
            "params": dict(self.params),
            "system": self.system,
            "blind": self.blind,
            "multi_turn": self.multi_turn,
        }

    def with_changes(self, changes: Mapping[str, Any]) -> CompareSettings:
        """Return these settings with ``changes``.

        Raises
        ------
        LLMError
            A model does not exist, or a parameter is invalid.
        """
        arms = _validate_arms(changes["arms"]) if "arms" in changes else self.arms
        params = validate_params(changes["params"]) if "params" in changes else self.params
        services = changes.get("services", self.services)
        for arm in arms:
            arm.service(params, services)
        system, blind = changes.get("system", self.system), changes.get("blind", self.blind)
        multi_turn = changes.get("multi_turn", self.multi_turn)
        return CompareSettings(arms, dict(params), str(system or ""), bool(blind), bool(multi_turn), services)


def _validate_arms(given: Iterable[Any]) -> list[ArmSettings]:
    arms = []
    for item in given:
        if not isinstance(item, dict) or not isinstance(item.get("model"), str):
            raise bad_request("The page sent a wrong list of models: reload the page.")
        if not item["model"].strip():
            raise bad_request("A compared model has no name: choose one, or remove its row.")
        arms.append(ArmSettings(item["model"].strip(), validate_params(item.get("params", {}))))
    return arms

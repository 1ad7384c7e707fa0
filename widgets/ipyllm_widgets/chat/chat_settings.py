"""What a chat asks with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipyllm.registry.models import create_llm_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.services.base import BaseLLMService

__all__ = ["ChatSettings"]


@dataclass
class ChatSettings:
    """Settings of the next question.

    Attributes
    ----------
    model : str or None
        Name of the model; None for the default model.
    models : list of str or None
        Names of the picker; None for all that are available.
    params : dict
        Parameters of the question.
    tools : list
        Functions that the model may call.
    services : mapping
        Services that the widget was given, by their names in the widget.
    """

    model: str | None = None
    models: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tools: list[Any] = field(default_factory=list)
    services: Mapping[str, BaseLLMService] = field(default_factory=dict, repr=False)

    def service(self) -> BaseLLMService:
        """Return the service that is asked next.

        Raises
        ------
        LLMError
            There is no such model.
        """
        given = self.services.get(self.model) if self.model is not None else None
        return given if given is not None else create_llm_service(self.model)

    @property
    def full_name(self) -> str | None:
        """Full name of the model, if it is a service that was given; its name otherwise."""
        given = self.services.get(self.model) if self.model is not None else None
        return given.full_name if given is not None else self.model

"""Arms that are asked again; those from before a restart of the kernel, with the services that the widget has now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ipyllm.comparison.comparison import LABEL_TAG
from ipyllm.comparison.earlier_service import EarlierService
from ipyllm.errors import LLMError, bad_request
from ipyllm.registry.models import create_llm_service
from ipyllm.request import Provenance
from ipyllm_widgets.attachments.files import as_sent
from ipyllm_widgets.compare.arm_histories import earlier_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.services.base import BaseLLMService
    from ipyllm_widgets.compare.compare_round import CompareRound

__all__ = ["arm_to_ask"]


def arm_to_ask(
    asked: CompareRound, index: int, before: Sequence[CompareRound], services: Mapping[str, BaseLLMService]
) -> Arm:
    """Return an arm of a round, so that it can be asked again: with its service, and the history of its model.

    Model, address, parameters and system prompt are those of then, whatever the widget is set to now.

    Parameters
    ----------
    asked : CompareRound
    index : int
        Of the arm.
    before : sequence of CompareRound
        The earlier rounds of the conversation, if the round followed them.
    services : mapping
        Those that the widget was given, by their names in the widget.

    Raises
    ------
    LLMError
        The model, or its key, is not available as it was; the sentence names the model only if the round shows names.
    """
    arm = asked.comparison.arms[index]
    try:
        if isinstance(arm.service, EarlierService):
            arm = _with_service(arm, asked, asked.names[index], before, services)
        arm.service.check()
    except LLMError as exc:
        if asked.comparison.names_hidden:
            raise bad_request(
                "This answer cannot be asked for again: its model, or its key, is not available as it was. "
                "Ask a new question."
            ) from None
        raise bad_request(f"This answer cannot be asked for again: {exc}", model=arm.model) from exc
    return arm


def _with_service(
    arm: Arm,
    asked: CompareRound,
    name: str,
    before: Sequence[CompareRound],
    services: Mapping[str, BaseLLMService],
) -> Arm:
    service = _service(arm, name, services)
    question, params = as_sent(asked.question), dict(arm.params)
    messages, _ = earlier_messages(before, name, question, service.with_params(params), arm.system or "")
    provenance = Provenance(origin="widget", tags={"comparison": asked.comparison.id, LABEL_TAG: arm.label})
    request = service.request(
        [question], conversation_history=messages, system=arm.system, provenance=provenance, **params
    )
    # Without what the service has as a default only by now.
    sent = {key: value for key, value in request.params.items() if key in params}
    return replace(arm, service=service, given=service, request=replace(request, params=sent))


def _service(arm: Arm, name: str, services: Mapping[str, BaseLLMService]) -> BaseLLMService:
    assert isinstance(arm.service, EarlierService)
    for service in _candidates(arm.model, name, services):
        if arm.service.was(service):
            return service
    where = f" at {arm.service.earlier_address}" if arm.service.earlier_address else ""
    raise bad_request(f"it came from {arm.model}{where}, and no model of this name is there now. Ask a new question.")


def _candidates(model: str, name: str, services: Mapping[str, BaseLLMService]) -> Iterator[BaseLLMService]:
    plain = name.rpartition(" #")[0] or name  # of several with one model, the later ones are numbered
    for known in dict.fromkeys((name, plain)):
        if known in services:
            yield services[known]
    yield create_llm_service(model)

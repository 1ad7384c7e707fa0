"""``compare()``: asks all arms at once and waits for their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.comparison.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService

__all__ = ["compare"]


def compare(
    prompt: str | Iterable[Message] | Mapping[str, str | Iterable[Message]],
    models: Sequence[str | BaseLLMService] = (),
    params: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> Comparison:
    """Send one prompt to several models or parameter sets at once, and wait for all answers.

    Parameters
    ----------
    prompt, models, params, **options
        As for :class:`Comparison`.

    Returns
    -------
    Comparison
        Displayed in columns; has ``.responses``, ``.to_dataframe()`` and ``.vote("A")``. A failed arm has a response
        with the ``status`` ``error``.

    Raises
    ------
    LLMError
        Before anything is sent, for invalid arms.
    """
    return Comparison(prompt, models, params, **options).start(waits=True).wait()

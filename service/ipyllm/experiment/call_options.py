"""Checks options of ``chat`` that are given to an experiment, where they hold for all its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.services.parameters import refuse_misspelt_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_call_options"]

_UNFIT: Final = {
    "prompt": "the prompts come first",
    "provenance": "give the experiment a name instead",
    "notebook_options": "give the options themselves",
}
_VARIED: Final = {"effort", "verbosity", "temperature", "top_p", "max_tokens", "seed"}


def check_call_options(options: Mapping[str, Any], own: Iterable[str], *, caller: str) -> None:
    """Raise ``bad_request`` for an option that is none of ``chat``, or that is probably one of the caller's ``own``.

    Examples
    --------
    >>> check_call_options({"repeat": 3}, ["repeats", "models"], caller="Experiment")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: Experiment has no option 'repeat'; did you mean 'repeats'?
    """
    for name, value in options.items():
        if name in _UNFIT:
            raise bad_request(f"{caller} takes no {name}: {_UNFIT[name]}.")
        if name in _VARIED and isinstance(value, list | tuple):
            one = next(iter(value), None)
            raise bad_request(
                f"{caller} takes one {name} for all calls: to compare several, give params=[{{{name!r}: {one!r}}}, …]."
            )
    refuse_misspelt_options(options, own, caller=caller)

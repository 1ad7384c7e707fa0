"""Checks that a request fits the profile of its model, before anything is sent.

A parameter that the call or the service gives and that cannot apply is refused: dropped in silence, two arms that
differ only in it would be one. Defaults of a notebook or a route are hints for many models: they are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.services.profiles.learned import learned_misfits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ipyllm.messages import Message
    from ipyllm.services.profiles.profile import Profile

__all__ = ["check_images", "check_tools", "fit", "what_to_do"]

_NOT_IN_RESPONSES: Final = frozenset({"stop", "seed", "n", "presence_penalty", "frequency_penalty", "logit_bias"})
"""Parameters of chat completions that the Responses API does not have."""

_NO_VARIANT: Final = frozenset({"stop", "n", "logprobs", "top_logprobs", "logit_bias"})
"""Parameters for which no other can stand."""


def fit(
    profile: Profile,
    params: Mapping[str, Any],
    hints: Collection[str],
    *,
    model: str,
    server: str | None = None,
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the parameters that apply, and the names of the hints that do not.

    Parameters
    ----------
    profile : Profile
        What the model takes.
    params : mapping
        All parameters of the request.
    hints : collection of str
        Those that come from a notebook or a route only.
    model : str
        Its full name.
    server : str, optional
        Its address, for what its server has refused in this session.

    Raises
    ------
    LLMError
        ``bad_request``: a parameter that is no hint cannot apply; the sentence says what to vary instead.

    Examples
    --------
    >>> from ipyllm.services.profiles.profile import profile_of
    >>> luna = profile_of("openai/gpt-6-luna")
    >>> fit(luna, {"temperature": 0, "max_tokens": 9}, {"temperature"}, model="openai/gpt-6-luna")
    ({'max_tokens': 9}, ('temperature',))
    >>> fit(luna, {"temperature": 0, "effort": "none"}, (), model="openai/gpt-6-luna")
    ({'temperature': 0, 'effort': 'none'}, ())
    >>> fit(luna, {"temperature": 0}, (), model="openai/gpt-6-luna")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: openai/gpt-6-luna takes no temperature while it reasons; effort='none' allows it, or vary \
effort: none, low, medium, high, xhigh, max.
    """
    left_out: list[str] = []
    while params and (misfits := dict(_misfits(profile, params, model, server))):
        dropped = [name for name in misfits if name in hints]
        if not dropped:
            raise bad_request(next(iter(misfits.values())), model=model)
        left_out += dropped
        params = {name: value for name, value in params.items() if name not in dropped}
    return params, tuple(left_out)


def check_tools(profile: Profile, params: Mapping[str, Any], model: str) -> None:
    """Raise ``bad_request`` if the model cannot call functions on the chat-completions API with this effort."""
    if profile.api == "responses":
        return
    effort = params.get("effort")
    if profile.tools == "never":
        raise bad_request(f"{model} takes no tools on the chat-completions API; use another model.", model=model)
    if profile.tools == "at effort none" and effort != "none":
        raise bad_request(f"{model} takes tools only while it does not reason; give effort='none'.", model=model)
    if profile.tools == "without effort" and effort is not None:
        raise bad_request(f"{model} takes either tools or effort; leave one of them out.", model=model)


def check_images(profile: Profile, messages: Iterable[Message], model: str) -> None:
    """Raise ``bad_request`` if a message holds an image that the model cannot read."""
    if profile.images is not False:
        return
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(
            isinstance(part, dict) and part.get("type") == "image_url" for part in content
        ):
            raise bad_request(f"{model} reads no images; use a model that does.", model=model)


def what_to_do(profile: Profile, name: str, params: Mapping[str, Any]) -> str:
    """Return what to do without a parameter, as half a sentence: leave it out, or vary what this model takes."""
    allows = "effort='none' allows it, or " if _applies_without_reasoning(profile, name, params) else ""
    if name in _NO_VARIANT:
        return f"{allows}leave it out"
    if profile.efforts:
        return f"{allows}vary effort: {', '.join(profile.efforts)}"
    applies = next((name for name in ("temperature", "top_p") if _use(profile, name, params) is None), None)
    return f"vary {applies or 'the prompt'}"


def _misfits(profile: Profile, params: Mapping[str, Any], model: str, server: str | None) -> Iterator[tuple[str, str]]:
    """Yield each parameter that cannot apply, with a sentence."""
    for name, value in params.items():
        if name == "effort":
            problem = _value_problem(name, value, profile.efforts)
        elif name == "verbosity":
            problem = _value_problem(name, value, profile.verbosities)
        elif _is_missing_in_api(profile, name):
            problem = f"takes no {name} on the Responses API"
        else:
            problem = _use(profile, name, params)
            highest = profile.max_temperature
            if problem is None and name == "temperature" and highest is not None and value > highest:
                problem = f"takes a temperature up to {highest:g}, not {value:g}"
        if problem is not None:
            advice = "" if " of: " in problem or " up to " in problem else f"; {what_to_do(profile, name, params)}"
            yield name, f"{model} {problem}{advice}."
    if server is not None:
        yield from learned_misfits(params, model, server)


def _applies_without_reasoning(profile: Profile, name: str, params: Mapping[str, Any]) -> bool:
    if _is_missing_in_api(profile, name) or "none" not in (profile.efforts or ()):
        return False
    at_none = {**params, "effort": "none"}
    return _use(profile, name, params) is not None and _use(profile, name, at_none) is None


def _is_missing_in_api(profile: Profile, name: str) -> bool:
    return name in _NOT_IN_RESPONSES and profile.api == "responses"


def _value_problem(name: str, value: str, values: tuple[str, ...] | None) -> str | None:
    if values is None or value in values:
        return None
    return f"takes no {name} {value!r}; give one of: {', '.join(values)}" if values else f"takes no {name}"


def _use(profile: Profile, name: str, params: Mapping[str, Any]) -> str | None:
    """Return why a parameter has no use, as the end of a sentence; None if it has."""
    if name in profile.refused:
        return f"takes no {name}"
    if name in profile.ignored:
        return f"ignores {name}"
    if profile.effort(params) in {None, "none"}:
        return None
    if name in profile.refused_while_reasoning:
        return f"takes no {name} while it reasons"
    if name in profile.ignored_while_reasoning:
        return f"ignores {name} while it reasons"
    return None

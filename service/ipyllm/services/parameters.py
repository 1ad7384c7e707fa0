"""Parameters of the chat-completions protocol: names, types and ranges.

A name close to a known one is refused as a typo. Any other unknown name is sent as it is, because servers have
parameters of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.plain_values import plain_value
from ipyllm.text.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["KNOWN", "OPTIONS", "check_params", "refuse_misspelt_options"]

_INF = float("inf")
_SIMILAR: Final = 0.8  # of a misspelt name and the right one
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "presence_penalty": (float, -2, 2),
    "frequency_penalty": (float, -2, 2),
    "max_tokens": (int, 1, _INF),
    "max_completion_tokens": (int, 1, _INF),
    "seed": (int, -_INF, _INF),
    "top_logprobs": (int, 0, 20),
    "n": (int, 1, 1),
}
KNOWN = (*_NUMBERS, "effort", "verbosity", "stop", "logprobs", "logit_bias", "reasoning_effort", "response_format",
         "tools", "tool_choice", "user", "top_k", "min_p", "extra_body", "metadata", "service_tier")  # fmt: skip
OPTIONS = ("conversation_history", "system", "tags", "timeout", "max_retries", "retry_after_text", "cache",
           "extra_headers", "max_cost_usd", "tool_rounds", "schema", "repairs")  # fmt: skip
"""Options of a call, which are no parameters: what a misspelt name may have meant."""
_NOT_PARAMETERS = {
    name: f"{name!r} is set by ipyllm and cannot be given as a parameter."
    for name in ("model", "messages", "stream", "stream_options")
} | {
    "extra_headers": "extra_headers is an option of a call, such as chat(…); a service takes default_headers.",
    "default_headers": "default_headers is an option of a service; a call takes extra_headers.",
}


def check_params(params: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return ``params`` without those that are None; raise ``bad_request``, which names the invalid parameter.

    Examples
    --------
    >>> check_params({"reasoning_effort": "low", "seed": None}, "openai/gpt-6-luna")
    {'effort': 'low'}
    """
    checked = {name: _as_json(name, value, model) for name, value in params.items() if value is not None}
    for name, other in (("effort", "reasoning_effort"), ("max_tokens", "max_completion_tokens")):
        if name in checked and other in checked:
            raise bad_request(f"{name} and {other} are the same parameter; give one of them.", model=model)
    if "reasoning_effort" in checked:  # the protocol's name of it: the same arm, whichever is used
        checked = {"effort" if name == "reasoning_effort" else name: value for name, value in checked.items()}
    checked = _with_alternatives(checked, model)
    for name, value in checked.items():
        problem = _problem(name, value)
        if problem:
            raise bad_request(problem, model=model)
    return checked


def refuse_misspelt_options(given: Iterable[str], own: Iterable[str], *, caller: str) -> None:
    """Raise ``bad_request`` for a name that is no parameter, and probably one of the caller's ``own`` options.

    Examples
    --------
    >>> refuse_misspelt_options(["seed", "repeat"], ["repeats", "models"], caller="An experiment")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: An experiment has no option 'repeat'; did you mean 'repeats'?
    """
    for name in given:
        near = None if name in KNOWN or name in OPTIONS else closest(name, own, cutoff=_SIMILAR)
        if near is not None:
            raise bad_request(f"{caller} has no option {name!r}; did you mean {near!r}?")


def _with_alternatives(params: dict[str, Any], model: str) -> dict[str, Any]:
    """Return ``params`` with ``logprobs=5``, log probabilities and five alternatives, in the two of the protocol."""
    given = params.get("logprobs")
    if given is None:
        return {**params, "logprobs": True} if params.get("top_logprobs") else params
    if isinstance(given, bool):
        return params if given else {name: value for name, value in params.items() if name != "top_logprobs"}
    if "top_logprobs" in params:
        raise bad_request("logprobs=N and top_logprobs=N are the same parameter; give one of them.", model=model)
    problem = _problem("top_logprobs", given)
    if problem is not None:
        raise bad_request(
            f"{problem.replace('top_logprobs', 'logprobs')[:-1]}: alternatives of each token.", model=model
        )
    return {**params, "logprobs": True, "top_logprobs": given}


def _as_json(name: str, value: Any, model: str) -> Any:
    """Return a value as it can be sent; a class as ``response_format`` is its JSON schema."""
    if name == "response_format" and isinstance(value, type):
        from ipyllm.structured import Schema

        return Schema.of(value).response_format()
    try:
        return plain_value(value)
    except TypeError as exc:
        raise bad_request(f"{name} cannot be sent: {exc}.", model=model) from None


def _problem(name: str, value: Any) -> str | None:
    if name in _NOT_PARAMETERS:
        return _NOT_PARAMETERS[name]
    if name not in KNOWN:
        near = None if name in OPTIONS else closest(name, (*KNOWN, *OPTIONS, *_NOT_PARAMETERS), cutoff=_SIMILAR)
        advice = _NOT_PARAMETERS.get(near or "", f"did you mean {near!r}?")
        return f"There is no parameter {name!r}; {advice}" if near is not None else None
    if name in _NUMBERS:
        kind, low, high = _NUMBERS[name]
        wanted = "a whole number" if kind is int else "a number"
        span = f" between {low:g} and {high:g}" if high < _INF else (f" of at least {low:g}" if low > -_INF else "")
        fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        if not fits or not low <= value <= high:
            return f"{name} must be {wanted}{span}, not {value!r}."
    is_right, shown = _KINDS.get(name, (None, ""))
    return None if is_right is None or is_right(value) else f"{name} must be {shown}, not {value!r}."


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


_is_list_of_texts = _is_list_of(str)
_KINDS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(("effort", "verbosity"), (_is_text, "a string such as 'low'")),
    **dict.fromkeys(("extra_body", "logit_bias", "metadata", "response_format"), (_is_dict, "a dict")),
    "stop": (lambda value: _is_text(value) or _is_list_of_texts(value), "a string or a list of strings"),
    "tools": (_is_list_of(dict), "a list of dicts"),
}

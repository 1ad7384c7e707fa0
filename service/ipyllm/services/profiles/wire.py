"""Parameters as the fields of the JSON body that a model's server expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.services.profiles.profile import Profile

__all__ = ["merged", "sent_name", "wire_fields"]

_TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens")

_RESPONSES_FIELDS: Final = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "response_format": "text.format",
}
"""Where the Responses API has what chat completions has at the top."""


def wire_fields(profile: Profile, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that stand for ``params``.

    Examples
    --------
    >>> from ipyllm.services.profiles.profile import profile_of
    >>> wire_fields(profile_of("openai/gpt-6-luna"), {"max_tokens": 9, "effort": "low"})
    {'max_output_tokens': 9, 'reasoning': {'effort': 'low'}}
    >>> wire_fields(profile_of("deepseek/deepseek-flash"), {"effort": "none"})
    {'thinking': {'type': 'disabled'}}
    """
    fields: dict[str, Any] = {}
    for name, value in params.items():
        if name == "effort":
            for field, filled in _effort_fields(profile, value).items():
                fields = merged(fields, _nested(_place(profile, field), filled))
        else:
            fields = merged(fields, _nested(sent_name(profile, name, params), value))
    return fields


def sent_name(profile: Profile, name: str, params: Mapping[str, Any]) -> str:
    """Return the name under which a parameter is sent; with a dot if it is within an object."""
    if name == "effort":
        return _place(profile, next(iter(_effort_fields(profile, params[name])), name))
    if profile.api == "responses" and name in _RESPONSES_FIELDS:
        return _RESPONSES_FIELDS[name]
    if name in _TOKEN_LIMITS and profile.max_tokens_field is not None:
        return profile.max_tokens_field
    return profile.renamed.get(name, name)


def _place(profile: Profile, field: str) -> str:
    return _RESPONSES_FIELDS.get(field, field) if profile.api == "responses" else field


def _nested(name: str, value: Any) -> dict[str, Any]:
    """Return a field; that of ``text.format`` is the field ``format`` within ``text``."""
    outer, dot, inner = name.partition(".")
    return {outer: {inner: value}} if dot else {name: value}


def merged(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; objects of the same name are joined, in everything else ``more`` comes first.

    >>> merged({"a": {"x": 1}, "b": 1}, {"a": {"y": 2}, "b": 2})
    {'a': {'x': 1, 'y': 2}, 'b': 2}
    """
    joined = dict(fields)
    for name, value in more.items():
        before = joined.get(name)
        joined[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return joined


def _effort_fields(profile: Profile, effort: str) -> Mapping[str, Any]:
    fields = profile.effort_body.get(effort)
    if fields is None:
        fields = profile.effort_body.get("*", {})
    filled: Mapping[str, Any] = _filled(fields, effort)
    return filled


def _filled(value: Any, effort: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, effort) for name, item in value.items()}
    return effort if value == "$effort" else value

"""Refuses requests as a provider does: `dialects.toml` says what, and in which words.

>>> dialect = Dialect.named("openai")
>>> dialect.refusal("/v1/chat/completions", {"model": "gpt-6-astra", "messages": [], "max_tokens": 5}).status
400
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fakes.script import Script, status

__all__ = ["DIALECTS", "TABLE", "Dialect"]

TABLE = tomllib.loads((Path(__file__).parent / "dialects.toml").read_text(encoding="utf-8"))

DIALECTS = tuple(TABLE)
"""The names of the dialects."""

_APIS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}
_EFFORT_FIELDS = ("reasoning_effort", "reasoning.effort")
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, kw_only=True)
class _Error:
    """The words of a refusal; `{field}` and the like are filled in."""

    message: str
    status: int = 400
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """When to refuse, as the head of `dialects.toml` explains, and with which words."""

    error: _Error
    api: str | None = None
    models: str = ".*"
    fields: tuple[str, ...] = ()
    accepted: tuple[Any, ...] | None = None
    refused: tuple[Any, ...] | None = None
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    equals: dict[str, Any] = field(default_factory=dict)
    differs: dict[str, Any] = field(default_factory=dict)
    effort: tuple[str, ...] | None = None
    given: tuple[str, ...] | None = None
    each: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    having: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    query: str | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> _Rule:
        words = {name: row[name] for name in _Error.__dataclass_fields__ if name in row}
        rest = {f"{name}_" if name == "with" else name: value for name, value in row.items() if name not in words}
        lists = {name: tuple(value) for name, value in rest.items() if isinstance(value, list)}
        return cls(error=_Error(**words), **rest | lists)

    def finding(self, request: _Parameters) -> dict[str, Any] | None:
        """Return what is refused, for the words; None if the rule does not apply."""
        holds = (
            self.api in {None, request.api}
            and _matches(self.models, request.model)
            and all(request.values(path) for path in self.with_)
            and not any(any(request.values(path)) for path in self.without)
            and all(value in request.values(path) for path, value in self.equals.items())
            and not any(value in request.values(path) for path, value in self.differs.items())
            and (self.effort is None or request.effort in self.effort)
            and (self.given is None or request.given_effort in self.given)
            and (self.query is None or self.query in request.query)
        )
        if not holds:
            return None
        if self.fields:
            return self._refused_field(request)
        if self.each is not None:
            return self._refused_item(request)
        if self.missing:
            return next(({"field": path} for path in self.missing if not request.values(path)), None)
        return {}

    def _refused_field(self, request: _Parameters) -> dict[str, Any] | None:
        for path in self.fields:
            for value in request.values(path):
                if (self.accepted is None or value not in self.accepted) and (
                    self.refused is None or value in self.refused
                ):
                    return {"field": path, "value": value}
        return None

    def _refused_item(self, request: _Parameters) -> dict[str, Any] | None:
        for index, item in enumerate(request.values(f"{self.each}[]")):
            if (
                all(value in _values(item, path) for path, value in self.where.items())
                and all(_values(item, path) for path in self.having)
                and (not self.missing or not all(_values(item, path) for path in self.missing))
            ):
                return {"field": f"{self.each}.{index}.{(self.missing or self.having)[0]}", "index": index}
        return None


@dataclass(frozen=True)
class _Parameters:
    """A request, as rules look at it."""

    api: str
    body: dict[str, Any]
    query: str
    default_effort: str | None

    @property
    def model(self) -> str:
        return _plain_model(self.body)

    @property
    def given_effort(self) -> str:
        return next((str(value) for path in _EFFORT_FIELDS for value in self.values(path)), "")

    @property
    def effort(self) -> str | None:
        return self.given_effort or self.default_effort

    def values(self, path: str) -> list[Any]:
        return _values(self.body, path)


@dataclass(frozen=True)
class Dialect:
    """What a provider refuses. Made by `named`.

    Parameters
    ----------
    name : str
        One of `DIALECTS`.
    today : date, optional
        The day for retired models; by default the real one.
    """

    name: str
    rules: tuple[_Rule, ...]
    table: dict[str, Any]
    today: date

    @classmethod
    def named(cls, name: str, today: date | None = None) -> Dialect:
        own = TABLE[name]
        base = TABLE[own["extends"]] if "extends" in own else {}
        rows = [*own.get("rules", ()), *base.get("rules", ())]
        return cls(name, tuple(map(_Rule.of, rows)), base | own, today or datetime.now(UTC).date())

    def refusal(self, path: str, body: dict[str, Any], query: str = "") -> Script | None:
        """Return the provider's reply to a request that it refuses; None if it accepts it."""
        if path not in _APIS:
            return None
        request = self.parameters(path, body, query)
        retired = (row for row in self.table.get("retired", ()) if row["from"] <= self.today)
        if any(_matches(row["models"], request.model) for row in retired):
            return self._reply(_Error(**self.table["gone"]), request)
        known = self.table.get("known", {}).get(request.api)
        for name in sorted(set(body) - _known_parameters(known)) if known else ():
            return self._reply(_Error(**self.table["unknown"]), request, field=name, value=body[name])
        for rule in self.rules:
            finding = rule.finding(request)
            if finding is not None:
                return self._reply(rule.error, request, **finding)
        efforts = self._efforts(body)
        if efforts and request.given_effort and request.given_effort not in efforts["values"]:
            return self._reply(_UNSUPPORTED_EFFORT, request, **_effort_finding(request, efforts["values"]))
        return None

    def parameters(self, path: str, body: dict[str, Any], query: str = "") -> _Parameters:
        """Return a request as rules look at it."""
        efforts = self._efforts(body)
        return _Parameters(_APIS[path], body, query, efforts and efforts["default"])

    def _efforts(self, body: dict[str, Any]) -> Any:
        model = _plain_model(body)
        return next((row for row in self.table.get("efforts", ()) if _matches(row["models"], model)), None)

    def _reply(self, error: _Error, request: _Parameters, **finding: Any) -> Script:
        words = {"model": str(request.body.get("model", "")), **finding}
        message, param = (text and text.format_map(words) for text in (error.message, error.param))
        return status(error.status, _SHAPES[self.table["shape"]](error, message, param, finding))


# The words of OpenAI: GoogleChromeLabs/webmcp-tools and many others; other providers say the like.
_UNSUPPORTED_EFFORT = _Error(
    message="Unsupported value: '{field}' does not support '{value}' with this model. "
    "Supported values are: {accepted}.",
    param="{field}",
    code="unsupported_value",
)


def _effort_finding(request: _Parameters, accepted: list[str]) -> dict[str, Any]:
    path = next(path for path in _EFFORT_FIELDS if request.values(path))
    return {"field": path, "value": request.given_effort, "accepted": ", ".join(f"'{value}'" for value in accepted)}


@cache
def _type_parameters(name: str) -> frozenset[str]:
    module, _, type_name = name.rpartition(".")
    return frozenset(getattr(import_module(module), type_name).__annotations__) | {"stream"}


def _known_parameters(known: str | list[str]) -> frozenset[str]:
    return _type_parameters(known) if isinstance(known, str) else frozenset(known)


def _plain_model(body: dict[str, Any]) -> str:
    return _DATE.sub("", str(body.get("model", "")))


def _matches(pattern: str, model: str) -> bool:
    return re.fullmatch(pattern, model) is not None


def _values(value: Any, path: str) -> list[Any]:
    """Return the values at a path that are not null: one, none, or one for each item of lists."""
    found = [value]
    for part in path.split("."):
        name, bracket, index = part.partition("[")
        found = [item[name] for item in found if isinstance(item, dict) and item.get(name) is not None]
        if bracket:
            lists = [item for item in found if isinstance(item, list)]
            chosen = slice(None) if index == "]" else slice(int(index[:-1]), int(index[:-1]) + 1)
            found = [item for each in lists for item in each[chosen]]
    return found


# ---- the bodies of errors -----------------------------------------------------------------------------------------


def _openai_body(error: _Error, message: str, param: str | None, _: dict[str, Any]) -> Any:
    return {"error": {"message": message, "type": error.type, "param": param, "code": error.code}}


def _anthropic_body(error: _Error, message: str, *_: Any) -> Any:  # sipeed/picoclaw#2939
    return {"error": {"code": error.type, "message": message, "type": error.type, "param": None}}


def _google_body(error: _Error, message: str, *_: Any) -> Any:  # a list: n4ze3m/page-assist#418
    violations = [{"description": message}]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]
    code = error.code or "INVALID_ARGUMENT"
    return [{"error": {"code": error.status, "message": message, "status": code, "details": details}}]


def _details(error: _Error, message: str, finding: dict[str, Any]) -> list[dict[str, Any]]:
    location = ["body", *str(finding.get("field", "")).split(".")]
    return [{"type": error.code or "value_error", "loc": location, "msg": message, "input": finding.get("value")}]


def _mistral_body(error: _Error, message: str, _: Any, finding: dict[str, Any]) -> Any:  # editor-code-assistant/eca#231
    detail = {"detail": _details(error, message, finding)}
    return {"object": "error", "message": detail, "type": error.type, "param": None, "code": None}


def _fastapi_body(error: _Error, message: str, _: Any, finding: dict[str, Any]) -> Any:  # Gitlawb/openclaude#739
    return {"detail": _details(error, message, finding)}


def _groq_body(error: _Error, message: str, *_: Any) -> Any:  # fanenr/chatbot#21
    return {"error": {"message": message, "type": error.type}}


def _xai_body(_error: _Error, message: str, *_: Any) -> Any:  # chenyme/grok2api#814
    return {"code": "invalid-argument", "error": message}


def _cerebras_body(error: _Error, message: str, *_: Any) -> Any:  # Kilo-Org/kilocode#10375
    return {"message": message, "type": error.type, "param": "validation_error", "code": "wrong_api_format"}


_SHAPES = {
    "openai": _openai_body,
    "anthropic": _anthropic_body,
    "google": _google_body,
    "mistral": _mistral_body,
    "fastapi": _fastapi_body,
    "groq": _groq_body,
    "xai": _xai_body,
    "cerebras": _cerebras_body,
}

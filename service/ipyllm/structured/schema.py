"""The schema of an answer: created from a type or a dict, sent with a request, used to parse the answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ipyllm.errors import LLMError, bad_request
from ipyllm.structured.json_answer import SchemaMismatch, read_json
from ipyllm.structured.portable import WRAPPER, to_portable
from ipyllm.structured.sources import from_dict, from_type
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipyllm.messages import Message
    from ipyllm.structured.sources import SchemaSource

__all__ = ["Schema"]

_MAX_NAME = 64
_MAX_REPEATED = 8_000  # characters of a wrong answer that the model is shown again


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of an answer, and its parser. Create it with :meth:`of`.

    ``name`` has only the letters that servers allow. ``strict`` says whether OpenAI's strict mode supports all of it,
    so that the answer always fits; ``wrapped``, whether the value is wrapped in an object, because servers require one.
    """

    name: str
    strict: bool
    wrapped: bool
    _text: str = field(repr=False)
    _source: Any = field(repr=False, hash=False)
    _check: Callable[[Any], Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, source: Any) -> Self:
        """Create a schema; raise ``bad_request``, with the reason why it cannot be one.

        ``source`` is a Pydantic model, a dataclass, a TypedDict, any other type that Pydantic knows, or a JSON schema
        as a dict.
        """
        if isinstance(source, cls):
            return source
        try:
            read = from_dict(source) if isinstance(source, dict) else from_type(source)
            return cls._of_read(read, read.raw if isinstance(source, dict) else source)
        except (TypeError, ValueError, RecursionError) as exc:
            why = "its references are circular" if isinstance(exc, RecursionError) else str(exc)
            raise _unusable(source, why) from exc

    @classmethod
    def _of_read(cls, read: SchemaSource, source: Any) -> Self:
        portable = to_portable(read.raw)
        return cls(
            name=re.sub(r"[^a-zA-Z0-9_-]+", "_", read.name).strip("_")[:_MAX_NAME] or "answer",
            strict=portable.strict,
            wrapped=portable.wrapped,
            _text=json.dumps(portable.schema, ensure_ascii=False),
            _source=source,
            _check=read.check,
        )

    def unchecked(self) -> Self:
        """Return the schema without its checks: it parses any JSON, as fast if somebody else wrote the schema."""
        return replace(self, _check=lambda value: value)

    def __reduce__(self) -> tuple[object, ...]:
        # The check cannot be pickled; its source can.
        return (Schema.of, (self._source,))

    @property
    def json_schema(self) -> dict[str, Any]:
        """The schema as it is sent; a new dict each time."""
        schema: dict[str, Any] = json.loads(self._text)
        return schema

    @property
    def source(self) -> Any:
        """What it was created from: a type, or a JSON schema as a dict."""
        return self._source

    def response_format(self, native: bool = True) -> dict[str, Any]:
        """Return the parameter ``response_format`` of a request.

        With ``native`` the server enforces the schema; else only JSON, which :meth:`instructions` must ask for.
        """
        if not native:
            return {"type": "json_object"}
        return {
            "type": "json_schema",
            "json_schema": {"name": self.name, "schema": self.json_schema, "strict": self.strict},
        }

    def instructions(self) -> str:
        """Return instructions for the system message, for servers that do not enforce the schema."""
        return (
            "Answer with one JSON object and nothing else: no code fence, no explanation. "
            f"Fill in this JSON schema, do not repeat it:\n{self._text}"
        )

    def parse(self, text: str) -> Any:
        """Return the value in an answer: an instance of the type, or for a JSON schema plain JSON.

        Code fences and text around the JSON are ignored. Raises :class:`SchemaMismatch` if it is not JSON, or does not
        fit.
        """
        first: SchemaMismatch | None = None
        for answer in read_json(text):
            for value in self._values(answer):
                try:
                    return self._check(value)
                except SchemaMismatch as exc:
                    first = first or exc
        assert first is not None, "read_json finds something or raises"
        try:
            raise first
        finally:
            del first  # it refers to this frame: in a cycle, the user's exceptions would end on any thread

    def _values(self, answer: Any) -> Iterator[Any]:
        """Yield the possible values of an answer: without native mode, models sometimes omit the wrapping."""
        if self.wrapped and isinstance(answer, dict) and answer.keys() == {WRAPPER}:
            yield answer[WRAPPER]
        yield answer

    def repair_messages(self, text: str, error: SchemaMismatch) -> list[Message]:
        """Return messages that ask the model to correct its answer ``text``, which :meth:`parse` refused."""
        answer = text.strip() or "(no answer)"  # some servers refuse an empty message
        if len(answer) > _MAX_REPEATED:
            answer = shorten(answer, _MAX_REPEATED, fold=False)
        return [
            {"role": "assistant", "content": answer},
            {"role": "user", "content": f"That cannot be used. {error}\n{self.instructions()}"},
        ]


def _unusable(source: Any, why: str) -> LLMError:
    if isinstance(source, dict):
        return bad_request(f"This JSON schema cannot be used: {why}.")
    shown = getattr(source, "__name__", None) or shorten(repr(source), 60)
    because = f" ({why})" if why else ""
    return bad_request(
        f"{shown} cannot be used as a schema{because}; give a Pydantic model, a dataclass, a TypedDict, "
        "a type such as list[str], or a JSON schema as a dict."
    )

"""The schema of an answer that is one of some labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.structured.json_answer import SchemaMismatch, read_json
from ipyllm.structured.schema import Schema
from ipyllm.structured.sources import SchemaSource
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LabelSchema"]

_AROUND = " \t\r\n\"'`*_.,:;!()[]"


class LabelSchema(Schema):
    """The schema of a label. An answer may also be the bare label, in any case, with punctuation around it.

    Examples
    --------
    >>> schema = LabelSchema.of_labels(["good", "bad"])
    >>> schema.parse('{"value": "bad"}'), schema.parse("**Good.**")
    ('bad', 'good')
    >>> schema.parse("So so.")
    Traceback (most recent call last):
        ...
    ipyllm.structured.json_answer.SchemaMismatch: The answer must be one of: good, bad.
    """

    __slots__ = ()

    @classmethod
    def of_labels(cls, labels: Iterable[str]) -> LabelSchema:
        """Create the schema of these labels; raise ``bad_request`` if they are not different texts."""
        texts = [labels] if isinstance(labels, str) else list(labels)
        if len(texts) < 2 or not all(isinstance(text, str) and text.strip() for text in texts):  # noqa: PLR2004
            raise bad_request(f"labels must be two or more texts, such as ['good', 'bad'], not {labels!r}.")
        texts = list(map(replace_surrogates, texts))
        if twice := next((text for text in texts if texts.count(text) > 1), None):
            raise bad_request(f"The label {twice!r} stands twice in labels: leave one out.")
        raw = {"title": "label", "type": "string", "enum": texts}

        def check(value: Any) -> Any:
            if value not in texts:
                raise SchemaMismatch(_one_of(texts))
            return value

        # Not by Schema.of: to import jsonschema takes up to 2 s where Jupyter is installed.
        return cls._of_read(SchemaSource("label", raw, check), raw)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order in which they were given."""
        found: list[str] = self.source["enum"]
        return found

    def instructions_in_words(self) -> str:
        """Return the instruction for the model: where a server enforces the labels, the model may not see them."""
        return f"Answer with exactly one of these labels: {', '.join(self.labels)}."

    def parse(self, text: str) -> Any:
        """Return the label in an answer; raise :class:`SchemaMismatch` if there is none."""
        try:
            return super().parse(text)
        except SchemaMismatch:
            said = _plain_text(text).strip(_AROUND)
            for same in (str, str.casefold):
                found = [label for label in self.labels if same(label.strip(_AROUND)) == same(said)]
                if len(found) == 1:
                    return found[0]
            raise SchemaMismatch(_one_of(self.labels)) from None


def _one_of(labels: list[str]) -> str:
    return f"The answer must be one of: {', '.join(labels)}."


def _plain_text(answer: str) -> str:
    try:
        value = read_json(answer)[0]
    except SchemaMismatch:
        return answer.rpartition("</think>")[2]
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return value if isinstance(value, str) else ""

"""Reads answers by the schema of their arm: their values, and columns of their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.field_columns import field_column
from ipyllm.structured import SchemaMismatch
from ipyllm.structured.fields import Field, fields_of, plain_answers

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.experiment.grid import Grid

__all__ = ["ParsedAnswers"]


class ParsedAnswers:
    """The values in the answers of arms with a schema, each read once."""

    def __init__(self, grid: Grid) -> None:
        self._schemas = {arm.label: arm.request.schema for arm in grid.arms if arm.request.schema is not None}
        self._plain = {label: plain_answers(schema) for label, schema in self._schemas.items()}
        self._by_call: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._schemas)

    def values(self, calls: pd.DataFrame) -> list[Any]:
        """Return the value in each answer, as ``response.parsed`` has it; None where there is none."""
        found = self._read(calls)
        return [None if isinstance(value, SchemaMismatch) else value for value in found]

    def is_unread(self, call_id: str, arm: str) -> bool:
        """Return whether the answer of a call was not read yet, and its arm has a schema."""
        return arm in self._schemas and call_id not in self._by_call

    def read(self, call_id: str, arm: str, text: str) -> None:
        """Read an answer, if its arm has a schema."""
        self._value(call_id, arm, "ok", text)

    def is_misfit(self, call_id: str) -> bool:
        """Return whether the answer of a call was read and does not fit its schema."""
        return isinstance(self._by_call.get(call_id), SchemaMismatch)

    def checked(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return ``calls`` with the answers that do not fit as failures: a kernel may have died before it noted one."""
        if not self._schemas:
            return calls
        misfits = {index: value for index, value in enumerate(self._read(calls)) if isinstance(value, SchemaMismatch)}
        if misfits:
            labels = calls.index[list(misfits)]
            calls = calls.copy()
            calls.loc[labels, ["status", "error_category"]] = ["error", "schema_mismatch"]
            calls.loc[labels, "error_message"] = [
                f"The answer does not fit the schema: {exc}" for exc in misfits.values()
            ]
        return calls

    def join(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return ``calls`` with ``parsed``, as values of JSON, and a column ``parsed_<field>`` for each field."""
        if not self._schemas:
            return calls
        import pandas as pd

        plain = [
            None if value is None else self._plain[arm](value)
            for value, arm in zip(self.values(calls), calls["arm"], strict=True)
        ]
        columns: dict[str, Any] = {"parsed": pd.Series(plain, index=calls.index, dtype="object")}
        for field in self._fields():
            of_field = [value.get(field.name) if isinstance(value, dict) else None for value in plain]
            columns[f"parsed_{field.name}"] = field_column(field, of_field, calls.index)
        return calls.assign(**columns)

    def _read(self, calls: pd.DataFrame) -> list[Any]:
        rows = zip(calls["call_id"], calls["arm"], calls["status"], calls["response"], strict=True)
        return [self._value(*row) if row[2] == "ok" and isinstance(row[3], str) else None for row in rows]

    def _value(self, call_id: str, arm: str, _status: str, text: str) -> Any:
        schema = self._schemas.get(arm)
        if schema is None:
            return None
        if call_id not in self._by_call:
            try:
                self._by_call[call_id] = schema.parse(text)
            except SchemaMismatch as exc:
                self._by_call[call_id] = SchemaMismatch(str(exc))  # without what it came from: the user's exceptions
        return self._by_call[call_id]

    def _fields(self) -> list[Field]:
        """Return the fields of all schemas; one that has another kind in another schema is an object."""
        found: dict[str, Field] = {}
        for schema in self._schemas.values():
            fields = fields_of(schema)
            for field in fields if isinstance(fields, list) else ():
                same = found.setdefault(field.name, field)
                if same != field:
                    found[field.name] = Field(field.name, "object")
        return list(found.values())

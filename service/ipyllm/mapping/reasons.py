"""Why rows have no answer: kept with a column of answers, and shown as a table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.errors import bad_request
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.mapping.rows import Rows

__all__ = ["ATTRIBUTE", "Reason", "describe", "errors_of", "no_prompt", "with_reasons"]

ATTRIBUTE: Final = "llm_map"
"""Key of a result's ``attrs``."""

_NO_PROMPT: Final = "no_prompt"
_MAX_CATEGORIES = 3


class Reason(NamedTuple):
    """Why a row has no answer: a category of :class:`~ipyllm.LLMError`, or ``no_prompt``, and a sentence."""

    category: str
    message: str

    @property
    def is_failure(self) -> bool:
        """Whether something went wrong: not if the row has nothing to ask about."""
        return self.category != _NO_PROMPT


def no_prompt(message: str) -> Reason:
    """Return the reason of a row that has nothing to ask about."""
    return Reason(_NO_PROMPT, message)


def describe(failed: Mapping[int, Reason], n_rows: int) -> str:
    """Return a sentence about rows, by number, whose calls failed or were not made."""
    counts = Counter(reason.category for reason in failed.values()).most_common()
    shown = ", ".join(f"{category} {n}" for category, n in counts[:_MAX_CATEGORIES])
    if len(counts) > _MAX_CATEGORIES:
        shown += ", …"
    first = next(iter(failed.values())).message
    have = "has" if len(failed) == 1 else "have"
    return (
        f"{len(failed):,} of {count(n_rows, 'row')} {have} no answer ({shown}). "
        f"The first: {first} Call again to ask for these only; .llm.errors() of the result lists them."
    )


def with_reasons(table: Any, rows: Rows, name: str, reasons: Mapping[int, Reason]) -> Any:
    """Return ``table`` with the reasons, by row, in its ``attrs``: values of JSON, as pandas' files require."""
    errors = [
        {
            "row": number,
            "index": number if rows.index is None else _json_label(rows.index[number]),
            "category": reason.category,
            "message": reason.message,
        }
        for number, reason in reasons.items()
    ]
    # polars has no `attrs`: there it is an attribute of this object only.
    table.attrs = {ATTRIBUTE: {"name": name, "errors": errors}}
    return table


def errors_of(table: Any) -> Any:
    """Return the rows of a result of ``llm_map`` without an answer, as a DataFrame of its library.

    Columns ``row`` (number in the input), ``category`` and ``message``; in pandas with the index of these rows.
    """
    found = getattr(table, "attrs", {}).get(ATTRIBUTE)
    if found is None:
        raise bad_request(
            f"This {type(table).__name__} is not a result of llm_map: keep the result (answers = llm_map(…)), and ask "
            "answers.llm.errors()."
        )
    columns = {name: [error[name] for error in found["errors"]] for name in ("row", "category", "message")}
    if type(table).__module__.startswith("polars"):
        import polars as pl

        return pl.DataFrame(columns, schema={"row": pl.Int64, "category": pl.String, "message": pl.String})
    import pandas as pd

    return pd.DataFrame(columns, index=_labels([error["index"] for error in found["errors"]], table.index))


def _labels(labels: list[Any], index: Any) -> Any:
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        return pd.MultiIndex.from_tuples([tuple(label) for label in labels], names=index.names) if labels else index[:0]
    found: pd.Index[Any] = pd.Index(labels, dtype="object", name=index.name)
    try:
        return found.astype(index.dtype)
    except (ValueError, TypeError):  # the table has another index by now
        return found


def _json_label(label: Any) -> Any:
    if isinstance(label, tuple):
        return [_json_label(part) for part in label]
    label = getattr(label, "item", lambda: label)()  # of NumPy
    return label if isinstance(label, str | int | float | bool) else str(label)

"""What servers counted for the questions of a conversation, from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.text.format import is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ServerCount", "server_counts"]

_NEWEST: Final = 500  # calls that are looked at


class ServerCount(NamedTuple):
    """Tokens of a request, and those of them that the server read from its cache; None if it did not say."""

    input_tokens: int | None = None
    cached_tokens: int | None = None

    def words(self) -> str:
        """Return both as text.

        Examples
        --------
        >>> ServerCount(120, 96).words(), ServerCount().words()
        ('120, of them 96 cached', '–')
        """
        if self.input_tokens is None:
            return "–"
        cached = "" if self.cached_tokens is None else f", of them {self.cached_tokens:,} cached"
        return f"{self.input_tokens:,}{cached}"


def server_counts(conversation: str | None, questions: Sequence[str]) -> list[ServerCount]:
    """Return what was counted for each question in a conversation of this kernel, by its newest call."""
    if conversation is None:
        return [ServerCount()] * len(questions)
    from ipyllm.dataframes.usage import usage

    columns = ["conversation", "prompt", "usage_source", "input_tokens", "cached_tokens"]
    calls = usage(columns=columns, limit=_NEWEST)
    calls = calls[(calls["conversation"] == conversation) & (calls["usage_source"] == "server")]
    newest = {
        row.prompt: ServerCount(_whole(row.input_tokens), _whole(row.cached_tokens))
        for row in calls.itertuples(index=False)
    }
    return [newest.get(question, ServerCount()) for question in questions]


def _whole(value: Any) -> int | None:
    return None if is_missing(value) else int(value)

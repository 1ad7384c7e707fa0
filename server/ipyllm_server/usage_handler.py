"""``GET /ipyllm/api/usage``: the calls that the user made through the server, as JSON, CSV or Parquet."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipyllm.dataframes.export import export_usage
from ipyllm.dataframes.usage import usage
from ipyllm.settings import SettingsError
from ipyllm_server.base_handler import ApiHandler, for_users
from ipyllm_server.refusals import Refusal
from ipyllm_server.user_limits import USER_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FILTERS", "MOST_ROWS", "TYPES", "UsageHandler"]

TYPES: Final = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
"""Types of content by format."""

FILTERS: Final = {
    "since": "Calls that began at this time or later: `2026-11-23T14:30`, or a duration such as `2h`.",
    "until": "Calls that began before this time.",
    "model": "Full name of the model.",
    "status": "Status of the calls, such as `ok` or `error`.",
}
"""Parameters that choose rows."""

MOST_ROWS: Final = 100_000
"""Rows that an answer has at most."""

_ARGUMENTS: Final = ("format", *FILTERS, "text", "limit", "token")
_CHUNK: Final = 1 << 16
_DIGITS: Final = len(str(MOST_ROWS))


class UsageHandler(ApiHandler):
    """Calls of the user."""

    @for_users
    async def get(self) -> None:
        """Answer with one row for each call, oldest first; of more than ``limit``, the newest."""
        form = self._argument("format", "json")
        if form not in TYPES:
            raise Refusal(400, f"There is no format {form!r}: use {', '.join(TYPES)}.", "bad_request")
        filters = self._filters()
        with tempfile.TemporaryDirectory(prefix="ipyllm-usage-") as folder:
            path = Path(folder) / f"calls.{form}"
            try:
                if form == "json":
                    await asyncio.to_thread(_write_json, path, **filters)
                else:
                    await asyncio.to_thread(export_usage, path, **filters)
            except SettingsError:
                raise
            except ValueError as exc:
                raise Refusal(400, str(exc), "bad_request") from None
            self.set_header("Content-Type", TYPES[form])  # before the first piece, which takes the head along
            self.set_header("Cache-Control", "no-store")
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    self.write(chunk)
                    await self.flush()
        self.finish(set_content_type=TYPES[form])

    def _filters(self) -> Mapping[str, Any]:
        for name in self.request.query_arguments:
            if name not in _ARGUMENTS:
                known = ", ".join(_ARGUMENTS[:-1])
                raise Refusal(400, f"There is no parameter {name!r}; there are: {known}.", "bad_request")
        limit = self._argument("limit", "1000")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= _DIGITS and 1 <= int(limit) <= MOST_ROWS):
            raise Refusal(400, f"limit must be a number from 1 to {MOST_ROWS}, not {limit[:20]!r}.", "bad_request")
        text = self._argument("text", "1")
        if text not in {"0", "1"}:
            raise Refusal(400, f"text must be 0 or 1, not {text[:20]!r}.", "bad_request")
        chosen = {name: self._argument(name, "") for name in FILTERS if name in self.request.query_arguments}
        return {
            "kernel": None, "origin": "server", "tags": {USER_TAG: self.user},
            "text": text == "1", "limit": int(limit), **chosen,
        }  # fmt: skip

    def _argument(self, name: str, default: str) -> str:
        return self.get_query_argument(name, default)


def _write_json(path: Path, **filters: Any) -> None:
    frame = usage(**filters)
    rows = json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us", default_handler=str))
    path.write_text(json.dumps({"calls": rows}), encoding="utf-8")

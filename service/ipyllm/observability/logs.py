"""Structured logs: each record is a short sentence plus fields, under ``ipyllm.*``, for any handler to format.

No handler is forced on anybody; :func:`log_to` sets one up for those who want JSON lines. Content of prompts
and answers is never logged, and every text passes the redaction.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import IO, Any

from ipyllm.text.redact import redact

__all__ = ["JSONFormatter", "log", "log_to"]

_root = logging.getLogger("ipyllm")
_root.addHandler(logging.NullHandler())


def log(logger: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Emit ``event`` with ``fields``, which handlers find as ``record.ipyllm``.

    Examples
    --------
    >>> log(logging.getLogger("ipyllm.doc"), logging.DEBUG, "call started", model="local/smollm2-135m")
    """
    if not logger.isEnabledFor(level):
        return
    clean = {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
    told = " ".join(f"{name}={value}" for name, value in clean.items() if value is not None)
    logger.log(level, "%s", f"{redact(event)} {told}".rstrip(), extra={"event": event, "ipyllm": clean}, stacklevel=2)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``ts``, ``level``, ``logger``, ``event`` and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", None) or redact(record.getMessage()),
            **getattr(record, "ipyllm", {}),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


def log_to(stream: IO[str], level: int = logging.INFO) -> logging.Handler:
    """Write ipyllm's log as JSON lines to ``stream``; returns the handler, for ``removeHandler``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    _root.addHandler(handler)
    _root.setLevel(level)
    return handler

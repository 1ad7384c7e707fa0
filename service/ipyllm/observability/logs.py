"""Structured logs under ``ipyllm.*``: each record is a short sentence with fields, for any handler to format.

No handler is installed by default; :func:`log_to` adds one that writes JSON lines. Prompts and answers are never
logged, and keys are masked in every text.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import IO, Any

from ipyllm.text.redact import redact

__all__ = ["JSONFormatter", "log", "log_failure", "log_to"]

_root = logging.getLogger("ipyllm")
_root.addHandler(logging.NullHandler())


def log(logger: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Log ``event`` with ``fields``, which handlers find as ``record.ipyllm``."""
    if not logger.isEnabledFor(level):
        return
    clean = {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
    text = " ".join(f"{name}={value}" for name, value in clean.items() if value is not None)
    event = redact(event)
    logger.log(level, "%s", f"{event} {text}".rstrip(), extra={"event": event, "ipyllm": clean}, stacklevel=2)


def log_failure(logger: logging.Logger, event: str, exc: BaseException, **fields: Any) -> None:
    """Log an error of our own with its traceback as text, keys masked.

    Not as ``exc_info``: handlers that show the variables of every frame would show keys in those of libraries.
    """
    trace = "".join(traceback.format_exception(exc)).rstrip()
    log(logger, logging.ERROR, event, **fields, exception=f"\n{trace}")


class JSONFormatter(logging.Formatter):
    """Formats a record as one line of JSON: ``ts``, ``level``, ``logger``, ``event`` and the record's fields."""

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
    """Write ipyllm's log as JSON lines to ``stream``; return the handler, for ``removeHandler``."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    _root.addHandler(handler)
    _root.setLevel(level)
    return handler

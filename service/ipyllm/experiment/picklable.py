"""Checks, before anything is sent, that what other processes need can be sent to them."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from ipyllm.experiment.remote_chunk import Chunk

__all__ = ["check_picklable"]


def check_picklable(chunks: Iterable[Chunk], executor: Executor) -> None:
    """Raise ``bad_request`` if an arm of the chunks cannot be sent to a worker, with the part of it that is why."""
    knows_notebook = not _starts_afresh(executor)
    for arm in {id(arm.request): arm for chunk in chunks for arm in chunk.arms}.values():
        request = arm.request
        parts: list[tuple[str, Any, Any]] = [
            (f"The tool {name}", tool, tool.function) for name, tool in request.tools.items()
        ]
        if request.schema is not None:
            parts.append((f"The schema {request.schema.name}", request.schema, request.schema.source))
        for what, part, source in parts:
            problem = _pickling_problem(part)
            if problem is None and not knows_notebook and getattr(source, "__module__", None) == "__main__":
                problem = "its processes do not have what this notebook defines"
            if problem is not None:
                raise bad_request(
                    f"{what} cannot be sent to another process ({problem}): define it at the top of a module that "
                    "workers can import."
                )
        if (problem := _pickling_problem((arm.given, request))) is not None:
            raise bad_request(
                f"{arm.label!r} cannot be sent to another process ({problem}); give the model as a name, with its "
                "endpoint or route in the settings."
            )


def _starts_afresh(executor: Executor) -> bool:
    """Return whether workers are new interpreters, in which the functions of a notebook's cells do not exist."""
    context = getattr(executor, "_mp_context", None)
    if context is None or hasattr(sys.modules["__main__"], "__file__"):
        return False
    return bool(context.get_start_method() != "fork")


def _pickling_problem(value: Any) -> str | None:
    try:
        pickle.dumps(value)
    except Exception as exc:  # noqa: BLE001 - a user's object may raise anything
        return str(exc)
    return None

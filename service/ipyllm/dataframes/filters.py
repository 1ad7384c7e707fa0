"""Converts filters from the form users write, and reads the filtered rows as a DataFrame."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ipyllm.dataframes.convert import arrow_to_frame, rows_to_frame
from ipyllm.errors import bad_request
from ipyllm.ledger.ledger import READ_WAIT_S
from ipyllm.ledger.wait_limit import wait_limit
from ipyllm.text.format import shorten
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import pandas as pd

    from ipyllm.ledger import Ledger
    from ipyllm.ledger.columns import Kind
    from ipyllm.ledger.query import Conditions

__all__ = ["as_tuple", "kernel_filter", "read_frame", "read_frames", "read_page", "shown_value"]


_MAX_SHOWN = 100  # characters of a value in an error


def kernel_filter(kernel: str | None) -> tuple[str, ...] | None:
    """Return the kernel ids that ``kernel`` stands for: this kernel's for ``"current"``, None for all.

    Raises ValueError for anything but text and None.
    """
    given: object = kernel
    if not isinstance(given, str | None):
        shown = shown_value(given)
        raise ValueError(f"kernel must be 'current', a kernel's id, or None for all kernels, not {shown}.")  # noqa: TRY004 - one kind of error to catch
    if kernel == "current":
        from ipyllm.ledger.ids import kernel_ids

        return kernel_ids()
    return None if kernel is None else (kernel,)


def as_tuple(name: str, given: str | Sequence[str] | None, accepted: Collection[str] = ()) -> tuple[str, ...]:
    """Return one or several values of the parameter ``name`` as a tuple.

    Raises ValueError for what is no text, and for a value that is not ``accepted``; without ``accepted``, all are.
    """
    if given is None:
        return ()
    is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    found: tuple[object, ...] = tuple(given) if is_list else (given,)
    for value in found:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, or a list of texts, not {shown_value(value)}.")  # noqa: TRY004
        if accepted and value not in accepted:
            raise ValueError(f"There is no {name} {shown_value(value)}. {suggest(value, accepted)}")
    return tuple(map(str, found))


def shown_value(value: object) -> str:
    """Return a value of a user as an error shows it: a text or number cut, of anything else its type."""
    return shorten(repr(value), _MAX_SHOWN) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def read_frame(
    query: Conditions, ledger: Ledger | None, on_warning: Callable[[str], object] | None = None
) -> pd.DataFrame:
    """Return the rows of ``query`` in ``ledger``; None is the current one.

    The ledger's warnings go to ``on_warning``; without it they are issued as Python warnings.
    """
    if ledger is None:
        from ipyllm.ledger import current_ledger

        ledger = current_ledger()
    columns = {name: query.table.columns[name] for name in query.columns}
    with wait_limit(READ_WAIT_S):
        frame = _large_frame(query, ledger, columns)
        if frame is None:
            frame = rows_to_frame(ledger.read(query), columns)
    warning = ledger.take_warning()
    if warning and on_warning is not None:
        on_warning(warning)
    elif warning:
        warnings.warn(warning, stacklevel=3)
    return frame


def read_frames(query: Conditions, ledger: Ledger) -> Iterator[pd.DataFrame]:
    """Yield the rows of ``query`` in ``ledger`` in pages, oldest first; at least one, which may be empty.

    Raises LLMError where the ledger cannot be read to the end.
    """
    for page in ledger.pages(query) or (query,):
        yield read_page(page, ledger)


def read_page(page: Conditions, ledger: Ledger) -> pd.DataFrame:
    """Return the rows of a page. Raises LLMError where it cannot be read."""
    frame = read_frame(page, ledger)
    if ledger.read_error is not None:
        raise bad_request(f"{ledger.read_error}.")
    return frame


def _large_frame(query: Conditions, ledger: Ledger, columns: Mapping[str, Kind]) -> pd.DataFrame | None:
    """Return the rows of a large read; None for few rows, or if a value is damaged, which a read by rows can name."""
    try:
        large = ledger.read_large(query)
        return None if large is None else arrow_to_frame(large, columns)
    except (ValueError, TypeError, NotImplementedError):  # those of Arrow among them
        return None

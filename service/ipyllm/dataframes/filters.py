"""What users write to choose rows of the ledger: a kernel, a moment, one or several names. And how they are read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ipyllm.dataframes.convert import frame_of, frame_of_columns
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from ipyllm.ledger import Ledger
    from ipyllm.ledger.query import Conditions

__all__ = ["as_tuple", "kernels", "read"]


def kernels(kernel: str | None) -> tuple[str, ...] | None:
    """Return the ids of ``kernel``: this one's for ``"current"``, None for all.

    Examples
    --------
    >>> kernels(None) is None, kernels("a")
    (True, ('a',))
    """
    if kernel == "current":
        from ipyllm.ledger.ids import kernel_ids

        return kernel_ids()
    return None if kernel is None else (kernel,)


def as_tuple(name: str, given: str | Sequence[str] | None, among: Collection[str] = ()) -> tuple[str, ...]:
    """Return one name or several, given for the parameter ``name``, as a tuple.

    Raises
    ------
    ValueError
        One of them is not ``among`` those that exist.

    Examples
    --------
    >>> as_tuple("status", "ok"), as_tuple("status", None)
    (('ok',), ())
    >>> as_tuple("status", "eror", among=["ok", "error"])
    Traceback (most recent call last):
        ...
    ValueError: There is no status 'eror'. Did you mean 'error'?
    """
    if given is None:
        return ()
    found = (given,) if isinstance(given, str) else tuple(given)
    for one in found:
        if among and one not in among:
            raise ValueError(f"There is no {name} {one!r}. {suggest(one, among)}")
    return found


def read(query: Conditions, ledger: Ledger | None, tell: Callable[[str], object] | None = None) -> pd.DataFrame:
    """Return the rows of ``query`` in ``ledger`` (None: the current one), and say once if it is not well.

    It is said to ``tell``, or as a warning.
    """
    if ledger is None:
        from ipyllm.ledger import current_ledger

        ledger = current_ledger()
    columns = {name: query.table.columns[name] for name in query.columns}
    many = ledger.read_large(query)
    frame = frame_of(ledger.read(query), columns) if many is None else frame_of_columns(many, columns)
    warning = ledger.take_warning()
    if warning and tell is not None:
        tell(warning)
    elif warning:
        warnings.warn(warning, stacklevel=3)
    return frame

"""Rows that earlier versions wrote, which knew only the host of an address: to which trials they belong now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    import pandas as pd

    from ipyllm.experiment.grid import Grid

__all__ = ["EarlierRows", "may_have_answered"]

_MAX_NAMES = 5


class EarlierRows:
    """The rows of an experiment without an ``address``, matched with the grid by their earlier keys and their hosts.

    A row belongs to a trial if that is the only one with its earlier key whose arm has an address with its host.
    """

    def __init__(self, rows: pd.DataFrame, grid: Grid) -> None:
        self._rows = rows
        self._grid = grid
        self._taken: dict[str, int] = {}  # by address: rows that are taken for its answers
        self._n_ambiguous = 0
        self._addresses = {arm.label: arm.addresses() for arm in grid.arms}
        self.trials = rows["trial"]
        unknown = rows["trial"].notna() & rows["address"].isna()
        if unknown.any():  # faster than isin() with many keys
            unknown &= rows["trial"].map(lambda key: key not in grid.trials).astype(bool)
        if unknown.any():
            columns = rows.loc[unknown, ["trial", "endpoint", "status"]].itertuples(index=False)
            self.trials = self.trials.copy()
            self.trials[unknown] = [self._match(*row) for row in columns]

    def _match(self, key: str, endpoint: str | None, status: str) -> str:
        trials = self._grid.earlier_keys.get(key, [])
        fitting = [trial for trial in trials if may_have_answered(self._addresses[trial.arm.label], endpoint)]
        if len(fitting) == 1:
            address = fitting[0].arm.service.public_address()
            if status == "ok" and address is not None:
                self._taken[address] = self._taken.get(address, 0) + 1
            return fitting[0].key
        self._n_ambiguous += len(fitting) > 1
        return key

    def signatures(self) -> set[str]:
        """Return the signatures of the grid, as this version and, if there are such rows, earlier ones write it."""
        return {self._grid.signature} | ({self._grid.earlier_signature} if self._taken else set())

    def notes(self) -> list[str]:
        """Return sentences about rows whose server is not known for sure."""
        notes = []
        if self._taken:
            n = sum(self._taken.values())
            notes.append(
                f"{count(n, 'answer')} of an earlier version of ipyllm, which noted only the host of an address, "
                f"{'is' if n == 1 else 'are'} taken as from "
                f"{join_names(list(self._taken), limit=_MAX_NAMES)}."
            )
        if self._n_ambiguous:
            n = self._n_ambiguous
            notes.append(
                f"{count(n, 'call')} of an earlier version of ipyllm {'is' if n == 1 else 'are'} left out: only the "
                "host of the address was noted, which several arms share."
            )
        return notes

    def elsewhere(self, rows: pd.DataFrame) -> list[bool]:
        """Return which of these rows were answered at an address that the arm of their label does not have."""
        found = []
        for label, address, endpoint in rows[["arm", "address", "endpoint"]].itertuples(index=False):
            addresses = self._addresses.get(label, {None})
            known = addresses if isinstance(address, str) else hosts_of(addresses)
            where = address if isinstance(address, str) else endpoint
            found.append(isinstance(where, str) and None not in addresses and where not in known)
        return found


def hosts_of(addresses: Iterable[str | None]) -> set[str]:
    """Return the hosts of addresses, as the column ``endpoint`` has them."""
    return {urlsplit(address).netloc for address in addresses if address is not None}


def may_have_answered(addresses: AbstractSet[str | None], endpoint: Any) -> bool:
    """Return whether one of an arm's addresses has this host, or is known only in a call."""
    return not isinstance(endpoint, str) or None in addresses or endpoint.lower() in hosts_of(addresses)

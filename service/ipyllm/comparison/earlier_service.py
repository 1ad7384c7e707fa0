"""The service of an arm from before a restart of the kernel: its name, and what tells it from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["EarlierService"]


class EarlierService(BaseLLMService):
    """Stands for a service that only the ledger knows: without address and key, so that it cannot be asked.

    Examples
    --------
    >>> service = EarlierService("lab/m", ["lab/m", "http://lab:8000/v1"])
    >>> service.earlier_address, service.was(EarlierService("lab/m", ["lab/m", None]))
    ('http://lab:8000/v1', False)
    """

    def __init__(self, full_name: str, identity: list[Any] | None) -> None:
        self.name, _, model = full_name.partition("/")
        self.title = self.name
        super().__init__(model or self.name)
        self._identity = identity

    def identity(self) -> list[Any]:
        """Return the identity of the service that was asked; empty if it is not known."""
        return self._identity or []

    @property
    def earlier_address(self) -> str:
        """Address of the service that was asked; empty if it is not known."""
        known = self._identity[1] if self._identity and len(self._identity) > 1 else None
        return known if isinstance(known, str) else ""

    def was(self, service: BaseLLMService) -> bool:
        """Return whether a service is the one that was asked: the same model at the same address."""
        if self._identity is None:
            return service.full_name == self.full_name
        return service.identity() == self._identity

    def base_url(self) -> NoReturn:
        """Raise an error."""
        raise self._error()

    def check(self) -> NoReturn:
        """Raise an error: it cannot be asked."""
        raise self._error()

    def _error(self) -> Exception:
        return bad_request(
            "This answer is from before the kernel was restarted, and its service is not known: ask a new one.",
            model=self.full_name,
        )

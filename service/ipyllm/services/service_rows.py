"""Services by name, as data: the rows of ``named.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ipyllm.settings_models import variable_value
from ipyllm.text.secrets import as_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

__all__ = ["ServiceRow", "service_rows"]


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One row of ``named.toml``.

    Attributes
    ----------
    title : str
        Name in sentences.
    url : str or None
        Address up to and with ``/v1``.
    url_variable, path : str
        Environment variable with the address of the user's own resource, and the path that follows it.
    domain : str or None
        The provider's own domain; None for a server of one's own, which needs no key and costs nothing on this machine.
    keys : tuple of str
        Environment variables of the key; the first that is set counts.
    prices, prices_by_suffix : str or None
        Provider id in the price tables, or its beginning, which the part of a model's name behind ``:`` completes.
    price_prefix, model_prefix : str
        What model names begin with in the price tables, and in the service's own list.
    vendor : str or None
        Where every model's name begins with its vendor: the vendor of a name that has none.
    model : str or None
        The default model.
    models : tuple of str
        Some models, for completion and "did you mean".
    tells_cost : bool
        Whether the usage holds the cost of the call.
    start : str or None
        What starts a server of one's own, in backquotes.
    """

    title: str
    url: str | None = None
    url_variable: str | None = None
    path: str = ""
    domain: str | None = None
    keys: tuple[str, ...] = ()
    prices: str | None = None
    prices_by_suffix: str | None = None
    price_prefix: str = ""
    model_prefix: str = ""
    vendor: str | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    tells_cost: bool = False
    start: str | None = None

    def key(self) -> SecretStr | None:
        """Return the key from the environment or ``.env``."""
        name = self.variable_of_key()
        return None if name is None else as_secret(variable_value(name))

    def variable_of_key(self) -> str | None:
        """Return the first of ``keys`` that is set in the environment or ``.env``."""
        return next((name for name in self.keys if variable_value(name)), None)


@cache
def service_rows() -> Mapping[str, ServiceRow]:
    """Return the rows by the names of the services.

    Examples
    --------
    >>> service_rows()["groq"].model
    'openai/gpt-oss-20b'
    """
    text = resources.files("ipyllm.services").joinpath("named.toml").read_text(encoding="utf-8")
    return {name: _row(values) for name, values in tomllib.loads(text).items()}


def _row(values: dict[str, Any]) -> ServiceRow:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return ServiceRow(**fields)

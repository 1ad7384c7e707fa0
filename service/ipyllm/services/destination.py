"""Refuses to send a key where a ``.env`` file would lead it.

A ``.env`` file comes with the folder, which may be somebody else's; arguments, the environment and ``config.toml`` are
the user's. So a key and its address both come from ``.env``, or neither does. Not checked: the provider's own host,
this machine, and an address that the user passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ipyllm.errors import LLMError
from ipyllm.settings import get_settings
from ipyllm.settings_models import variable_source

if TYPE_CHECKING:
    from ipyllm.settings_models import EndpointSettings, RouteSettings, Source

__all__ = ["check_destination", "key_sources"]


def check_destination(
    base_url: str, address_from: Source | None, key_from: set[Source | None], *, title: str, model: str
) -> None:
    """Raise ``authentication`` if ``.env`` gives the address without the key, or the key without the address.

    Parameters
    ----------
    base_url : str
        Where the key would be sent.
    address_from, key_from : Source
        Where they come from: of a key, also who names its variable. None: the code of the service.
    title, model : str
        Name of the service in sentences, and full name of the model.
    """
    if address_from == "an argument" or ".env" not in {address_from, *key_from} or key_from == {address_from}:
        return
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    allowed = {name.strip().lower() for name in (get_settings().allow_keys_to or "").split(",")}
    if {host, parts.netloc.lower().rpartition("@")[2]} & allowed:
        return
    sources = " and ".join(sorted(source or "the service" for source in key_from))
    raise LLMError(
        f"The key of {title} is not sent to {host}, because its address comes from {address_from or 'the service'} and "
        f"the key from {sources}: to allow it, pass base_url=…, or set IPYLLM_ALLOW_KEYS_TO={host} in the environment "
        "or in config.toml.",
        category="authentication",
        model=model,
    )


def key_sources(settings: EndpointSettings | RouteSettings, *path: str) -> set[Source | None]:
    """Return where the key of an endpoint or a route comes from, of which ``path`` leads to the settings."""
    if settings.api_key is not None:
        return {get_settings().source_of(*path, "api_key")}
    if settings.api_key_env is None:
        return set()
    named_by = get_settings().source_of(*path, "api_key_env")
    # The user's own settings may name a variable wherever it is set; a .env file must not name one of the environment.
    return {named_by, variable_source(settings.api_key_env)} if named_by == ".env" else {named_by}

"""Who sends a request, as the server tells users apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_server.auth.identity import IdentityProvider, LegacyIdentityProvider, PasswordIdentityProvider

if TYPE_CHECKING:
    from jupyter_server.base.handlers import JupyterHandler

__all__ = ["SINGLE_USER", "asker"]

SINGLE_USER: Final = "token"
"""Name of everyone who has the token, or the password, of a server with only one."""

_ONE_SECRET: Final = (IdentityProvider, PasswordIdentityProvider, LegacyIdentityProvider)


def asker(handler: JupyterHandler) -> str:
    """Return the name of the authenticated user of a request.

    Jupyter's own providers know one secret, and give each browser and each request a name at random: whoever has the
    secret is the same user here. Providers of hubs and classrooms know users by name.
    """
    if type(handler.identity_provider) in _ONE_SECRET:
        return SINGLE_USER
    return str(handler.current_user.username)

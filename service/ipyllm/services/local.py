"""The embedded model: llama.cpp in a child process, loaded on first use. No key, no account, no cost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.services.base import BaseLLMService
from ipyllm.settings import get_settings
from ipyllm.transport.address import Address

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ipyllm.request import ChatRequest
    from ipyllm.response import Usage
    from ipyllm.settings_models import Price

__all__ = ["LocalService"]


class LocalService(BaseLLMService):
    """A GGUF model, embedded.

    Parameters
    ----------
    model : str, optional
        A pulled model's name (``smollm2-135m``) or the path of a ``.gguf`` file.

    Examples
    --------
    >>> LocalService().full_name
    'local/smollm2-135m'
    """

    name = "local"
    title = "The embedded model"
    default_model = "smollm2-135m"
    known_models = ("smollm2-135m",)
    at_once = 4  # the slots of llama.cpp's server

    def base_url(self) -> str:
        """Raise: the address is known once the model is loaded, see :meth:`prepare`."""
        raise NotImplementedError("The embedded server has an address only while it runs.")

    def identity(self) -> list[Any]:
        """Return the model, and of a file its size and time of change: another may take its place."""
        from ipyllm import embedded

        if self.model in embedded.catalogue_names():
            return [self.full_name]
        try:
            file = embedded.resolve(self.model).stat()
        except (LLMError, OSError):  # the call itself will say so
            return [self.full_name]
        return [self.full_name, file.st_size, file.st_mtime_ns]

    def check(self) -> None:
        """Check that llama.cpp is installed and the model has been pulled."""
        from ipyllm import embedded

        embedded.check_installed(self.model)
        embedded.resolve(self.model)

    async def models(self, *, timeout_s: float) -> list[str]:  # noqa: ARG002 - a local look-up
        """Return the names of the pulled models."""
        from ipyllm import embedded

        return [name for name in embedded.catalogue_names() if embedded.find(name) is not None]

    def price(self) -> Price:
        """Return a price of 0."""
        from ipyllm.settings_models import Price

        return Price(0.0, 0.0)

    def context_window(self) -> int:
        """Return the loaded model's window; before it is loaded, that of the settings."""
        from ipyllm import embedded

        with suppress(LLMError):  # not pulled, or no such file: the call itself will say so
            path = embedded.resolve(self.model)
            if embedded.is_running(path):
                return embedded.get(path).context_window
        return get_settings().local_ctx

    async def prepare(self) -> tuple[Address, bool]:
        """Load the model if necessary, in a thread, so that the event loop goes on."""
        from ipyllm import embedded

        path = embedded.resolve(self.model)
        cold = not embedded.is_running(path)
        server = await asyncio.to_thread(embedded.get, path, n_ctx=get_settings().local_ctx)
        return Address(server.base_url, server.api_key, self.headers()), cold

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Send the model's short name, not its path."""
        body = super().body(request)
        body["model"] = self.model.replace("\\", "/").rpartition("/")[2]
        return body

    def cache_scope(self, address: Address) -> str:  # noqa: ARG002 - see below
        """Return the path of the model file: the port differs in each process."""
        from ipyllm import embedded

        return f"local:{embedded.resolve(self.model)}"

    def cost(
        self,
        usage: Usage,
        response_model: str | None,  # noqa: ARG002
        address: Address,  # noqa: ARG002
        at: datetime,  # noqa: ARG002
    ) -> tuple[float | None, str | None]:
        """Return 0, once the server has counted."""
        return (0.0, "local") if usage.source is not None else (None, None)

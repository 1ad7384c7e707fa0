"""What the server says about itself: its health, the models that it offers, the description of its routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ipyllm import __version__
from ipyllm.registry.available import ask_endpoints, available_models
from ipyllm_server.base_handler import ApiHandler, for_users
from ipyllm_server.openapi import openapi_document

if TYPE_CHECKING:
    from ipyllm_server.answer_shapes import Health, Models
    from ipyllm_server.shared_state import SharedState

__all__ = ["HealthHandler", "ModelsHandler", "OpenApiHandler", "offered_models"]


async def offered_models(state: SharedState) -> list[str]:
    """Return the names of the models that users may ask, the default first."""
    if state.models:
        return list(state.models)
    await asyncio.to_thread(ask_endpoints)
    return await asyncio.to_thread(available_models)


class HealthHandler(ApiHandler):
    """``GET /ipyllm/api/health``: whether calls can be made, for load balancers with a token."""

    @for_users
    def get(self) -> None:
        """Answer with the state of the server."""
        calls = self.state.calls
        health: Health = {
            "status": "closing" if calls.is_closing else "ok",
            "version": __version__,
            "running_calls": len(calls),
        }
        self.send(health)


class ModelsHandler(ApiHandler):
    """``GET /ipyllm/api/models``."""

    @for_users
    async def get(self) -> None:
        """Answer with the names of the models."""
        names = await offered_models(self.state)
        models: Models = {"default": names[0] if names else None, "models": names}
        self.send(models)


class OpenApiHandler(ApiHandler):
    """``GET /ipyllm/api/openapi.json``."""

    @for_users
    def get(self) -> None:
        """Answer with the description of all routes."""
        self.send(openapi_document(self.base_url))

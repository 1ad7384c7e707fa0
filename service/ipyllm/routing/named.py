"""Routes by name, as ``config.toml`` describes them.

.. code-block:: toml

    [routes.fast]
    fallback = ["openai/gpt-5-mini", "deepseek/deepseek-chat"]

    [routes.ab]
    split = { "openai/gpt-5-mini" = 0.9, "deepseek/deepseek-chat" = 0.1 }
    seed = 7

    [routes.gpus]
    pool = ["http://h1:8000/v1", "http://h2:8000/v1"]
    model = "llama-3.1-8b"
    api_key_env = "LAB_KEY"
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.routing.route import Route

__all__ = ["RouteSettings", "named_route"]


class RouteSettings(BaseModel):
    """A route under a name of the user's: one of ``fallback``, ``split`` and ``pool``, and what belongs to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fallback: tuple[str, ...] | None = None
    split: dict[str, float] | None = None
    pool: tuple[str, ...] | None = None

    seed: int | None = None
    sticky: Literal["conversation", "call", "none"] = "conversation"

    model: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [kind for kind in ("fallback", "split", "pool") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("a route has one of fallback, split and pool")
        belongs = {"split": {"seed", "sticky"}, "pool": {"model", "api_key", "api_key_env"}}.get(given[0], set())
        for name in sorted(self.model_fields_set - belongs - {given[0]}):
            raise ValueError(f"{name} does not belong to a {given[0]}")
        return self

    def key(self) -> str | None:
        """Return the key of a pool, from ``api_key`` or from the variable that ``api_key_env`` names."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        return os.environ.get(self.api_key_env) if self.api_key_env else None

    def make(self, name: str) -> Route:
        """Make the route."""
        from ipyllm.routing import fallback, pool, split

        if self.fallback is not None:
            return fallback(*self.fallback, name=name)
        if self.split is not None:
            sticky = None if self.sticky == "none" else self.sticky
            return split(self.split, seed=self.seed, sticky=sticky, name=name)
        return pool(*self.pool or (), model=self.model, api_key=self.key(), name=name)


_made: dict[str, tuple[object, Route]] = {}
_making: list[str] = []
_lock = threading.RLock()


def named_route(name: str, routes: Mapping[str, RouteSettings], made_from: object = None) -> Route:
    """Return the route of this name: the same one each time, with what it has learnt, until its settings change.

    Parameters
    ----------
    name : str
        A key of ``routes``.
    routes : mapping
        All routes of the settings.
    made_from : object
        What else its arms are made from, such as the settings' endpoints and aliases: compared by ``==``.

    Raises
    ------
    LLMError
        ``not_found`` for routes that go in a circle, and for an arm that does not exist.
    """
    with _lock:
        settings = routes[name]
        described = settings, settings.key(), made_from
        known = _made.get(name)
        if known is not None and known[0] == described:
            return known[1]
        if name in _making:
            raise LLMError(f"The routes go in a circle: {' → '.join([*_making, name])}.", category="not_found")
        _making.append(name)
        try:
            route = settings.make(name)
        finally:
            _making.pop()
        _made[name] = described, route
        return route

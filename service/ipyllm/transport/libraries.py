"""Imports what the first request needs, for programs that know that there will be one."""

from __future__ import annotations

from ipyllm.transport.certificates import ssl_context

__all__ = ["load_libraries"]


def load_libraries() -> None:
    """Import the client of OpenAI and the HTTP libraries (0.6 s, once), and read the certificates."""
    import httpx2  # noqa: F401
    import openai

    import ipyllm.transport.fast_path
    import ipyllm.transport.timed_session  # noqa: F401

    openai.AsyncOpenAI  # noqa: B018 # which it imports when it is named
    ssl_context(())

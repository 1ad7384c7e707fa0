"""What a chat asks with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ChatSettings"]


@dataclass
class ChatSettings:
    """Settings of the next question."""

    model: str | None = None
    models: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tools: list[Any] = field(default_factory=list)

"""ipyllm: compare language models where your data already is, in the notebook.

``%load_ext ipyllm`` in a notebook, or ``from ipyllm import OllamaService`` anywhere. Nothing heavy is imported
before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipyllm._version import __version__

if TYPE_CHECKING:
    from ipyllm import scorers
    from ipyllm.comparison.comparison import Comparison, compare
    from ipyllm.comparison.votes import cast_vote, votes
    from ipyllm.conversations.history import ConversationHistory, conversation
    from ipyllm.dataframes.export import export_usage
    from ipyllm.dataframes.usage import summarise, usage
    from ipyllm.errors import LLMError
    from ipyllm.events import Event, Finished, ReasoningDelta, TextDelta, ToolCallDelta
    from ipyllm.experiment import Experiment
    from ipyllm.ledger.retention import prune
    from ipyllm.pipeline.timeouts import Timeout
    from ipyllm.registry.models import create_llm_service
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse, Usage
    from ipyllm.routing import fallback, pool, split
    from ipyllm.services.base import BaseLLMService
    from ipyllm.services.deepseek import DeepSeekService
    from ipyllm.services.local import LocalService
    from ipyllm.services.ollama import OllamaService
    from ipyllm.services.openai import OpenAIService
    from ipyllm.statistics import assert_no_regression
    from ipyllm.timing import Timing
    from ipyllm_widgets import ChatWidget, CompareWidget, UsageDashboard

_WHERE = {
    "split": "ipyllm.routing",
    "pool": "ipyllm.routing",
    "fallback": "ipyllm.routing",
    "Timeout": "ipyllm.pipeline.timeouts",
    "BaseLLMService": "ipyllm.services.base",
    "ChatRequest": "ipyllm.request",
    "ChatResponse": "ipyllm.response",
    "CompareWidget": "ipyllm_widgets",
    "Comparison": "ipyllm.comparison.comparison",
    "ChatWidget": "ipyllm_widgets",
    "ConversationHistory": "ipyllm.conversations.history",
    "DeepSeekService": "ipyllm.services.deepseek",
    "Event": "ipyllm.events",
    "Experiment": "ipyllm.experiment",
    "Finished": "ipyllm.events",
    "LLMError": "ipyllm.errors",
    "LocalService": "ipyllm.services.local",
    "OllamaService": "ipyllm.services.ollama",
    "OpenAIService": "ipyllm.services.openai",
    "ReasoningDelta": "ipyllm.events",
    "TextDelta": "ipyllm.events",
    "Timing": "ipyllm.timing",
    "ToolCallDelta": "ipyllm.events",
    "Usage": "ipyllm.response",
    "UsageDashboard": "ipyllm_widgets",
    "compare": "ipyllm.comparison.comparison",
    "cast_vote": "ipyllm.comparison.votes",
    "assert_no_regression": "ipyllm.statistics",
    "conversation": "ipyllm.conversations.history",
    "create_llm_service": "ipyllm.registry.models",
    "export_usage": "ipyllm.dataframes.export",
    "prune": "ipyllm.ledger.retention",
    "summarise": "ipyllm.dataframes.usage",
    "usage": "ipyllm.dataframes.usage",
    "votes": "ipyllm.comparison.votes",
}

_MODULES = ("scorers",)
"""Packages that users reach as attributes, loaded when they do."""

__all__ = [
    "BaseLLMService",
    "ChatRequest",
    "ChatResponse",
    "ChatWidget",
    "CompareWidget",
    "Comparison",
    "ConversationHistory",
    "DeepSeekService",
    "Event",
    "Experiment",
    "Finished",
    "LLMError",
    "LocalService",
    "OllamaService",
    "OpenAIService",
    "ReasoningDelta",
    "TextDelta",
    "Timeout",
    "Timing",
    "ToolCallDelta",
    "Usage",
    "UsageDashboard",
    "__version__",
    "assert_no_regression",
    "cast_vote",
    "compare",
    "conversation",
    "create_llm_service",
    "export_usage",
    "fallback",
    "load_ipython_extension",
    "pool",
    "prune",
    "scorers",
    "split",
    "summarise",
    "unload_ipython_extension",
    "usage",
    "votes",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"ipyllm.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'ipyllm' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """Let ``%load_ext ipyllm`` register the magics."""
    from ipyllm_magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Let ``%unload_ext ipyllm`` take the magics away again."""
    from ipyllm_magics import unload

    unload(shell)

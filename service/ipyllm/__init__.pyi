from . import scorers
from ._version import __version__
from .comparison.compare_at_once import compare
from .comparison.comparison import Comparison
from .comparison.votes import cast_vote, votes
from .conversations.history import ConversationHistory, conversation
from .dataframes.export import export_usage
from .dataframes.sent_request import sent_request
from .dataframes.usage import summarise, usage
from .errors import LLMError
from .events import Event, Finished, ReasoningDelta, TextDelta, ToolCallDelta
from .experiment import Experiment
from .experiment.runs import compare_runs, experiments
from .extension import load_ipython_extension, unload_ipython_extension
from .ledger.retention import prune
from .mapping.llm_map import llm_map
from .prediction.next_token import next_token
from .prediction.sample_paths import sample_paths
from .prediction.tokenize import tokenize, tokens_of
from .registry.models import create_llm_service
from .registry.routes import fallback, pool, split
from .rendering.token_view import TokenView
from .request import ChatRequest
from .response import ChatResponse, Usage
from .services.base import BaseLLMService
from .services.deepseek import DeepSeekService
from .services.local import LocalService
from .services.ollama import OllamaService
from .services.openai import OpenAIService
from .statistics import assert_no_regression
from .templates.functions import template_function
from .timeout import Timeout
from .timing import Timing
from .widget_classes import (
    ChatWidget,
    CompareWidget,
    ContextExplorer,
    LatencyExplorer,
    SamplingExplorer,
    UsageDashboard,
)

__all__ = [
    "BaseLLMService",
    "ChatRequest",
    "ChatResponse",
    "ChatWidget",
    "CompareWidget",
    "Comparison",
    "ContextExplorer",
    "ConversationHistory",
    "DeepSeekService",
    "Event",
    "Experiment",
    "Finished",
    "LLMError",
    "LatencyExplorer",
    "LocalService",
    "OllamaService",
    "OpenAIService",
    "ReasoningDelta",
    "SamplingExplorer",
    "TextDelta",
    "Timeout",
    "Timing",
    "TokenView",
    "ToolCallDelta",
    "Usage",
    "UsageDashboard",
    "__version__",
    "assert_no_regression",
    "cast_vote",
    "compare",
    "compare_runs",
    "conversation",
    "create_llm_service",
    "experiments",
    "export_usage",
    "fallback",
    "llm_map",
    "load_ipython_extension",
    "next_token",
    "pool",
    "prune",
    "sample_paths",
    "scorers",
    "sent_request",
    "split",
    "summarise",
    "template_function",
    "tokenize",
    "tokens_of",
    "unload_ipython_extension",
    "usage",
    "votes",
]

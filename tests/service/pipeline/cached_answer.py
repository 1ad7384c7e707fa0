"""An answer that a cache keeps."""

from __future__ import annotations

from ipyllm.response import ChatResponse, ToolCall, Usage
from ipyllm.timing import Timing

ANSWER = ChatResponse(
    content="Hello!\0 \ud800 漢字",
    reasoning="They greet me.",
    tool_calls=(ToolCall("1", "look", '{"at": "sky"}'),),
    finish_reason="stop",
    model="openai/m",
    response_model="m-2026",
    usage=Usage(10, 5, 4, 2, source="server"),
    timing=Timing(ttft_s=0.5, total_s=1.0, attempts=1),
    cost_usd=0.01,
    price_source="genai-prices",
    call_id="01",
)

"""A strict server for each service: it refuses what the service's provider refuses, and models that it does not have.

>>> with StrictServices() as services:
...     services["groq"].base_url.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self, get_args

from tests.fakes.dialects import Dialect
from tests.fakes.refusals import model_not_found
from tests.fakes.script import Script, answer
from tests.fakes.server import FakeLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from tests.fakes.connection import Request

__all__ = ["StrictServices", "plausible_answer"]

_KEY = "sk-strict-0123456789abcdef"
_DIALECTS = {"local": "llamacpp"}  # the others have the name of their service
_WITHOUT_LIST = frozenset({"ollama", "local", "azure", "huggingface", "nvidia", "lmstudio", "vllm", "llamacpp"})
"""Services that have the models which a user put there, or for which nobody publishes a list."""


class StrictServices:
    """A server for each service that can be asked by name. ``decide`` makes the answers to what is not refused."""

    def __init__(self, decide: Callable[[Request], Script | None] | None = None) -> None:
        from ipyllm.services.service_rows import service_rows

        self._servers = {name: FakeLLM() for name in ("openai", "deepseek", "ollama", "local", *service_rows())}
        for name, server in self._servers.items():
            server.speak_as(_DIALECTS.get(name, name))
            server.on(_decider(name, decide or plausible_answer))

    def __getitem__(self, service: str) -> FakeLLM:
        return self._servers[service]

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in self._servers.values():
                started.enter_context(server)
            self._started = started.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._started.__exit__(*exc_info)

    def requests(self) -> Iterator[tuple[str, Request]]:
        """Yield the requests for answers, each with the name of its service."""
        for name, server in self._servers.items():
            yield from ((name, request) for request in server.requests if request.method == "POST")

    def refused(self) -> list[tuple[str, Request]]:
        """Return the requests that were answered by an error, but for those that `stream_options` alone made one."""
        failed = ((name, sent) for name, sent in self.requests() if sent.status is None or sent.status >= 400)
        return [(name, sent) for name, sent in failed if not _is_about_stream_options(name, sent)]

    def clear(self) -> None:
        """Forget all requests."""
        for server in self._servers.values():
            server.clear()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead OpenAI, DeepSeek and Ollama to their servers, for other processes too."""
        variables = {"OLLAMA_HOST": self["ollama"].url}
        for name in ("openai", "deepseek"):
            variables |= {f"{name.upper()}_BASE_URL": self[name].base_url, f"{name.upper()}_API_KEY": _KEY}
        return variables

    def replace_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lead all services to their servers in this process, as if these were the providers': prices hold there."""
        from ipyllm import DeepSeekService, LocalService, OpenAIService
        from ipyllm.services.service_rows import service_rows
        from ipyllm.transport.address import Address

        for service in (OpenAIService, DeepSeekService):
            monkeypatch.setattr(service, "url", self[service.name].base_url)
            monkeypatch.setattr(service, "domain", "127.0.0.1")
            monkeypatch.setenv(service.key_variable, _KEY)
        monkeypatch.setenv("OLLAMA_HOST", self["ollama"].url)
        for name, row in service_rows().items():
            at_home = {"url": self[name].base_url, "url_variable": None, "domain": row.domain and "127.0.0.1"}
            monkeypatch.setitem(service_rows(), name, replace(row, **at_home))
            for variable in row.keys[:1]:
                monkeypatch.setenv(variable, _KEY)

        async def prepare(_: LocalService) -> tuple[Address, bool]:
            return Address(self["local"].base_url, None), False

        monkeypatch.setattr(LocalService, "prepare", prepare)
        monkeypatch.setattr(LocalService, "check", lambda _: None)
        monkeypatch.setattr(LocalService, "context_window", lambda _: 8192)
        monkeypatch.setattr(LocalService, "cache_scope", lambda service, _: f"local:{service.model}")


def _is_about_stream_options(service: str, request: Request) -> bool:
    dialect = Dialect.named(_DIALECTS.get(service, service))
    without = {name: value for name, value in request.json.items() if name != "stream_options"}
    refusals = (dialect.refusal(request.path, body, request.query) for body in (request.json, without))
    return [refusal is None for refusal in refusals] == [False, True]


def _decider(service: str, decide: Callable[[Request], Script | None]) -> Callable[[Request], Script | None]:
    def decide_or_refuse(request: Request) -> Script | None:
        model = str(request.json.get("model"))
        return decide(request) if _has_model(service, model) else model_not_found(model)

    return decide_or_refuse


@cache
def _has_model(service: str, model: str) -> bool:
    """Whether a provider has a model: by the types of OpenAI's client, or else by the price tables."""
    if service in _WITHOUT_LIST or (service, model) == ("openrouter", "openrouter/auto"):
        return True
    if service == "openai":
        from openai.types.shared.chat_model import ChatModel
        from openai.types.shared.responses_model import ResponsesModel

        *_, more = get_args(ResponsesModel)
        return model in {*get_args(ChatModel), *get_args(more)}
    import genai_prices

    from ipyllm.services.service_rows import service_rows

    provider = service if service == "deepseek" else service_rows()[service].prices
    try:
        genai_prices.calc_price(genai_prices.Usage(), model, provider_id=provider)
    except LookupError:
        return False
    return True


def plausible_answer(request: Request) -> Script:
    """Answer as a model would: with a value that fits the schema, a call of the first function, or a sentence."""
    body = request.json
    last = request.messages[-1] if request.messages else {}
    has_results = last.get("role") == "tool" or last.get("type") == "function_call_output"
    if body.get("tools") and not has_results:
        tool = body["tools"][0]
        function = tool.get("function", tool)
        return answer("", tool_calls=[(function["name"], _example(function["parameters"]))])
    form = (body.get("text") or {}).get("format") or (body.get("response_format") or {}).get("json_schema") or {}
    if "schema" in form:
        return answer(json.dumps(_example(form["schema"])))
    if any(word in json.dumps(last) for word in ("program", "Error: ")):
        return answer("Here it is:\n\n```python\nprint('Hello!')\n```")
    return answer("It is a plausible answer.")


def _example(schema: dict[str, Any]) -> Any:
    """Return a value that fits a simple JSON schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: _example(of) for name, of in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema["items"])]
        case "integer" | "number":
            return schema.get("minimum", 17)
        case "boolean":
            return True
    return "Bern"

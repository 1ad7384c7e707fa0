"""Echo: a model server, as a service of ipyllm. Once installed, its models are ``echo/<model>``."""

import os
from typing import Any

from pydantic import SecretStr

from ipyllm import BaseLLMService, ChatRequest


class EchoService(BaseLLMService):
    """Echo's models."""

    name = "echo"
    title = "Echo"
    default_model = "parrot"
    key_variable = "ECHO_API_KEY"

    def base_url(self) -> str:
        return self._base_url or os.environ.get("ECHO_BASE_URL") or "http://127.0.0.1:8765/v1"

    def api_key(self) -> str | SecretStr | None:
        return self._api_key or os.environ.get("ECHO_API_KEY")

    def body(self, request: ChatRequest) -> dict[str, Any]:
        body = super().body(request)
        if "max_tokens" in body:  # Echo calls it max_words
            body["max_words"] = body.pop("max_tokens")
        return body

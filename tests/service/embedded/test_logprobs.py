"""Log probabilities of the embedded model are those of llama.cpp itself."""

import json
import urllib.request

import pytest

from ipyllm import LocalService, embedded
from ipyllm.text.secrets import value_of

PROMPT = "What is the capital of France? Tell me about it."


@pytest.fixture(scope="module")
def llama():
    """Ask llama.cpp's server directly, without ipyllm."""
    server = embedded.get(embedded.resolve("smollm2-135m"))

    def post(path, body):
        headers = {"Authorization": f"Bearer {value_of(server.api_key)}", "Content-Type": "application/json"}
        request = urllib.request.Request(server.base_url[:-3] + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    return post


def test_they_are_those_of_llama_cpp(llama):
    body = {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "max_tokens": 20}
    body |= {"logprobs": True, "top_logprobs": 5, "cache_prompt": False}
    theirs = llama("/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    ours = LocalService().chat(PROMPT, temperature=0, max_tokens=20, logprobs=5, extra_body={"cache_prompt": False})
    assert len(theirs) == 20
    assert [token.bytes for token in ours.logprobs] == [bytes(item["bytes"]) for item in theirs]
    for token, item in zip(ours.logprobs, theirs, strict=True):
        assert token.logprob == pytest.approx(item["logprob"], abs=1e-4)
        expected = [(bytes(other["bytes"]), other["logprob"]) for other in item["top_logprobs"]]
        assert [choice.bytes for choice in token.alternatives] == [data for data, _ in expected]
        assert [choice.logprob for choice in token.alternatives] == pytest.approx([p for _, p in expected], abs=1e-4)


def test_an_emoji_of_several_tokens_keeps_all_its_bytes():
    response = LocalService().chat("Repeat: 😀🥦", temperature=0, max_tokens=12, logprobs=3)
    assert "🥦" in response.content
    assert b"".join(token.bytes for token in response.logprobs).decode() == response.content
    halves = [token for token in response.logprobs if token.text.startswith("\\x")]
    assert [token.logprob is None for token in halves[:2]] == [True, False]

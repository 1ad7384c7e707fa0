"""What was really sent for a past call can be seen, and takes little space."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, OpenAIService, conversation, sent_request, usage
from ipyllm.ledger import Ledger, current_ledger
from ipyllm.ledger.query import Query
from ipyllm.pipeline import sent_requests
from ipyllm.pipeline.sent_requests import request_to_store
from ipyllm.request import Provenance
from tests.fakes import answer, status


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url, api_key="sk-test-0123456789abcdef", max_retries=1)


def stored_bytes():
    query = Query(packed=True)
    return [row[query.columns.index("request")] for row in current_ledger().read(query)]


def add(x: int) -> int:
    """Add one."""
    return x + 1


def test_it_is_the_json_that_the_server_got(fake, service):
    fake.reply(status(500, {"error": {"message": "busy"}}), answer("Hi."))
    response = service.chat("Hello", system="Be brief.", temperature=0, tools=[add], seed=3)
    assert sent_request(response) == fake.requests[-1].json
    assert sent_request(usage().call_id.iloc[-1]) == fake.requests[-1].json
    assert "request" not in usage().columns


def test_each_round_of_tools_has_its_own(fake, service):
    fake.reply(answer(tool_calls=[("add", '{"x": 1}')]), answer("2"))
    response = service.chat("Add", tools=[add])
    assert [sent_request(step) for step in response.steps] == [request.json for request in fake.requests]


def test_a_call_that_failed_has_one(fake, service):
    fake.default = status(400, {"error": {"message": "no"}})
    with pytest.raises(LLMError) as failed:
        service.chat("Hello")
    assert sent_request(failed.value.partial)["messages"] == [{"role": "user", "content": "Hello"}]


def ask(service, history, text):
    provenance = Provenance(conversation="talk")
    message = {"role": "user", "content": text}
    request = service.request([message], conversation_history=history.get_messages(), provenance=provenance)
    response = service.call(request).wait()
    history.extend([message, response.as_message()])
    return response


def test_a_long_conversation_is_not_stored_again_and_again(fake, service):
    history = conversation("talk")
    words = [
        f"Question {number} of many, which has a few words so that it takes some space. " * 5 for number in range(40)
    ]
    responses = [ask(service, history, text) for text in words]
    sizes = [len(packed) for packed in stored_bytes()]
    assert [sent_request(response) for response in responses] == [request.json for request in fake.requests]
    whole = len(str(fake.requests[-1].json))
    assert max(sizes[1:30]) < whole / 20
    assert sum(sizes) < whole, "all requests take less than the last one has characters"


def test_an_edited_history_refers_to_what_is_still_the_same(fake, service):
    history = conversation("edited")
    history.set_system("Be brief.")
    for text in ("one", "two", "three"):
        ask(service, history, text)
    history.undo(2)
    last = ask(service, history, "four")
    assert sent_request(last) == fake.requests[-1].json
    assert [m["content"] for m in sent_request(last)["messages"]][-1] == "four"


def test_requests_refer_only_to_the_same_ledger_and_not_without_end():
    ledger, other = Ledger("sqlite://"), Ledger("sqlite://")
    messages = [{"role": "user", "content": str(number)} for number in range(100)]
    stored = []
    for number in range(3, 40):
        body = {"model": "m", "messages": messages[:number]}
        stored.append(request_to_store(f"{number:02}", body, "endless", ledger))
    whole = [number for number, part in enumerate(stored) if "after" not in part]
    assert whole == [0, sent_requests._MOST_LINKS + 1]
    assert "after" not in request_to_store("99", {"model": "m", "messages": messages[:50]}, "endless", other)


def test_files_and_keys_are_not_in_it(fake, service):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBO" * 5000}}
    text = {"type": "text", "text": "my key is sk-proj-0123456789abcdef"}
    response = service.chat([{"role": "user", "content": [text, image]}])
    sent = sent_request(response)["messages"][0]["content"]
    assert "sk-proj" not in sent[0]["text"]
    assert sent[1]["image_url"]["url"].startswith("data:image/png;base64,[20,000 characters, SHA-256 ")
    assert max(map(len, stored_bytes())) < 1000


def test_without_text_it_is_not_stored(fake, service, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    response = service.chat("Hello")
    with pytest.raises(LLMError, match=r"no request of the call '\w+' \(ok\): nothing was sent for it, its text"):
        sent_request(response)


def test_of_what_was_not_sent_there_is_none(fake, service):
    fake.reply(answer("Hi."))
    service.chat("Hello", cache=True)
    hit = service.chat("Hello", cache=True)
    assert hit.cache_hit
    with pytest.raises(LLMError, match="nothing was sent for it"):
        sent_request(hit)


def test_a_deleted_beginning_is_said(fake, service):
    history = conversation("pruned")
    first, second = ask(service, history, "one"), ask(service, history, "two")
    ask(service, history, "three")
    ledger = current_ledger()
    ledger.put({"call_id": second.call_id, "request": None})
    with pytest.raises(LLMError, match=f"of which the call '{usage().call_id.iloc[-1]}' sent a part again"):
        sent_request(usage().call_id.iloc[-1])
    assert sent_request(first)["messages"][-1]["content"] == "one"


@pytest.mark.parametrize(
    ("given", "sentence"), [("01ABC", "has no call '01ABC'"), (3, "needs a call_id or a ChatResponse, not int")]
)
def test_a_wrong_argument_is_said(given, sentence):
    with pytest.raises(LLMError, match=sentence):
        sent_request(given)

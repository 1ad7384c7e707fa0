"""The OpenAPI document has every route; its schemas refuse what the server refuses, and fit what it answers."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from tornado.web import RequestHandler

from ipyllm_server.app import ChatServer
from ipyllm_server.base_handler import UnknownRoute
from ipyllm_server.chat_body import AskMessage, ChatBody, ConversationChange, ShowMessage
from ipyllm_server.completion_body import CompletionBody
from ipyllm_server.openapi import openapi_document
from tests.fakes import answer
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test with a server starts it

DOCUMENT = openapi_document()
METHODS = ("get", "post", "put", "patch", "delete")
USER = {"role": "user", "content": "Hi"}


def validator(name):
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_every_route_is_in_the_document_and_nothing_else():
    described = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}
    found = set()
    for pattern, handler in ChatServer.routes():
        if issubclass(handler, UnknownRoute):
            continue
        methods = [m for m in METHODS if getattr(handler, m) is not getattr(RequestHandler, m)]
        paths = [path for path in DOCUMENT["paths"] if re.fullmatch(pattern, path)]
        assert methods, pattern
        assert paths, pattern
        found |= {(method, path) for method in methods for path in paths}
    assert found == described


def test_every_reference_leads_somewhere():
    references = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT))
    assert set(references) <= DOCUMENT["components"]["schemas"].keys()
    assert {"ChatBody", "CompletionBody", "AskMessage", "Answer", "Error"} <= set(references)


def test_every_operation_tells_its_errors_and_has_a_name():
    names = []
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            names.append(operation["operationId"])
            assert "403" in operation["responses"]
            assert operation["summary"].endswith((".", "`."))
    assert len(names) == len(set(names))


def test_fields_are_described_by_the_docstrings_of_their_models():
    properties = DOCUMENT["components"]["schemas"]["ChatBody"]["properties"]
    assert properties["max_cost_usd"]["description"] == "Refuse the call if it may cost more."
    assert "`service/model`" in properties["model"]["description"]


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (ChatBody, {"message": "Hi"}),
        (ChatBody, {"messages": [USER], "temperature": 1, "tags": {"a": "b"}, "stop": ["x"], "seed": -5}),
        (ChatBody, {"message": "Hi", "messages": None, "conversation": "c", "stream": True}),
        (ChatBody, {}),
        (ChatBody, {"message": "Hi", "messages": [USER]}),
        (ChatBody, {"message": None, "messages": None}),
        (ChatBody, {"messages": [USER], "conversation": "c"}),
        (ChatBody, {"message": 5}),
        (ChatBody, {"message": "Hi", "temprature": 1}),
        (ChatBody, {"message": "Hi", "temperature": 3}),
        (ChatBody, {"message": "Hi", "model": ""}),
        (ChatBody, {"message": "Hi", "model": "x" * 201}),
        (ChatBody, {"message": "Hi", "tags": {"": "b"}}),
        (ChatBody, {"message": "Hi", "tags": {str(n): "b" for n in range(17)}}),
        (ChatBody, {"message": "Hi", "max_cost_usd": 0}),
        (ChatBody, {"message": "Hi", "max_tokens": 0}),
        (ChatBody, {"message": "Hi", "stream": "yes"}),
        (CompletionBody, {"model": "m", "messages": [USER], "stream_options": {"include_usage": True}, "n": 1}),
        (CompletionBody, {"model": "m", "messages": [USER], "stream": None, "n": None, "metadata": None, "user": None}),
        (CompletionBody, {"model": "m", "messages": []}),
        (CompletionBody, {"model": "m", "messages": [USER], "n": 2}),
        (CompletionBody, {"messages": [USER]}),
        (CompletionBody, {"model": "m", "messages": [USER], "modalities": ["text"], "audio": None, "store": False}),
        (CompletionBody, {"model": "m", "messages": [USER], "modalities": ["text", "audio"]}),
        (CompletionBody, {"model": "m", "messages": [USER], "audio": {"voice": "x"}}),
        (CompletionBody, {"model": "m", "messages": [USER], "n": True}),
        (CompletionBody, {"model": "m", "messages": [USER], "metadata": {"a": ""}, "user": ""}),
        (CompletionBody, {"model": "m", "messages": [USER], "stream_options": {"include_obfuscation": True}}),
        (CompletionBody, {"model": "m", "messages": [USER], "stream_options": {"include": True}}),
        (AskMessage, {"type": "ask", "message": "Hi", "id": "q"}),
        (AskMessage, {"type": "stop", "message": "Hi"}),
        (AskMessage, {"message": "Hi", "id": ""}),
        (AskMessage, {}),
        (ChatBody, {"message": "Hi", "conversation": "c", "replaces": "01"}),
        (ChatBody, {"message": "Hi", "conversation": "c", "replaces": None}),
        (ChatBody, {"message": "Hi", "replaces": "01"}),
        (ChatBody, {"message": "Hi", "conversation": None, "replaces": "01"}),
        (ConversationChange, {"name": "new"}),
        (ConversationChange, {"version": "01", "name": None}),
        (ConversationChange, {"version": "01", "name": "new"}),
        (ConversationChange, {}),
        (ConversationChange, {"version": None}),
        (ShowMessage, {"call_id": "01"}),
        (ShowMessage, {"version": "01"}),
    ],
)
def test_a_schema_allows_what_its_model_allows(shape, value):
    try:
        shape.model_validate(value)
    except ValidationError:
        allowed = False
    else:
        allowed = True
    assert validator(shape.__name__).is_valid(value) is allowed


@pytest.mark.parametrize(
    "path", ["/ipyllm/api/models", "/ipyllm/api/health", "/ipyllm/api/conversations", "/ipyllm/api/usage"]
)
def test_what_is_answered_has_the_shape_of_the_document(server, model, path):
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    validator(schema["$ref"].rpartition("/")[2]).validate(server.get(path).json)


def test_answers_and_events_have_the_shape_of_the_document(server, model):
    model.on(lambda request: answer("one two", reasoning="Hm.", tool_calls=[("add", {"a": 2})]))
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    asked = {"tools": [tool], "logprobs": True}
    validator("Answer").validate(server.chat(**asked).json)
    body = {"model": "lab/tiny", "messages": [USER], **asked}
    validator("Completion").validate(server.post("/ipyllm/v1/chat/completions", body).json)
    validator("Error").validate(server.chat(temperature=9).json)
    streams = [
        ("/ipyllm/api/chat", {"message": "Hi", **asked}, "ChatEvent"),
        ("/ipyllm/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}, "CompletionChunk"),
    ]
    for path, body, name in streams:
        lines = server.post(path, {**body, "stream": True}).body.decode().splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert len(events) > 3
        for event in events:
            validator(name).validate(event)


def test_the_document_is_served_with_the_base_url(server):
    reply = server.get("/ipyllm/api/openapi.json")
    assert reply.json == openapi_document("/")
    assert openapi_document("/user/ana/")["servers"] == [{"url": "/user/ana"}]


def operations():
    """Method, path, a right body, and the statuses of each operation."""
    for template, item in DOCUMENT["paths"].items():
        path = template.format(name="lesson", model="lab/tiny", file="page.css")
        for method, operation in item.items():
            right = {"patch": {"name": "lesson"}, "post": {"model": "lab/tiny", "messages": [USER]}}
            yield method.upper(), path, right.get(method), set(operation["responses"])


def undocumented(server, query=""):
    found = []
    for method, path, body, statuses in operations():
        with server.request(method, path + query, body) as response:
            if str(response.status) not in statuses:
                found.append((method, path, response.status))
    return found


def test_the_document_has_the_statuses_of_requests_that_are_right_or_whose_address_is_no_text(server, model):
    assert server.chat(conversation="lesson").status == 200
    assert undocumented(server) == []
    assert undocumented(server, "?token=%ff&query=%ff") == []


def test_the_document_has_the_status_of_a_server_whose_settings_are_wrong(server, model):
    with server.wrong_settings():
        assert undocumented(server) == []


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_500_random_requests_get_what_the_document_says(server, model):
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(server.get("/ipyllm/api/openapi.json").json)
    schema.validate()
    token, n_requests, statuses, failures = {"Authorization": f"token {TOKENS['ana']}"}, 0, set(), []
    checks = schemathesis.checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "negative_data_rejection",
        ]
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        if operation.path.endswith("/ws"):
            continue
        asks = operation.method.lower() == "post"
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (asks or "usage" in operation.path):
                continue  # nothing that could be wrong

            @settings(
                max_examples=100 if asks else 25, deadline=None, database=None, derandomize=True,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                nonlocal n_requests
                n_requests += 1
                response = case.call(base_url=server.url, headers=token)
                statuses.add(response.status_code)
                assert b"Traceback" not in response.content
                case.validate_response(response, checks=[not_a_server_error, *checks])

            try:
                check()
            except Exception as exc:
                failures.append((operation.label, mode, exc))
    assert failures == []
    assert n_requests >= 500
    assert {200, 400, 404} <= statuses
    assert "Traceback" not in server.log.read_text()

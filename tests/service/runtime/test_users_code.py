"""The user's code never runs on the service thread, and ends nothing but its own call."""

import asyncio
import gc
import threading
from typing import Annotated, Any

import pandas as pd
import pytest
from pydantic import AfterValidator, BaseModel, field_validator

from ipyllm import Experiment, LLMError, OllamaService, Timeout, compare, scorers, template_function
from ipyllm.runtime.service_thread import service_thread, stop_service_thread
from ipyllm.scorers import ScoreFailure
from ipyllm.tools import Tool, caller_executor
from tests.fakes import answer

BERN = '{"name": "Bern", "people": 134000}'
EXITS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("of no kind"), RuntimeError("no number")]
IDS = [type(error).__name__ for error in EXITS]


@pytest.fixture
def service(fake):
    fake.default = answer(BERN)
    return OllamaService("m", base_url=fake.base_url, max_retries=0)


@pytest.fixture
def seen_on_service_thread():
    """Names of this file's functions that ran on a service thread started for this test."""
    seen = []

    def profile(frame, event, _argument):
        is_ours = event == "call" and frame.f_code.co_filename == __file__
        if is_ours and threading.current_thread().name == "ipyllm-service":
            seen.append(frame.f_code.co_qualname)

    stop_service_thread()
    threading.setprofile(profile)
    try:
        service_thread()
    finally:
        threading.setprofile(None)
    yield seen
    stop_service_thread()


class Noticing:
    """Has methods that Python calls on its own: how it is shown, compared and dropped."""

    def __init__(self, *_):
        pass

    def __str__(self):
        return "noticed"

    def __repr__(self):
        return "Noticing()"

    def __eq__(self, other):
        return False

    def __hash__(self):
        return 1

    def __del__(self):
        pass


class NoticingError(ValueError, Noticing):
    def __str__(self):
        return "noticed"

    def __del__(self):
        pass


class NoticingFailure(ScoreFailure):
    def __str__(self):
        return "noticed"


class Text(str, Noticing):
    __slots__ = ()

    def __str__(self):
        return "some text"

    def __len__(self):
        return 9


def _checked(value):
    return Noticing(value)


class City(BaseModel):
    name: str
    people: int

    @field_validator("people")
    @classmethod
    def _check(cls, people):
        if people < 0:
            raise NoticingError(people)
        return people

    def model_post_init(self, _context):
        pass


def plain(city: Annotated[Any, AfterValidator(_checked)]):
    return [Noticing()]


def fails(city: Annotated[str, AfterValidator(_checked)]):
    raise NoticingError(city)


async def later(city: Annotated[str, AfterValidator(_checked)]):
    await asyncio.sleep(0)
    return Noticing()


async def fails_later(city: Annotated[str, AfterValidator(_checked)]):
    raise NoticingError(city)


def refused(city: Annotated[str, AfterValidator(_checked), AfterValidator(City._check)]):
    return city


TOOLS = [plain, fails, later, fails_later, refused, Tool.of(plain, name="limited", timeout=50)]


def _turn(fake):
    """Answer with calls of all tools, then with an object that does not fit, then with one that does."""
    calls = [(tool.name if isinstance(tool, Tool) else tool.__name__, {"city": "Bern"}) for tool in TOOLS]
    fake.reply(answer("", tool_calls=calls), answer(BERN.replace("134000", "-1")), answer(BERN))


OPTIONS = {"tools": TOOLS, "schema": City, "tags": {"kind": Text("x")}, "system": Text("Be brief.")}


def _in_chat(service):
    response = service.chat(Text("Name a city."), **OPTIONS)
    assert len(response.tool_results) == len(TOOLS)
    assert response.parsed.name == "Bern"


def _in_achat(service):
    response = asyncio.run(service.achat(Text("Name a city."), **OPTIONS))
    assert response.parsed.name == "Bern"


def _in_stream(service):
    assert "".join(service.stream("Name a city.", **OPTIONS))


def _in_chat_stream(service):
    async def read():
        return [text async for text in service.chat_stream("Name a city.", **OPTIONS)]

    assert asyncio.run(read())


def _abandoned(service):
    service.call(service.request("Name a city.", **OPTIONS)).done.wait(100)


@pytest.mark.parametrize("ask", [_in_chat, _in_achat, _in_stream, _in_chat_stream, _abandoned])
def test_no_code_of_the_user_runs_on_the_service_thread_in_a_turn(ask, service, fake, seen_on_service_thread):
    _turn(fake)
    ask(service)
    assert len(fake.requests) == 3
    service.chat("a last one, after which the call before is gone")
    gc.collect()
    assert seen_on_service_thread == []


def test_nor_in_a_comparison_an_experiment_and_its_scores(service, fake, seen_on_service_thread):
    @template_function
    def shout(text):
        return str(text).upper()

    def right(response, row):
        return row["n"] > 0

    def wrong(response):
        raise NoticingFailure("no")

    def broken(response):
        raise NoticingError("no")

    async def right_later(response, row):
        await asyncio.sleep(0)
        return 1.0

    async def broken_later(response):
        raise NoticingError("no")

    fake.default = answer(BERN)
    comparison = compare(Text("Name a city."), models=service, params=[{"seed": 1}, {"seed": 2}], schema=City)
    assert [response.parsed.name for response in comparison.responses] == ["Bern", "Bern"]
    results = Experiment(
        pd.DataFrame({"text": ["so", "la"], "n": [1, 2]}),
        template="Say {{ shout(text) }}",
        models=service,
        scorers=[right, wrong, broken, right_later, broken_later, scorers.contains("text")],
        warmup=0,
        name="here",
    ).run(progress=False)
    assert results.calls["score_right"].tolist() == [1.0, 1.0]
    assert results.calls["score_wrong_error"].tolist() == ["noticed"] * 2
    assert results.calls["score_broken_error"].tolist() == ["NoticingError: noticed"] * 2
    assert results.calls["score_broken_later_error"].tolist() == ["NoticingError: noticed"] * 2
    assert seen_on_service_thread == []


# ---- what it raises ----------------------------------------------------------------------------------


def _ask(service, how, prompt, **options):
    return service.chat(prompt, **options) if how == "chat" else asyncio.run(service.achat(prompt, **options))


def _others_go_on(service, fake):
    fake.clear()
    fake.default = answer("fine")
    assert service.chat("another").content == "fine"


@pytest.mark.parametrize("how", ["chat", "achat"])
@pytest.mark.parametrize("error", EXITS, ids=IDS)
def test_whatever_a_validator_of_a_schema_raises_ends_its_own_call(error, how, service, fake):
    class Answer(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, _value):
            raise error

    thread = service_thread()
    with pytest.raises(LLMError, match=f"a validator of Answer raised {type(error).__name__}") as caught:
        _ask(service, how, "Name a city.", schema=Answer)
    assert (caught.value.category, caught.value.partial.content) == ("bad_request", BERN)
    _others_go_on(service, fake)
    assert service_thread() is thread


@pytest.mark.parametrize("how", ["chat", "achat"])
@pytest.mark.parametrize("error", EXITS, ids=IDS)
def test_whatever_a_validator_of_an_argument_raises_is_told_to_the_model(error, how, service, fake):
    def check(_value):
        raise error

    def visit(city: Annotated[str, AfterValidator(check)]):
        raise AssertionError("it was called")

    thread = service_thread()
    fake.reply(answer("", tool_calls=[("visit", {"city": "Bern"})]), answer("I cannot."))
    response = _ask(service, how, "Visit Bern.", tools=[visit])
    assert response.content == "I cannot."
    assert response.tool_results[0].error.startswith(type(error).__name__)
    _others_go_on(service, fake)
    assert service_thread() is thread


@pytest.mark.parametrize("error", EXITS, ids=IDS)
def test_an_error_of_a_tool_that_cannot_be_shown_ends_its_own_call_at_most(error, service, fake):
    class UnspeakableError(Exception):
        def __str__(self):
            raise error

    def visit():
        raise UnspeakableError

    thread = service_thread()
    fake.reply(answer("", tool_calls=[("visit", {})]), answer("I cannot."))
    if isinstance(error, KeyboardInterrupt):  # nobody can tell it from one of the user's
        with pytest.raises(KeyboardInterrupt):
            service.chat("Visit Bern.", tools=[visit])
    else:
        assert service.chat("Visit Bern.", tools=[visit]).tool_results[0].error == "UnspeakableError"
    _others_go_on(service, fake)
    assert service_thread() is thread


@pytest.mark.parametrize("error", EXITS, ids=IDS)
def test_whatever_the_reader_of_events_raises_ends_its_own_call(error, service, fake):
    def reader(_event):
        raise error

    thread = service_thread()
    call = service.call(service.request("Name a city."), reader)
    assert call.done.wait(100)
    assert call.error is not None
    _others_go_on(service, fake)
    assert service_thread() is thread


# ---- how long it takes -------------------------------------------------------------------------------


def test_a_validator_that_sleeps_does_not_delay_the_calls_of_others(service, fake):
    began, released = threading.Event(), threading.Event()

    class Slow(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, value):
            began.set()
            assert released.wait(100)
            return value

    slow = []
    asking = threading.Thread(target=lambda: slow.append(service.chat("Name a city.", schema=Slow)))
    asking.start()
    try:
        assert began.wait(100)
        innocent = [service.chat("another") for _ in range(3)]  # while it sleeps
    finally:
        released.set()
        asking.join(100)
    assert all(response.status == "ok" for response in innocent)
    assert slow[0].parsed.name == "Bern"


@pytest.mark.parametrize("how", ["schema", "argument"])
def test_a_validator_that_never_returns_is_given_up(how, service, fake, monkeypatch):
    monkeypatch.setattr(caller_executor, "CHECK_LIMIT_S", 0.5)
    released = threading.Event()

    def check(value):
        released.wait(100)
        return value

    class Endless(BaseModel):
        name: Annotated[str, AfterValidator(check)]

    def visit(city: Annotated[str, AfterValidator(check)]):
        return city

    try:
        if how == "schema":
            sentence = "given up: checking the answer against Endless took longer than 0.5 s"
            with pytest.raises(LLMError, match=sentence):
                service.chat("Name a city.", schema=Endless)
        else:
            fake.reply(answer("", tool_calls=[("visit", {"city": "Bern"})]), answer("I cannot."))
            [result] = service.chat("Visit Bern.", tools=[visit]).tool_results
            assert result.error == "TimeoutError: checking the arguments of tools took longer than 0.5 s"
    finally:
        released.set()


def test_the_limit_of_the_whole_call_holds_for_validators(service):
    released = threading.Event()

    class Endless(BaseModel):
        name: Annotated[str, AfterValidator(lambda _: released.wait(100))]

    try:
        with pytest.raises(LLMError, match="exceeded the call's limit of 1 s") as caught:
            service.chat("Name a city.", schema=Endless, timeout=Timeout(total=1))
    finally:
        released.set()
    assert (caught.value.category, caught.value.partial.content) == ("timeout", BERN)


def test_prints_of_a_validator_belong_to_the_caller(service):
    import contextvars

    here = contextvars.ContextVar("here", default="elsewhere")
    seen = []

    class Where(BaseModel):
        name: Annotated[str, AfterValidator(lambda value: seen.append(here.get()) or "x")]

    token = here.set("in the caller")
    try:
        service.chat("Name a city.", schema=Where)
    finally:
        here.reset(token)
    assert seen == ["in the caller"]

"""``llm_map``: asks a model about each row of a table, and returns the answers as a column."""

from __future__ import annotations

import hashlib
import threading
import warnings
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.arms import Arm, canonical_json, make_arms
from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.grid import Trial, check_content
from ipyllm.experiment.pace import Pace
from ipyllm.experiment.progress_bar import watch
from ipyllm.experiment.prompts import Prompt
from ipyllm.experiment.records import checked_name
from ipyllm.experiment.run import Run
from ipyllm.experiment.run_config import RunConfig, request_of
from ipyllm.experiment.spending_limit import ChunkFunds, SpendingLimit
from ipyllm.fork_safety import in_forked_child, renewed_in_child
from ipyllm.ledger import current_ledger
from ipyllm.mapping.columns import to_table
from ipyllm.mapping.outcomes import Outcomes
from ipyllm.mapping.prompts import make_prompts
from ipyllm.mapping.reasons import describe, with_reasons
from ipyllm.mapping.rows import read_rows
from ipyllm.registry.models import create_llm_service
from ipyllm.services.parameters import refuse_misspelt_options
from ipyllm.settings import get_settings
from ipyllm.structured import Schema
from ipyllm.structured.fields import Field, fields_of, plain_answers
from ipyllm.structured.labels import LabelSchema
from ipyllm.text.format import count
from ipyllm.validate import validate_int, validate_usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.mapping.prompts import Prompts, RowPrompt
    from ipyllm.mapping.rows import Rows
    from ipyllm.services.base import BaseLLMService
    from ipyllm.timeout import Timeout

__all__ = ["llm_map"]

_TEXT = Field("value", "text")
_GRID = "llm_map"
_NOT_FOR_ROWS = {
    "tools": "ask with service.chat(…, tools=…)",
    "prompt": "the prompt is the template",
    "provenance": "give it a name instead",
    "notebook_options": "give the options themselves",
}
_OWN_OPTIONS = ("template", "model", "labels", "schema", "images", "name", "concurrency", "progress")

_locks: dict[str, threading.Lock] = {}
"""Held while the calls of a name are made, so that another thread's answers are not paid for twice."""
in_forked_child(_locks.clear)  # the threads that held them are the parent's


def llm_map(
    data: Any,
    template: str | None = None,
    *,
    model: str | BaseLLMService | None = None,
    labels: Iterable[str] | None = None,
    schema: Any = None,
    images: str | Iterable[str] | None = None,
    system: str | None = None,
    name: str | None = None,
    max_cost_usd: float | None = None,
    concurrency: int | None = None,
    timeout: float | Timeout | None = None,
    max_retries: int | None = None,
    cache: bool | None = None,
    progress: bool = True,
    **options: Any,
) -> Any:
    """Ask a model about each row of a table, and return the answers as a column.

    Rows with the same prompt are asked about once, and all get the answer. Every call is a row of the ledger: after an
    interrupt, a killed kernel or failed calls, the same call asks only for the answers that are missing.

    Parameters
    ----------
    data : DataFrame or Series
        The rows, of pandas or polars. They are read before anything is sent.
    template : str, optional
        Jinja2 with the columns as variables, ``"Summarise: {{ text }}"``; ``{{ row["a column"] }}`` for names with
        spaces. The values of a Series are ``{{ value }}``, or have its name, and without a template they are the
        prompts. A row without a value for the template gets no answer, and is not asked about.
    model : str or BaseLLMService, optional
        By default, the settings' model.
    labels : sequence of str, optional
        The answer is one of these.
    schema : type or dict, optional
        The answer fits this Pydantic model, dataclass, TypedDict or JSON schema, as in ``chat(…, schema=…)``.
    images : str or sequence of str, optional
        Columns of images that are sent after the prompt; of a Series ``"value"``, or its name. A cell holds one or a
        list: a path, an address, the bytes of a file, a picture of Pillow, a figure of matplotlib or a numpy array.
        The template may then use no column. A row without an image gets no answer, and is not asked about; one whose
        image cannot be read has failed.
    system : str, optional
        System prompt.
    name : str, optional
        Name in the ledger (column ``experiment``), by which earlier answers are found. By default a hash of the model,
        its parameters, the template, and labels or schema; give another name to ask for all answers again. In it,
        an answer belongs to a prompt and the contents of its images.
    max_cost_usd : float, optional
        Limit for this call in US dollars; answers that were there before cost nothing. The highest cost of a call is
        reserved before it is sent, and rows for which nothing is left stay null.
    concurrency : int, optional
        Maximum number of calls in flight. By default as many as the server evidently takes: more while it is as fast
        as with fewer, and fewer when it answers 429 or gets slower.
    timeout, max_retries, cache
        As for ``chat``.
    progress : bool
        Whether to show a progress bar.
    **options
        Further options of ``chat``: ``temperature``, ``max_tokens``, ``effort``, ``repairs``, ``extra_headers``,
        ``conversation_history`` (examples that come before each prompt), …

    Returns
    -------
    Series or DataFrame
        Of the library of ``data``, with its index. Text; with ``labels`` a categorical column (an ``Enum`` in polars)
        with these categories; with ``schema`` a DataFrame with a column for each field (``Int64``, ``float64``,
        ``boolean``, text, ``datetime64``, categorical for listed texts, else objects), or a Series if the schema is
        not an object. Rows without an answer are null; ``result.attrs["llm_map"]`` says why, and
        ``result.llm.errors()`` as a table.

    Raises
    ------
    LLMError
        ``bad_request`` or ``not_found`` before anything is sent, also for images if the model's profile says that it
        reads none, or if none of them can be read; or the model could not be reached at all.
    KeyboardInterrupt
        When the user interrupts. Call again to continue: answers that arrived are kept.

    Warns
    -----
    UserWarning
        Calls failed, or were not made.

    Examples
    --------
    ``docs/columns.md`` has examples with answers. Mistakes are found before anything is sent:

    >>> import pandas as pd
    >>> reviews = pd.DataFrame({"text": ["A joy.", "So so."]})
    >>> llm_map(reviews, "Classify: {{ txt }}", labels=["good", "bad"], model="ollama/llama3.2")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The template uses {{ txt }}, but the rows have no column 'txt'; did you mean 'text'?
    """
    rows = read_rows(data)
    answer_schema = _answer_schema(labels, schema)
    arm = _arm(
        model,
        system,
        answer_schema,
        {"timeout": timeout, "max_retries": max_retries, "cache": cache, **options},
    )
    limit = validate_usd(max_cost_usd)
    at_once = None if concurrency is None else validate_int("concurrency", concurrency, 1)
    prompts = make_prompts(rows, template, images)
    earlier = [arm.earlier_identity(), list(arm.request.messages), answer_schema and answer_schema.json_schema]
    name = checked_name(name) if name is not None else f"map-{_digest([earlier, template])[:12]}"
    different = dict.fromkeys(prompt for prompt in prompts.of_rows if prompt is not None)
    identity = arm.identity()
    keys = {prompt: _digest([identity, *prompt.identity])[:24] for prompt in different}
    earlier_keys = {_digest([earlier, *prompt.identity])[:24]: key for prompt, key in keys.items()}
    outcomes = Outcomes(
        name,
        answer_schema,
        plain_answers(answer_schema) if answer_schema is not None else str,
        stores_text=get_settings().store_text,
    )
    if keys:
        with _locks.setdefault(name, renewed_in_child(threading.Lock())):
            outcomes.read(current_ledger(), set(keys.values()), earlier_keys, arm.addresses())
            _ask(arm, keys, outcomes, limit, at_once, progress=bool(progress))
    return _result(rows, prompts, keys, outcomes)


def _answer_schema(labels: Iterable[str] | None, schema: Any) -> Schema | None:
    if labels is not None and schema is not None:
        raise bad_request("Give labels or a schema, not both; a schema can have a field that is one of some labels.")
    if labels is not None:
        return LabelSchema.of_labels(labels)
    return None if schema is None else Schema.of(schema)


def _arm(model: str | BaseLLMService | None, system: str | None, schema: Schema | None, options: dict[str, Any]) -> Arm:
    for unfit, instead in _NOT_FOR_ROWS.items():
        if unfit in options:
            raise bad_request(f"llm_map takes no {unfit}: {instead}.")
    refuse_misspelt_options(options, _OWN_OPTIONS, caller="llm_map")  # others are checked with those of chat
    if isinstance(schema, LabelSchema):
        system = " ".join(filter(None, [system, schema.instructions_in_words()]))
    arms = make_arms(create_llm_service() if model is None else model, None, system, schema=schema, **options)
    if len(arms) > 1:
        raise bad_request("llm_map asks one model; use Experiment to compare several.")
    return arms[0]


def _ask(
    arm: Arm,
    keys: dict[RowPrompt, str],
    outcomes: Outcomes,
    limit: float | None,
    concurrency: int | None,
    *,
    progress: bool,
) -> None:
    """Ask for the answers that are missing, and wait for them; raise why they cannot be had if none is there."""
    ledger = current_ledger()
    trials = [
        Trial(key, arm, Prompt(key[:12], prompt.text, number, {}, content=prompt.content), 0)
        for number, (prompt, key) in enumerate(keys.items())
        if key not in outcomes.answers
    ]
    if not trials:
        return
    check_content([arm], [trial.prompt for trial in trials])
    spending = SpendingLimit() if limit is None else SpendingLimit(limit, ChunkFunds(limit))
    config = RunConfig(
        outcomes.name,
        _GRID,
        0,
        concurrency,
        ledger,
        spending,
        on_outcome=outcomes.record,
        pace=Pace() if concurrency is None else None,
    )
    try:
        spending.check([(arm.service, request_of(trials[0], config))])
    except LLMError as exc:
        outcomes.leave_out(trials, exc)
        return
    run = Run(trials, config).start()
    done_before = len(outcomes.answers)
    try:
        watch(run, name="llm_map", n_done=done_before, show=progress)
    except KeyboardInterrupt:
        there = f"{len(outcomes.answers):,} of the answers to {count(len(keys), 'prompt')} are there"
        raise KeyboardInterrupt(f"{there}. Call again to ask for the others.") from None
    for error in run.progress.unreachable.values():
        outcomes.leave_out(trials, error)
    if run.progress.stopped is not None:
        outcomes.leave_out(trials, LLMError(run.progress.stopped, category=run.progress.stopped_by))


def _result(rows: Rows, prompts: Prompts, keys: dict[RowPrompt, str], outcomes: Outcomes) -> Any:
    by_row = [None if prompt is None else keys[prompt] for prompt in prompts.of_rows]
    fields = _TEXT if outcomes.schema is None else fields_of(outcomes.schema)
    table = to_table(rows, fields, [None if key is None else outcomes.answers.get(key) for key in by_row])
    of_calls = {number: outcomes.reasons[key] for number, key in enumerate(by_row) if key in outcomes.reasons}
    reasons = dict(sorted((of_calls | prompts.reasons).items()))
    failed = {number: reason for number, reason in reasons.items() if reason.is_failure}
    if failed:
        warnings.warn(describe(failed, len(rows)), stacklevel=3)
    return with_reasons(table, rows, outcomes.name, reasons)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

"""What a scorer is: a name and a function from an answer, and the row it was asked about, to a number.

Scorers come from people as functions, as objects, or from this package; :meth:`Scorer.of` takes them all, and
:func:`checked` says what of their results counts. A scorer that fails costs its score, never the run.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from ipyllm.errors import LLMError
from ipyllm.text.redact import redact
from ipyllm.text.terminal import plain

__all__ = ["TIMEOUT_S", "Score", "ScoreFailure", "Scorer", "SupportsScore", "checked", "distinct"]

TIMEOUT_S = 60.0
"""Seconds that a score may take unless told otherwise: far more than any sound one, far less than a night."""

_MAX_NAME = 60
_MAX_SHOWN = 60
_MOST = 2  # arguments: the response and the row
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@runtime_checkable
class SupportsScore(Protocol):
    """An object of yours that can be used as a scorer; ``score`` may be ``async`` too."""

    name: str

    def score(self, response: Any, row: Mapping[str, Any], /) -> Any:
        """Return a number, True or False, None where the question does not apply, or a :class:`Score`."""


class ScoreFailure(ValueError):  # noqa: N818 - it is no fault of the program, but a score that could not be given
    """A score that could not be given, with the reason in one sentence. It costs this score and nothing else.

    Raise it in a scorer of your own for a reason that stands in ``score_<name>_error`` word for word.

    Parameters
    ----------
    reason : str
        One sentence.
    cost_usd : float, optional
        What the attempt cost nevertheless.
    """

    def __init__(self, reason: str, *, cost_usd: float | None = None) -> None:
        super().__init__(redact(plain(reason)))
        self.cost_usd = cost_usd


@dataclass(frozen=True, slots=True)
class Score:
    """A score with what stands beside it, for scorers that have more to tell than a number.

    Attributes
    ----------
    value : float or bool or None
        The score itself; None where the question does not apply.
    reason : str or None
        Why, in words: goes to ``score_<name>_reason``.
    cost_usd : float or None
        What it cost to find out, None when unknown: goes to ``cost_usd_<name>``.
    """

    value: float | bool | None
    reason: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer as the runner uses it. Made by :meth:`of`, or by a function of :mod:`ipyllm.scorers`.

    Attributes
    ----------
    name : str
        Its scores stand in the column ``score_<name>``.
    function : callable
        Takes the answer and, if ``takes_row``, the row.
    takes_row : bool
        Whether it is given the row too.
    is_async : bool
        Whether calling it gives a coroutine; those run on the user's own event loop.
    timeout : float or None
        Seconds a score may take. A plain function with a time-out runs in a thread of its own, because only there
        can it be given up; with None it runs in the thread that waits, for as long as it likes.
    inline : bool
        Cannot hang, and needs no place of its own: pure functions of this package.
    gives : tuple of str
        What it tells beside a number, ``"reason"`` or ``"cost_usd"``: has a column even when all of it is null.
    begin : callable, optional
        Called once before a table is scored, in the thread that asks for it; what it returns is called in place of
        ``function``. For scorers that look something up.

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> def brevity(response):
    ...     return 1 / (1 + len(response.content.split()))
    >>> scorer = Scorer.of(brevity)
    >>> scorer.name, scorer.call(ChatResponse(content="Yes."), {})
    ('brevity', 0.5)
    """

    name: str
    function: Callable[..., Any]
    takes_row: bool = True
    is_async: bool = False
    timeout: float | None = TIMEOUT_S
    inline: bool = False
    gives: tuple[str, ...] = ()
    begin: Callable[[], Callable[..., Any]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise _refused(f"A scorer's name becomes the name of a column; {self.name!r} cannot.")
        if len(self.name) > _MAX_NAME:
            raise _refused(f"The name of a scorer has at most {_MAX_NAME} characters, unlike {self.name[:20]!r}….")
        seconds = self.timeout
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0
        ):
            raise _refused(f"timeout must be a number of seconds above 0, or None, not {seconds!r}.")

    @classmethod
    def of(cls, source: Any, *, name: str | None = None, timeout: float | None = TIMEOUT_S) -> Scorer:
        """Make a scorer of what people give.

        Parameters
        ----------
        source : callable or SupportsScore or Scorer
            A function of ``(response, row)`` or of ``(response)``, plain or async, a method, a partial, a lambda; or
            an object with a ``name`` and a method ``score``. A second parameter with a default is left alone unless
            it is called ``row``. A :class:`Scorer` is returned as it is.
        name : str, optional
            Instead of its own.
        timeout : float or None
            Seconds a score may take.

        Raises
        ------
        LLMError
            ``bad_request``, with one sentence that says why it cannot be a scorer.

        Examples
        --------
        >>> Scorer.of(lambda response: 1.0, name="always").name
        'always'
        >>> Scorer.of("label")
        Traceback (most recent call last):
            ...
        ipyllm.errors.LLMError: 'label' is no scorer: give a function of (response, row), or one of ipyllm.scorers, \
such as scorers.exact('label').
        """
        if isinstance(source, Scorer):
            return source if name is None else replace(source, name=name)
        if isinstance(source, type):
            raise _refused(f"{source.__name__} is a class and no scorer: give an instance, {source.__name__}(…).")
        if isinstance(source, SupportsScore):
            function: Callable[..., Any] = source.score
            own = source.name
        elif callable(source):
            function, own = source, _name_of(source)
        else:
            example = repr(source) if isinstance(source, str) else "'column'"
            raise _refused(
                f"{_shown(source)} is no scorer: give a function of (response, row), or one of ipyllm.scorers, such "
                f"as scorers.exact({example})."
            )
        called = own if name is None else name
        code = _code(function)
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise _refused(f"{called} cannot be a scorer: it yields; return one number instead.")
        return cls(
            name=called,
            function=function,
            takes_row=_takes_row(called, function),
            is_async=inspect.iscoroutinefunction(code),
            timeout=timeout,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it may write: its scores, why there are none, why they are what they are, and what they cost."""
        score = f"score_{self.name}"
        # The last is no score, and must not look like one.
        return score, f"{score}_error", f"{score}_reason", f"cost_usd_{self.name}"

    def named(self, name: str) -> Scorer:
        """Return the same scorer under another name, to have two of a kind in one table."""
        return replace(self, name=name)

    def begun(self) -> Scorer:
        """Return it ready for a table: see ``begin``."""
        return self if self.begin is None else replace(self, function=self.begin(), begin=None)

    def call(self, response: Any, row: Mapping[str, Any] | None = None) -> Any:
        """Call the function: its result is not checked yet, and a coroutine if it is async."""
        return self.function(response, row or {}) if self.takes_row else self.function(response)


def checked(value: Any) -> Score:
    """Return the result of a scorer as a :class:`Score` that is sound.

    Parameters
    ----------
    value : object
        What the scorer returned.

    Raises
    ------
    ScoreFailure
        It is no number, True, False or None, nor a :class:`Score` that holds one; or it is not finite.

    Examples
    --------
    >>> checked(True), checked(None)
    (Score(value=1.0, reason=None, cost_usd=None), Score(value=None, reason=None, cost_usd=None))
    >>> checked("good")
    Traceback (most recent call last):
        ...
    ipyllm.scorers.scorer.ScoreFailure: It returned 'good', a str; a score is a number, True, False or None.
    """
    given = value if isinstance(value, Score) else Score(value)
    try:
        number = _number(given.value)
    except ScoreFailure as exc:
        exc.cost_usd = given.cost_usd
        raise
    return replace(given, value=number, reason=None if given.reason is None else redact(plain(str(given.reason))))


def _number(value: Any) -> float | None:
    if value is None or _is_missing(value):
        return None
    # numpy's scalars and arrays of one element, and a tensor of one, know their Python value.
    item = getattr(value, "item", None)
    plain_value = item() if callable(item) and getattr(value, "size", None) == 1 else value
    if not isinstance(plain_value, numbers.Real | Decimal):
        kind = type(value).__name__
        raise ScoreFailure(f"It returned {_shown(value)}, a {kind}; a score is a number, True, False or None.")
    try:
        number = float(plain_value)
    except (OverflowError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise ScoreFailure(f"It returned {_shown(value)}; a score is finite. Return None where it does not apply.")
    return number


def _is_missing(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and value is pandas.NA


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _code(function: Any) -> Any:
    """Return what runs when it is called: ``inspect`` does not look through partials and ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _takes_row(name: str, function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have none that Python can see
        return False
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    needed = [p for p in positional if p.default is p.empty]
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > _MOST or keywords or not (positional or several):
        takes = ", ".join(p.name for p in [*needed, *keywords]) or "nothing"
        raise _refused(f"{name} cannot be a scorer: it takes {takes}, where a scorer takes response and row.")
    if len(positional) < _MOST:
        return several
    second = positional[1]
    return second.default is second.empty or second.name == "row"


def _shown(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a repr of the user's own may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _refused(sentence: str) -> LLMError:
    return LLMError(sentence, category="bad_request")


def distinct(scorers: Iterable[Any]) -> tuple[Scorer, ...]:
    """Return them all as :class:`Scorer`, and refuse two that would write into the same column.

    Raises
    ------
    LLMError
        ``bad_request``.
    """
    if isinstance(scorers, str | Mapping) or not isinstance(scorers, Iterable):
        raise _refused(f"scorers is a list, such as [scorers.exact('label'), my_function], not {_shown(scorers)}.")
    made = tuple(Scorer.of(scorer) for scorer in scorers)
    taken: dict[str, str] = {}
    for scorer in made:
        for column in scorer.columns:
            if column in taken:
                raise _refused(
                    f"Two scorers would write into the column {column!r}: give one of them another name, such as "
                    f"name='{scorer.name}_2', or Scorer.of(function, name=…) for a function."
                )
            taken[column] = scorer.name
    return made

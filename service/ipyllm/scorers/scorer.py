"""Defines a scorer: a name, and a function from an answer and its row of data to a number.

:meth:`Scorer.of` makes scorers of functions and objects, :func:`validate_score` validates their results. If a scorer
fails, its score is missing, and the run goes on.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, Protocol, runtime_checkable

from ipyllm.errors import bad_request
from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

__all__ = [
    "TIMEOUT_S",
    "Direction",
    "Score",
    "ScoreFailure",
    "Scorer",
    "SupportsScore",
    "as_scorers",
    "validate_score",
]

Direction = bool | None | Literal["infer"]
"""Whether higher scores are better: True, False, None for neither, or to be inferred from the scores."""

TIMEOUT_S = 60.0
"""Default time limit of one score, in seconds."""

_MAX_NAME_CHARS = 60
_MAX_VALUE_CHARS = 60
_MAX_ARGUMENTS = 2  # the response and the row
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@runtime_checkable
class SupportsScore(Protocol):
    """An object that can be used as a scorer; ``score`` may be async."""

    name: str

    def score(self, response: Any, row: Mapping[str, Any], /) -> Any:
        """Return a number, True, False, None where the score does not apply, or a :class:`Score`."""


class ScoreFailure(ValueError):  # noqa: N818 - not a fault of the program
    """A score that could not be given. Raise it in your own scorer to set ``score_<name>_error``.

    Parameters
    ----------
    reason : str
        One sentence.
    cost_usd : float, optional
        Cost of the attempt.
    """

    def __init__(self, reason: str, *, cost_usd: float | None = None) -> None:
        super().__init__(redact(strip_control_sequences(reason)))
        self.cost_usd = cost_usd


@dataclass(frozen=True, slots=True)
class Score:
    """A score with a reason and a cost.

    Attributes
    ----------
    value : float or bool or None
        The score; None where it does not apply.
    reason : str or None
        The reason in words, for the column ``score_<name>_reason``.
    cost_usd : float or None
        US dollars, for the column ``cost_usd_<name>``. None: what the calls cost that the scorer made, null if unknown.
    """

    value: float | bool | None
    reason: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Scorer:
    """A name and a function that scores answers. Made by :meth:`of`, or by a function of :mod:`ipyllm.scorers`.

    Attributes
    ----------
    name : str
        Its scores are in the column ``score_<name>``.
    function : callable
        Takes the answer and, if ``takes_row``, the row.
    takes_row : bool
        Whether the function takes the row.
    is_async : bool
        Whether it returns a coroutine, which runs on the user's event loop.
    timeout : float or None
        Time limit of a score, in seconds. A plain function with a limit runs in its own thread, which can be
        abandoned; with None it runs in the calling thread, without a limit.
    inline : bool
        Runs at once in the calling thread: functions of this package that cannot hang.
    gives : tuple of str
        Further results, ``"reason"`` or ``"cost_usd"``, that have a column even where all are null.
    higher_is_better : bool or None or "infer"
        True; False, as for an edit distance or a number of words too many; None, if neither is better, as for a
        language: then nothing calls a difference "better" and no gate judges it. ``"infer"``, for functions that do not
        say: higher is better if all scores are 0 or 1 (or True and False), else the direction is unknown, None.
    scale : (float, float), optional
        Worst and best score, of a scorer whose scores are grades.
    begin : callable, optional
        Called once before a table is scored; it returns the function to use instead of ``function``. For scorers that
        look something up.

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
    higher_is_better: Direction = "infer"
    scale: tuple[float, float] | None = None
    begin: Callable[[], Callable[..., Any]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise bad_request(f"The name of a scorer must be a line of text, not {self.name!r}.")
        if len(self.name) > _MAX_NAME_CHARS:
            raise bad_request(
                f"The name {shorten(self.name, 20)!r} of a scorer is longer than {_MAX_NAME_CHARS} characters."
            )
        seconds = self.timeout
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0
        ):
            raise bad_request(f"timeout must be a number of seconds above 0, or None, not {seconds!r}.")
        direction: object = self.higher_is_better
        if not (
            isinstance(direction, bool) or direction is None or (isinstance(direction, str) and direction == "infer")
        ):
            raise bad_request(
                f"higher_is_better of {self.name} must be True, False, or None for neither, not {_repr(direction)}."
            )

    @classmethod
    def of(
        cls,
        source: Any,
        *,
        name: str | None = None,
        timeout: float | None = TIMEOUT_S,
        higher_is_better: Direction = "infer",
    ) -> Scorer:
        """Make a scorer of a function or an object.

        Parameters
        ----------
        source : callable or SupportsScore or Scorer
            A function of ``(response, row)`` or of ``(response)``, plain or async, a method, a partial, a lambda; or
            an object with a ``name`` and a method ``score``. A second parameter with a default gets the row only
            if it is called ``row``. Of a :class:`Scorer`, only name and direction can be replaced.
        name : str, optional
            Replaces its own name.
        timeout : float or None
            Time limit of a score, in seconds.
        higher_is_better : bool or None or "infer"
            The direction of the scores, as in the attribute of the same name. By default that of the source, which may
            have an attribute ``higher_is_better``.

        Raises
        ------
        LLMError
            ``bad_request``: it cannot be a scorer.

        Examples
        --------
        >>> Scorer.of(lambda response: 1.0, name="always").name
        'always'
        >>> def words(response):
        ...     return len(response.content.split())
        >>> words.higher_is_better = False
        >>> Scorer.of(words).higher_is_better
        False
        >>> Scorer.of("label")
        Traceback (most recent call last):
            ...
        ipyllm.errors.LLMError: 'label' is not a scorer: use a function of (response, row), or one of ipyllm.scorers, \
such as scorers.exact('label').
        """
        if isinstance(source, Scorer):
            direction = source.higher_is_better if higher_is_better == "infer" else higher_is_better
            return replace(source, name=source.name if name is None else name, higher_is_better=direction)
        if isinstance(source, type):
            raise bad_request(f"{source.__name__} is a class, not a scorer: use an instance, {source.__name__}(…).")
        if isinstance(source, SupportsScore):
            function: Callable[..., Any] = source.score
            own_name = source.name
        elif callable(source):
            function, own_name = source, _name_of(source)
        else:
            example = repr(source) if isinstance(source, str) else "'column'"
            raise bad_request(
                f"{_repr(source)} is not a scorer: use a function of (response, row), or one of ipyllm.scorers, such "
                f"as scorers.exact({example})."
            )
        called = own_name if name is None else name
        code = _code(function)
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            raise bad_request(f"{called} cannot be a scorer, because it is a generator: return one number.")
        return cls(
            name=called,
            function=function,
            takes_row=_takes_row(called, function),
            is_async=inspect.iscoroutinefunction(code),
            timeout=timeout,
            higher_is_better=_direction_of(source) if higher_is_better == "infer" else higher_is_better,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it may write: score, error, reason and cost."""
        score = f"score_{self.name}"
        # The cost's name must not begin like a score's.
        return score, f"{score}_error", f"{score}_reason", f"cost_usd_{self.name}"

    def named(self, name: str) -> Scorer:
        """Return the scorer under another name, so that a table can have two of a kind."""
        return replace(self, name=name)

    def prepared(self) -> Scorer:
        """Return the scorer to use for one table: see ``begin``."""
        return self if self.begin is None else replace(self, function=self.begin(), begin=None)

    def call(self, response: Any, row: Mapping[str, Any] | None = None) -> Any:
        """Call the function; the result is unchecked, and a coroutine if it is async."""
        return self.function(response, row or {}) if self.takes_row else self.function(response)


def validate_score(value: Any) -> Score:
    """Return a result as a valid :class:`Score`; raise ScoreFailure unless it is a finite number or null."""
    given = value if isinstance(value, Score) else Score(value)
    try:
        number = _number(given.value)
    except ScoreFailure as exc:
        exc.cost_usd = given.cost_usd
        raise
    reason = None if given.reason is None else redact(strip_control_sequences(str(given.reason)))
    return Score(number, reason, given.cost_usd)


def _number(value: Any) -> float | None:
    if value is None or type(value).__name__ == "NAType":
        return None
    # numpy scalars, and arrays and tensors of one element.
    item = getattr(value, "item", None)
    plain_value = item() if callable(item) and getattr(value, "size", None) == 1 else value
    if not isinstance(plain_value, numbers.Real | Decimal):
        kind = type(value).__name__
        raise ScoreFailure(f"It returned {_repr(value)}, a {kind}; return a number, True, False or None.")
    try:
        number = float(plain_value)
    except (OverflowError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise ScoreFailure(f"It returned {_repr(value)}; return a finite number, or None if it does not apply.")
    return number


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _direction_of(function: Any) -> Any:
    while isinstance(function, functools.partial) and not hasattr(function, "higher_is_better"):
        function = function.func
    return getattr(function, "higher_is_better", "infer")


def _code(function: Any) -> Any:
    """Return the function behind partials and ``__call__``, which ``inspect`` does not look through."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _takes_row(name: str, function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some C functions have no signature
        return False
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    needed = [p for p in positional if p.default is p.empty]
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > _MAX_ARGUMENTS or keywords or not (positional or takes_any):
        takes = ", ".join(p.name for p in [*needed, *keywords]) or "nothing"
        raise bad_request(f"{name} cannot be a scorer: it takes {takes}, but a scorer takes response and row.")
    if len(positional) < _MAX_ARGUMENTS:
        return takes_any
    second = positional[1]
    return second.default is second.empty or second.name == "row"


def _repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr of the user's own may do anything
        text = f"<{type(value).__name__}>"
    return shorten(text, _MAX_VALUE_CHARS)


def as_scorers(scorers: Iterable[Any]) -> tuple[Scorer, ...]:
    """Convert all to :class:`Scorer`; raise ``bad_request`` if two would write to the same column."""
    if isinstance(scorers, str | Mapping) or not isinstance(scorers, Iterable):
        raise bad_request(f"scorers must be a list, like [scorers.exact('label'), my_function], not {_repr(scorers)}.")
    converted = tuple(Scorer.of(scorer) for scorer in scorers)
    taken: dict[str, str] = {}
    for scorer in converted:
        for column in scorer.columns:
            if column in taken:
                raise bad_request(
                    f"Two scorers would write to the column {column!r}: give one of them another name, such as "
                    f"name='{scorer.name}_2', or Scorer.of(function, name=…) for a function."
                )
            taken[column] = scorer.name
    return converted

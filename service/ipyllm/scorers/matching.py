"""Scorers that compare text: equal, contained, matched by a pattern, or similar."""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipyllm.errors import bad_request
from ipyllm.scorers.reading import check_column, comparable, expected_answers, response_text, text_of_value
from ipyllm.scorers.scorer import ScoreFailure, Scorer
from ipyllm.scorers.words import word_pattern
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Method", "contains", "exact", "regex", "similarity"]

Method = Literal["levenshtein", "jaro_winkler", "token_sort", "token_set"]
"""Methods of :func:`similarity`."""

_TIMEOUT_S = 1.0


def exact(column: str, *, ignore_case: bool = False, strip: bool | str = True, name: str = "exact") -> Scorer:
    r"""Score whether the answer equals the right one.

    Parameters
    ----------
    column : str
        Column with the right answer, or a list of right answers.
    ignore_case : bool
        Treat ``Bern`` and ``BERN`` as equal, ``Straße`` and ``STRASSE`` too.
    strip : bool or str
        Remove white space around both; a string names further characters to remove: ``strip=".!*"``.
    name : str
        Name of the scorer: scores are in the column ``score_<name>``.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> bern = scorers.exact("capital", ignore_case=True, strip=".")
    >>> bern.call(ChatResponse(content="bern.\n"), {"capital": "Bern"})
    True
    """
    check_column("exact", column)
    if not isinstance(strip, bool | str):
        raise bad_request(f"strip must be True, False or the characters to remove, not {strip!r}.")
    return Scorer(
        name, partial(_exact, column=column, ignore_case=ignore_case, strip=strip), inline=True, higher_is_better=True
    )


def _exact(response: Any, row: Mapping[str, Any], *, column: str, ignore_case: bool, strip: bool | str) -> bool:
    def normalize(text: str) -> str:
        text = comparable(text, ignore_case=ignore_case)
        if isinstance(strip, str):
            return _strip_all(text, comparable(strip, ignore_case=ignore_case))
        return text.strip() if strip else text

    right = {normalize(text_of_value(value)) for value in expected_answers(row, column)}
    return normalize(response_text(response)) in right


def _strip_all(text: str, characters: str) -> str:
    before = None
    while before != text:  # white space and the characters may alternate
        before, text = text, text.strip().strip(characters)
    return text


def contains(column: str, *, ignore_case: bool = False, words: bool = False, name: str = "contains") -> Scorer:
    """Score whether the answer contains the right one.

    Parameters
    ----------
    column, ignore_case, name
        As in :func:`exact`.
    words : bool
        Match complete words and numbers only: ``art`` is not in ``Earth``, ``3`` not in ``3.14``, ``negative`` not in
        ``non-negative``; :func:`~ipyllm.scorers.words.word_pattern` has the rules, for languages without spaces too.

    Notes
    -----
    This is generous: "it is not positive" contains "positive", and so does an answer that lists every label.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> response = ChatResponse(content="The capital of Switzerland is Bern.")
    >>> scorers.contains("capital").call(response, {"capital": "Bern"})
    True
    >>> scorers.contains("capital", words=True).call(response, {"capital": "Ber"})
    False
    """
    check_column("contains", column)
    return Scorer(
        name,
        partial(_contains, column=column, ignore_case=ignore_case, words=words),
        inline=True,
        higher_is_better=True,
    )


def _contains(response: Any, row: Mapping[str, Any], *, column: str, ignore_case: bool, words: bool) -> bool:
    text = comparable(response_text(response), ignore_case=ignore_case)
    sought = [
        comparable(text_of_value(value), ignore_case=ignore_case).strip() for value in expected_answers(row, column)
    ]
    if "" in sought:
        raise ScoreFailure(f"The row has an empty text in its column {column!r}, which every answer contains.")
    if not words:
        return any(piece in text for piece in sought)
    try:
        return any(word_pattern(piece).search(text, timeout=_TIMEOUT_S) for piece in sought)
    except TimeoutError:
        raise ScoreFailure(f"The search for words in this answer took longer than {_TIMEOUT_S:g} s.") from None


def regex(
    pattern: str | None = None, *, column: str | None = None, ignore_case: bool = False, name: str = "regex"
) -> Scorer:
    r"""Score whether a pattern matches anywhere in the answer.

    Parameters
    ----------
    pattern : str, optional
        A regular expression of ``re`` or the library ``regex``, the same for every row. ``^`` and ``$`` match at line
        ends only with ``(?m)``.
    column : str, optional
        Instead, the column with each row's pattern, or a list of which one must match.
    ignore_case, name
        As in :func:`exact`.

    Raises
    ------
    LLMError
        ``bad_request``: an invalid regular expression, or not exactly one of ``pattern`` and ``column``.

    Notes
    -----
    A pattern such as ``(a+)+$`` takes exponential time on some answers. Matching stops after a second, and the
    score's error says so; Python's own ``re`` would block the process.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> scorers.regex(r"\bB[ea]rn\b").call(ChatResponse(content="It is Bern."), {})
    True
    """
    if (pattern is None) == (column is None):
        raise bad_request(
            "regex needs either a pattern, scorers.regex(r'…'), or the column with patterns, scorers.regex(column='…')."
        )
    if pattern is not None:
        problem = _compile_problem(pattern)
        if problem:
            raise bad_request(f"{pattern!r} is not a regular expression: {problem}.")
    else:
        check_column("regex", column)
    return Scorer(
        name,
        partial(_regex, pattern=pattern, column=column, ignore_case=ignore_case),
        inline=True,
        higher_is_better=True,
    )


def _compile_problem(pattern: Any) -> str | None:
    import regex as engine

    try:
        engine.compile(pattern)
    except (engine.error, TypeError) as exc:
        return str(exc)
    return None


def _regex(
    response: Any, row: Mapping[str, Any], *, pattern: str | None, column: str | None, ignore_case: bool
) -> bool:
    import regex as engine

    patterns = [pattern] if pattern is not None else expected_answers(row, column or "")
    text = response_text(response)
    flags = engine.IGNORECASE | engine.FULLCASE if ignore_case else 0
    for each in patterns:
        try:
            pattern = unicodedata.normalize("NFC", each)  # as the text is
            found = engine.search(pattern, text, flags=flags, timeout=_TIMEOUT_S)
        except TimeoutError:
            raise ScoreFailure(f"The pattern {each!r} took longer than {_TIMEOUT_S:g} s on this answer.") from None
        except (engine.error, TypeError) as exc:
            raise ScoreFailure(f"{each!r} is not a regular expression: {exc}.") from None
        if found is not None:
            return True
    return False


def similarity(
    column: str, method: Method = "levenshtein", *, ignore_case: bool = False, name: str = "similarity"
) -> Scorer:
    """Score the similarity of the answer to the right one, from 0 to 1; of a list, the most similar counts.

    Parameters
    ----------
    column, ignore_case, name
        As in :func:`exact`.
    method : str
        ``"levenshtein"``: 1 − edits / length of the longer; ``"jaro_winkler"``: for names and short strings;
        ``"token_sort"``: the words in any order; ``"token_set"``: the same, and extra words of one text do not count.

    Notes
    -----
    It compares letters, not meanings: "It is safe" is similar to "It is not safe". Such measures agree poorly with
    human judgement of free text (Liu et al. 2016, arXiv:1603.08023). Use it where the wording matters.

    Examples
    --------
    >>> from ipyllm import ChatResponse, scorers
    >>> round(scorers.similarity("name").call(ChatResponse(content="Zurich"), {"name": "Zürich"}), 3)
    0.833
    >>> scorers.similarity("name", "token_sort").call(ChatResponse(content="Ada Lovelace"), {"name": "Lovelace Ada"})
    1.0
    """
    check_column("similarity", column)
    if method not in get_args(Method):
        raise bad_request(f"There is no method {method!r} of similarity. {suggest(method, get_args(Method))}")
    return Scorer(
        name,
        partial(_similarity, column=column, method=method, ignore_case=ignore_case),
        inline=True,
        higher_is_better=True,
    )


def _similarity(response: Any, row: Mapping[str, Any], *, column: str, method: Method, ignore_case: bool) -> float:
    from rapidfuzz import fuzz
    from rapidfuzz.distance import JaroWinkler, Levenshtein

    def normalize(text: str) -> str:
        return comparable(text, ignore_case=ignore_case).strip()

    def ratio(one: str, other: str) -> float:
        match method:
            case "levenshtein":
                return Levenshtein.normalized_similarity(one, other)
            case "jaro_winkler":
                return JaroWinkler.normalized_similarity(one, other)
            case "token_sort":
                return fuzz.token_sort_ratio(one, other) / 100
            case "token_set":
                return fuzz.token_set_ratio(one, other) / 100

    text = normalize(response_text(response))
    return max(ratio(text, normalize(text_of_value(value))) for value in expected_answers(row, column))

"""Bounds on what a server may send, compressed or not, and the error of a response that passes one.

Nothing is inflated, parsed or kept beyond them: a response of some kilobytes can inflate to gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.errors import LLMError
from ipyllm.settings import cached_settings

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SizeBounds", "too_large"]

_BYTES_PER_MB: Final = 1_000_000


class SizeBounds(NamedTuple):
    """The most bytes that are read of a response, after decompression.

    Attributes
    ----------
    answer : int
        Of one answer, with all that comes with it.
    event : int
        Of one event of a stream, or of a list of models.
    error : int
        Of the body of an error; the rest of it is not read.
    """

    answer: int
    event: int
    error: int

    @classmethod
    def current(cls) -> Self:
        """Return those of the settings, such as ``IPYLLM_MAX_ANSWER_MB``."""
        settings = cached_settings()
        return cls(
            round(settings.max_answer_mb * _BYTES_PER_MB),
            round(settings.max_event_mb * _BYTES_PER_MB),
            round(settings.max_error_mb * _BYTES_PER_MB),
        )


def too_large(what: str, n_bytes: int, setting: str, model: str) -> LLMError:
    """Return the error of a response of which more than ``n_bytes`` have come.

    Examples
    --------
    >>> str(too_large("in one answer", 64_000_000, "max_answer_mb", "lab/m")).partition("; ")[0]
    'lab/m sent more than 64 MB in one answer'
    """
    return LLMError(
        f"{model} sent more than {n_bytes / _BYTES_PER_MB:g} MB {what}; the rest was not read. If that is as it should "
        f"be, set IPYLLM_{setting.upper()} to allow more.",
        category="api_error",
        model=model,
        is_lasting=True,
    )

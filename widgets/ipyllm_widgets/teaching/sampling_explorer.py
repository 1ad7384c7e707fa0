"""``SamplingExplorer``: what temperature, top-k, top-p and min-p make of one recorded distribution."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.prediction.distribution import Distribution, distribution_in, record_distribution
from ipyllm.prediction.sampling import SamplingSettings, draw, sample_distribution
from ipyllm.rendering.token_view import percent, token_label
from ipyllm.response import ChatResponse
from ipyllm.text.format import count, shorten
from ipyllm_widgets import modules
from ipyllm_widgets.teaching.bar_picture import BarPicture, BarRow, Piece, figures_table
from ipyllm_widgets.teaching.teaching_widget import TeachingWidget

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["SamplingExplorer"]

_SHOWN: Final = 12  # tokens with a bar
_TOKEN_CHARS: Final = 40  # of a token in the page
_BEFORE_CHARS: Final = 40
_LEGEND: Final = (("light", "probability that the model gives"), ("solid", "with these settings"), ("gone", "removed"))


class SamplingExplorer(TeachingWidget):
    """How a token is chosen: sliders for temperature, top-k, top-p and min-p over one recorded distribution.

    The distribution is recorded once; moving a slider asks the model for nothing. The filters act in llama.cpp's order
    (top-k, top-p, min-p, then temperature), or with the temperature first, as in Transformers.

    Parameters
    ----------
    source : str, ChatResponse or Distribution
        A text that an embedded model continues, as it is; or the answer of any model to a call with ``logprobs=20``.
    model : str, optional
        An embedded model, for a text; by default, the default model.
    position : int
        The token of an answer, from 0.
    temperature, top_k, top_p, min_p, temperature_first, draws, seed : optional
        Where the controls are at first, as in :class:`~ipyllm.prediction.sampling.SamplingSettings`.

    Attributes
    ----------
    distribution : Distribution
        What was recorded.
    remaining : DataFrame
        What the settings leave of it.

    Raises
    ------
    LLMError
        ``bad_request``: an empty text, a model that is not embedded, a response without log probabilities, or a setting
        out of its range.

    Examples
    --------
    >>> from ipyllm import SamplingExplorer
    >>> explorer = SamplingExplorer("The capital of France is", "local/smollm2-135m", top_k=2)
    >>> explorer.remaining["token"].to_list()
    [' Paris', ' the']
    >>> explorer.adjust(top_k=0, min_p=0.5)
    >>> explorer.remaining["token"].to_list()
    [' Paris']
    """

    _esm = modules.script("teaching/sampling_explorer.js")
    _css = modules.styles("widget.css", "teaching/teaching.css")

    def __init__(
        self, source: str | ChatResponse | Distribution, model: str | None = None, *, position: int = 0, **settings: Any
    ) -> None:
        names = {field.name for field in fields(SamplingSettings)}
        if wrong := [name for name in settings if name not in names]:
            raise bad_request(f"There is no control {wrong[0]!r}. SamplingExplorer has {', '.join(sorted(names))}.")
        start = asdict(SamplingSettings(**settings))
        if isinstance(source, ChatResponse):
            source = distribution_in(source, position)
        elif not isinstance(source, Distribution):
            source = record_distribution(source, model)
        self.distribution: Distribution = source
        super().__init__(start)

    def __repr__(self) -> str:
        return f"SamplingExplorer({self.distribution!r})"

    @property
    def remaining(self) -> pd.DataFrame:
        """The tokens that the current settings leave, the most likely first.

        ``token``; ``recorded``, the probability that the model gave; ``probability`` with the settings; ``drawn``, how
        often it came in the draws.
        """
        import pandas as pd

        kept, drawn = self._computed()
        recorded = self._recorded()[: len(kept)]
        columns = {"token": self.distribution.texts[: len(kept)], "recorded": recorded, "probability": kept}
        return pd.DataFrame({**columns, "drawn": drawn})

    def _computed(self) -> tuple[list[float], list[int]]:
        settings = SamplingSettings(**self._settings)
        kept = sample_distribution(self.distribution.logprobs, settings)
        return kept, draw(kept, settings.draws, settings.seed)

    def _recorded(self) -> list[float]:
        return sample_distribution(self.distribution.logprobs, SamplingSettings())

    def _payload(self) -> dict[str, Any]:
        found = self.distribution
        return {
            "before": found.before[-200:],
            "model": found.model,
            "isWhole": found.is_whole,
            "texts": [token_label(text)[:_TOKEN_CHARS] for text in found.texts],
            "logprobs": [round(value, 5) for value in found.logprobs],
        }

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        return asdict(SamplingSettings(**settings))

    def _picture(self) -> BarPicture:
        found, settings = self.distribution, SamplingSettings(**self._settings)
        before = shorten(found.before[-_BEFORE_CHARS:].lstrip(), _BEFORE_CHARS)
        title = f"Next token after “{before}” · {found.model} · {_words(settings)}"
        return BarPicture(title, tuple(row.bar() for row in self._rows()), _LEGEND)

    def _table(self) -> str:
        heads = ("token", "recorded", "with these settings", f"drawn, of {self._settings['draws']:,}")
        return figures_table(heads, (row.cells() for row in self._rows()), self._summary())

    def _rows(self) -> Iterator[_TokenRow]:
        kept, drawn = self._computed()
        recorded, texts = self._recorded(), self.distribution.texts
        shown = min(_SHOWN, len(texts))
        for index in range(shown):
            remains = index < len(kept)
            after, n = (kept[index], drawn[index]) if remains else (None, 0)
            yield _TokenRow(token_label(texts[index])[:_TOKEN_CHARS], recorded[index], after, n)
        if others := len(texts) - shown:
            after = sum(kept[shown:]) if len(kept) > shown else None
            yield _TokenRow(f"{others:,} others", sum(recorded[shown:]), after, sum(drawn[shown:]))

    def _summary(self) -> str:
        kept, _ = self._computed()
        total = len(self.distribution.texts)
        share = percent(sum(self._recorded()[: len(kept)]))
        told = "" if self.distribution.is_whole else " that the server told"
        remain = "remains; the model gave it" if len(kept) == 1 else "remain; the model gave them"
        return f"{len(kept):,} of {count(total, 'token')}{told} {remain} {share}."


@dataclass(frozen=True, slots=True)
class _TokenRow:
    """A token, or all the others: its probability before and after (None if it is removed), how often it was drawn."""

    label: str
    recorded: float
    kept: float | None
    drawn: int

    def bar(self) -> BarRow:
        pieces = [Piece("gone", 0, self.recorded)]
        if self.kept is not None:
            pieces = [Piece("solid", 0, self.kept), Piece("light", 0, self.recorded, is_thin=True)]
        return BarRow(self.label, pieces, f"{percent(self.recorded)} → {self._after()}, {self.drawn}×")

    def cells(self) -> tuple[str, str, str, str]:
        return self.label, percent(self.recorded), self._after(), f"{self.drawn:,}"

    def _after(self) -> str:
        return "removed" if self.kept is None else percent(self.kept)


def _words(settings: SamplingSettings) -> str:
    words = [f"temperature {settings.temperature:g}{' first' if settings.temperature_first else ''}"]
    words += [f"top-k {settings.top_k}"] if settings.top_k else []
    words += [f"top-p {settings.top_p:g}"] if settings.top_p < 1 else []
    words += [f"min-p {settings.min_p:g}"] if settings.min_p else []
    return ", ".join(words)

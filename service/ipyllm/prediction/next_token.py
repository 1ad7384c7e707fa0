"""The distribution of the next token, at one or more temperatures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ipyllm.embedded.native_api import ask_server
from ipyllm.errors import bad_request
from ipyllm.prediction.embedded_model import decode_token, server_of
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.embedded.server import EmbeddedServer

__all__ = ["as_temperature", "next_token"]

_HIGHEST: Final = 10.0
_RAW: Final[dict[str, Any]] = {"n_predict": 1, "cache_prompt": True, "samplers": ["temperature"]}


def next_token(
    prompt: str, model: str | None = None, *, top: int = 10, temperature: float | Iterable[float] = 1.0
) -> pd.DataFrame:
    """Return the most likely next tokens after a text, with their probabilities.

    Parameters
    ----------
    prompt : str
        The text that the model would continue, as it is: no question of a chat.
    model : str, optional
        An embedded model; by default, the default model.
    top : int
        How many tokens, by their probability at temperature 1.
    temperature : float or iterable of float
        One column for each, ``t=0.7``; at 0, the most likely token has all.

    Returns
    -------
    DataFrame
        One row for each token, the most likely first: ``token``, its ``id``, and the probability by temperature, among
        all tokens of the vocabulary. ``ipyllm.plots.next_token_bars`` draws it.

    Raises
    ------
    LLMError
        ``bad_request``: an empty prompt, or a model that is not embedded.

    Notes
    -----
    llama.cpp computes all of the probabilities. Nothing is written to the ledger: no answer was asked for.

    Examples
    --------
    >>> table = next_token("The capital of France is", temperature=[0, 1], top=3)
    >>> table[["token", "t=0"]].values.tolist()[0]
    [' Paris', 1.0]
    >>> bool(table["t=1"].iloc[0] > 0.5)
    True
    """
    import pandas as pd

    if not isinstance(prompt, str) or not prompt:
        raise bad_request("next_token needs a text to continue.")
    top = validate_int("top", top, 1)
    given = temperature if isinstance(temperature, Iterable) else [temperature]
    temperatures = list(dict.fromkeys(as_temperature(value) for value in given))
    if not temperatures:
        raise bad_request("next_token needs at least one temperature.")
    server = server_of(model, "next_token")
    first = ask_server(server, "/completion", {"prompt": prompt, **_RAW, "temperature": 1.0, "n_probs": top})
    rows = first["completion_probabilities"][0]["top_logprobs"][:top]
    table = pd.DataFrame({"token": [decode_token(row["bytes"]) for row in rows], "id": [row["id"] for row in rows]})
    at_1 = [math.exp(row["logprob"]) for row in rows]
    for value in temperatures:
        found = at_1 if value == 1 else _probabilities(server, prompt, value, list(table["id"]))
        table[f"t={value:g}"] = found
    table.attrs = {"prompt": prompt, "model": f"local/{server.model_name}"}
    return table


def as_temperature(value: Any) -> float:
    """Return a temperature as a float; raise ``bad_request`` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _HIGHEST:
        raise bad_request(f"A temperature must be a number between 0 and {_HIGHEST:g}, not {value!r}.")
    return float(value)


def _probabilities(server: EmbeddedServer, prompt: str, temperature: float, ids: list[int]) -> list[float]:
    """Return the probabilities of tokens, most likely first: a temperature does not change their order."""
    if temperature == 0:
        return [1.0, *[0.0] * (len(ids) - 1)]
    body = {"prompt": prompt, **_RAW, "temperature": temperature, "n_probs": len(ids), "post_sampling_probs": True}
    found = ask_server(server, "/completion", body)["completion_probabilities"][0]["top_probs"]
    by_id = {row["id"]: float(row["prob"]) for row in found}
    return [by_id.get(id_, float("nan")) for id_ in ids]

"""Continuations of a text, drawn several times: how far they agree, and where they part."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipyllm.embedded.native_api import ask_server
from ipyllm.errors import bad_request
from ipyllm.prediction.embedded_model import decode_token, server_of
from ipyllm.prediction.next_token import as_temperature
from ipyllm.validate import validate_int

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.embedded.server import EmbeddedServer

__all__ = ["sample_paths"]

_MOST_TOKENS: Final = 50


def sample_paths(
    prompt: str, model: str | None = None, *, n: int = 20, tokens: int = 3, temperature: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Draw ``n`` continuations of a text, and count how often each came.

    Parameters
    ----------
    prompt : str
        The text that the model continues, as it is.
    model : str, optional
        An embedded model; by default, the default model.
    n : int
        How many continuations.
    tokens : int
        Their length.
    temperature : float
        Nothing else limits the choice: no ``top_p``, no ``top_k``.
    seed : int
        The continuation ``i`` is drawn with the seed ``seed + i``.

    Returns
    -------
    DataFrame
        One row for each different continuation, the most frequent first: ``text``, its ``tokens``, their
        ``probabilities`` at this temperature, ``n``, and the ``probability`` of the whole. ``ipyllm.plots.token_tree``
        draws it.

    Raises
    ------
    LLMError
        ``bad_request``: an empty prompt, or a model that is not embedded.

    Examples
    --------
    >>> paths = sample_paths("The capital of France is", n=4, tokens=2, temperature=0)
    >>> paths[["n", "probability"]].values.tolist()
    [[4.0, 1.0]]
    """
    import pandas as pd

    if not isinstance(prompt, str) or not prompt:
        raise bad_request("sample_paths needs a text to continue.")
    n, tokens = validate_int("n", n, 1), validate_int("tokens", tokens, 1)
    if tokens > _MOST_TOKENS:
        raise bad_request(
            f"tokens must be at most {_MOST_TOKENS}, not {tokens}: longer paths hardly share a beginning."
        )
    seed, temperature = validate_int("seed", seed, 0), as_temperature(temperature)
    server = server_of(model, "sample_paths")
    # One after the other: llama.cpp computes several at once with other rounding, and other draws.
    drawn = [_draw(server, prompt, tokens, temperature, seed + number) for number in range(n)]
    counts = Counter(path for path, _ in drawn)
    chances = dict(drawn)
    rows = []
    for path, count in counts.most_common():
        whole = 1.0
        for chance in chances[path]:
            whole *= chance
        text = b"".join(path).decode("utf-8", "backslashreplace")
        rows.append((text, [decode_token(token) for token in path], list(chances[path]), count, whole))
    table = pd.DataFrame(rows, columns=["text", "tokens", "probabilities", "n", "probability"])
    table.attrs = {"prompt": prompt, "model": f"local/{server.model_name}", "temperature": temperature}
    return table


def _draw(
    server: EmbeddedServer, prompt: str, n_tokens: int, temperature: float, seed: int
) -> tuple[tuple[bytes, ...], tuple[float, ...]]:
    body: dict[str, Any] = {
        "prompt": prompt,
        "n_predict": n_tokens,
        "temperature": temperature,
        "samplers": ["temperature"],
        "seed": seed,
        "n_probs": 1,
        "post_sampling_probs": True,
        "cache_prompt": True,
    }
    found = ask_server(server, "/completion", body)["completion_probabilities"]
    path = tuple(bytes(row["bytes"]) for row in found)
    return path, tuple(1.0 if temperature == 0 else float(row["prob"]) for row in found)

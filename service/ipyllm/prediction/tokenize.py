"""Texts as the tokens of models, and their number."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipyllm.embedded.native_api import ask_server
from ipyllm.errors import bad_request
from ipyllm.prediction.embedded_model import decode_token, server_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

__all__ = ["tokenize", "tokens_of"]


def tokenize(text: str, models: str | Iterable[str] | None = None) -> pd.DataFrame:
    r"""Return the tokens of a text, for each model side by side.

    Parameters
    ----------
    text : str
        Any text. It is taken as it is: a chat adds the tokens of its template.
    models : str or iterable of str, optional
        Embedded models, and those of OpenAI where tiktoken is installed (which downloads its tables at first use). By
        default, the default model.

    Returns
    -------
    DataFrame
        Columns ``(model, "token")`` and ``(model, "id")``, one row for each token. Bytes that are half a character are
        written as ``\xf0``. ``attrs["counts"]`` has the number of tokens by model, which is what a bill counts.

    Raises
    ------
    LLMError
        ``bad_request``: a model whose tokens are not known here.

    Examples
    --------
    >>> table = tokenize("Hello wörld", ["local/smollm2-135m"])
    >>> table["local/smollm2-135m"].values.tolist()
    [['Hello', 19556], [' w', 267], ['ör', 29989], ['ld', 400]]
    >>> table.attrs["counts"]
    {'local/smollm2-135m': 4}
    """
    import pandas as pd

    if not isinstance(text, str):
        raise bad_request(f"tokenize needs a text, not {type(text).__name__}.")
    names = [models] if models is None or isinstance(models, str) else list(models)
    if not names:
        raise bad_request("tokenize needs at least one model.")
    columns: dict[tuple[str, str], Any] = {}
    counts = {}
    for name in names:
        model, pieces = _tokens(text, name)
        columns[model, "token"] = pd.Series([piece for piece, _ in pieces], dtype="object")
        columns[model, "id"] = pd.Series([id_ for _, id_ in pieces], dtype="Int64" if len(names) > 1 else "int64")
        counts[model] = len(pieces)
    table = pd.DataFrame(columns)
    table.attrs = {"text": text, "counts": counts}
    return table


def tokens_of(table: Any, column: str | None = None, *, model: str | None = None) -> pd.Series[int]:
    """Return how many tokens each text of a table has, such as before ``llm_map`` asks about all.

    Parameters
    ----------
    table : DataFrame, Series or list of str
        The texts; of a DataFrame, those of ``column``, or of its only column of texts.
    column : str, optional
        Its name.
    model : str, optional
        As of :func:`tokenize`.

    Returns
    -------
    Series
        One count for each row, with the index of the table; what is no text has 0.

    Examples
    --------
    >>> import pandas as pd
    >>> tokens_of(pd.DataFrame({"text": ["Hello", "Hello wörld"]}, index=["a", "b"])).to_dict()
    {'a': 1, 'b': 4}
    """
    import pandas as pd

    texts = _column(table, column) if isinstance(table, pd.DataFrame) else pd.Series(table)
    counts = [len(_tokens(text, model)[1]) if isinstance(text, str) else 0 for text in texts]
    return pd.Series(counts, index=texts.index, name="tokens", dtype="int64")


def _column(table: pd.DataFrame, column: str | None) -> pd.Series[Any]:
    if column is None:
        found = [name for name in table.columns if table[name].map(lambda value: isinstance(value, str)).any()]
        if len(found) != 1:
            raise bad_request(f"Name the column of texts: tokens_of(table, {found[0] if found else 'text'!r}).")
        column = found[0]
    if column not in table.columns:
        raise bad_request(f"There is no column {column!r}; there is {', '.join(map(str, table.columns))}.")
    return table[column]


def _tokens(text: str, model: str | None) -> tuple[str, list[tuple[str, int]]]:
    """Return the full name of a model, and its tokens with their ids."""
    from ipyllm.registry.models import create_llm_service

    service = create_llm_service(model)
    if service.full_name.startswith("openai/"):
        return service.full_name, _openai_tokens(text, service.full_name)
    server = server_of(model, "tokenize")
    found = ask_server(server, "/tokenize", {"content": text, "with_pieces": True, "add_special": False})["tokens"]
    pieces = [
        (piece if isinstance(piece := row["piece"], str) else decode_token(piece), int(row["id"])) for row in found
    ]
    return service.full_name, pieces


def _openai_tokens(text: str, name: str) -> list[tuple[str, int]]:
    try:
        tiktoken: Any = import_module("tiktoken")
    except ImportError:
        raise bad_request(f"The tokens of {name} need tiktoken: pip install tiktoken.", model=name) from None
    model = name.removeprefix("openai/")
    try:
        encoding = tiktoken.encoding_for_model(model)
    except KeyError:
        encoding = None
    except Exception as exc:  # noqa: BLE001 - its download raises errors of several libraries
        raise bad_request(f"tiktoken could not load its table for {name} ({type(exc).__name__}).", model=name) from None
    if encoding is None:
        raise bad_request(f"The installed tiktoken does not know the tokens of {name}; upgrade it.", model=name)
    ids = encoding.encode(text, disallowed_special=())
    return [(decode_token(encoding.decode_single_token_bytes(id_)), id_) for id_ in ids]

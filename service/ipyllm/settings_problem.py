"""Says in a sentence what is wrong with the settings: which one, and what was probably meant. It shows no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from ipyllm.text.format import shorten
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["settings_problem"]

_NEVER_SECRET = (
    *("timeout", "max_retries", "store_text", "resume_conversations", "local_ctx", "cache", "cache_ttl"),
    *("max_cost_usd", "max_answer_mb", "max_event_mb", "max_error_mb"),
)
_SHOWN = 100  # characters of a wrong value
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})


def settings_problem(found: ValidationError, model: type[BaseModel]) -> str:
    """Return a sentence about the first setting of ``model`` that is not as it should be.

    Examples
    --------
    >>> from pydantic import BaseModel, ValidationError
    >>> class Two(BaseModel):
    ...     timeout: float
    >>> try:
    ...     Two(timeout="soon")
    ... except ValidationError as exc:
    ...     settings_problem(exc, Two)
    "Invalid value 'soon' for the setting timeout: input should be a valid number, unable to parse string as a number."
    """
    error = min(found.errors(), key=lambda error: error["type"] not in _UNKNOWN)  # a typo makes two errors
    path = [str(part) for part in error["loc"]]
    setting = ".".join(path) or "settings"
    match error["type"]:
        case kind if kind in _UNKNOWN:
            return f"There is no setting {setting}. {suggest(path[-1], _names_in_table(path[0], model))}"
        case "missing":
            return f"The setting {setting} is missing."
        case "dict_type" | "model_type" | "dataclass_type":
            problem = "it should be a table, such as { name = value }"
        case "value_error":
            problem = error["msg"].removeprefix("Value error, ")
        case _:
            problem = error["msg"].lower()
    # A value is shown only if it cannot contain a key.
    harmless = setting.lower().removeprefix("ipyllm_") in _NEVER_SECRET
    given = f" {shorten(repr(error['input']), _SHOWN)}" if harmless else ""
    return f"Invalid value{given} for the setting {setting}: {problem}."


def _names_in_table(setting: str, model: type[BaseModel]) -> list[str]:
    """Return what a row of ``endpoints``, ``routes``, ``prices`` or ``profiles`` may set."""
    row = get_args(model.model_fields[setting.lower().removeprefix("ipyllm_")].annotation)[-1]
    return [name for name in getattr(row, "model_fields", row.__annotations__) if not name.startswith("_")]

"""``%llm_config``: shows the settings and their sources; changes one for this kernel or in ``config.toml``.

A setting for this kernel is an environment variable of its process, which takes precedence over the file. In
``config.toml`` comments and other settings stay unchanged.
"""

from __future__ import annotations

import ast
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from ipyllm.atomic_file import atomic_write
from ipyllm.registry import models
from ipyllm.settings import Settings, SettingsError, config_file, get_settings
from ipyllm.text.redact import redact
from ipyllm.text.suggest import suggest
from ipyllm.text.text_file import decode_text, read_dotenv, read_settings
from ipyllm.transport.address import without_password
from ipyllm_magics.commands.llm import LLMMagics
from ipyllm_magics.commands.models import check
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["set_for_kernel", "table", "unset"]

_GROUPS = ("aliases", "endpoints", "routes", "prices", "profiles", "prompts")
_before: dict[str, str | None] = {}
"""Values of environment variables before `%llm_config` changed them."""


def table(notebook_defaults: Mapping[str, Any], name: str = "") -> pd.DataFrame:
    """Return one row for each setting, or only for ``name``, keys masked."""
    from ipyllm_magics.display.untruncated_frame import UntruncatedFrame

    settings = get_settings()
    rows = [(field, _display(field, getattr(settings, field)), _source(field)) for field in Settings.model_fields]
    if models.default_model() is not None:
        rows[0] = ("model", str(models.default_model()), "%llm_models use, for this kernel")
    rows.append(_config_file_row())
    rows += [(f"LLMMagics.{key}", redact(repr(value)), "%config") for key, value in notebook_defaults.items()]
    wanted = name.lower().removeprefix("ipyllm_")
    chosen = [row for row in rows if row[0] == wanted] if name else rows
    if not chosen:
        _refuse_default(wanted, "…")
        hint = suggest(name, [row[0] for row in rows], otherwise="%llm_config lists them.")
        raise MagicError(f"There is no setting {name!r}. {hint}")
    return UntruncatedFrame(chosen, columns=["setting", "value", "from"])


def _config_file_row() -> tuple[str, str, str]:
    """Return where the file of settings is, or would be."""
    named = "IPYLLM_CONFIG" if os.environ.get("IPYLLM_CONFIG") else "default"
    file = config_file()
    return "config.toml", str(file), named if file.exists() else f"{named}; there is no such file yet"


def set_for_kernel(name: str, value: str, *, save: bool) -> str:
    """Change a setting for this kernel, and with ``save`` in ``config.toml`` too."""
    group, _, key = _checked_name(name, value).partition(".")
    if group == "model":
        check(value)
    variable = _variable(group)
    parsed = _parse_value(value)
    stored = {**_stored_group(variable), key: parsed} if key else parsed
    _set_if_valid(variable, stored if isinstance(stored, str) else json.dumps(stored))
    if group == "model":
        models.set_default_model(None)  # instead of an earlier `%llm_models use`
    if not save:
        return f"{name} is now {_current_value(group, key)} in this kernel."
    _write_config_file(group, key, parsed)
    return f"{name} is now {_current_value(group, key)}, in this kernel and in {config_file()}."


def unset(name: str) -> str:
    """Restore the value of a setting from before this kernel changed it."""
    group, _, _ = _checked_name(name).partition(".")
    variable = _variable(group)
    if variable not in _before:
        raise MagicError(f"{name} was not changed by %llm_config in this kernel; its source is: {_source(group)}.")
    _set_variable(variable, _before.pop(variable))
    return f"{name} is {_current_value(group, '')} again; its source is: {_source(group)}."


def _refuse_default(name: str, value: str) -> None:
    """Raise an error for a default of the notebook, which is no setting."""
    if name in LLMMagics.class_trait_names(config=True):
        raise MagicError(
            f"{name} is not a setting but a default of this notebook: %config LLMMagics.{name} = {_as_python(value)}"
        )


def _as_python(value: str) -> str:
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value if value == "…" else repr(value)
    return value


def _checked_name(name: str, value: str = "…") -> str:
    """Return the name of a setting that may be changed; API keys may not."""
    group, dot, key = name.partition(".")
    group = group.lower().removeprefix("ipyllm_")
    fields = Settings.model_fields
    if group not in fields:
        _refuse_default(group, value)
        raise MagicError(f"There is no setting {name!r}. {suggest(group, fields)}")
    if dot and (group not in _GROUPS or not key):
        raise MagicError(f"{group} is a single setting; use %llm_config {group} VALUE.")
    if group.endswith("api_key"):
        raise MagicError(f"Don't put keys in a notebook: set {group.upper()} in the environment or in a .env file.")
    if group in _GROUPS and not dot:
        raise MagicError(f"Use %llm_config {group}.NAME VALUE.")
    return f"{group}.{key}" if dot else group


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return f"IPYLLM_{name.upper()}" if alias is None else name.upper()


def _parse_value(text: str) -> Any:
    """Parse JSON objects and arrays; any other text stays as it is."""
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError as exc:
            raise MagicError(f"{text!r} looks like JSON but is not: {exc}.") from None
    return text


def _stored_group(variable: str) -> dict[str, Any]:
    found = json.loads(os.environ.get(variable) or "{}")
    return found if isinstance(found, dict) else {}


def _set_if_valid(variable: str, value: str) -> None:
    """Set a variable, unless the settings refuse the value."""
    before = os.environ.get(variable)
    _set_variable(variable, value)
    try:
        get_settings()
    except SettingsError as exc:
        _set_variable(variable, before)
        raise MagicError(str(exc), "settings") from None
    _before.setdefault(variable, before)


def _set_variable(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _current_value(group: str, key: str) -> str:
    value = getattr(get_settings(), group)
    return _display(group, value[key] if key else value)


def _display(name: str, value: Any) -> str:
    """Return a value as text, without keys and passwords in addresses."""
    if isinstance(value, SecretStr):
        return "(a key, not shown)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_display(name, item)}" for key, item in value.items()) + "}"
    if isinstance(value, BaseModel):
        return _display(name, {key: getattr(value, key) for key in value.model_fields_set})
    text = str(value)
    return redact(without_password(text) if "://" in text else text)


def _source(name: str) -> str:
    """Return the source of a setting; a group may have several."""
    variable = _variable(name)
    found = []
    if variable in _before:
        found.append("%llm_config, for this kernel")
    elif any(other.upper() == variable for other in os.environ):
        found.append(f"environment ({variable})")
    if any(other.upper() == variable for other in read_dotenv()):
        found.append(".env")
    if name in _read_config_file():
        found.append(str(config_file()))
    return " + ".join(found if name in _GROUPS else found[:1]) or "default"


def _read_config_file() -> dict[str, Any]:
    try:
        return tomllib.loads(decode_text(read_settings(config_file())))
    except FileNotFoundError:
        return {}


def _write_config_file(group: str, key: str, value: Any) -> None:
    """Write a setting into the user's file, atomically."""
    import tomlkit

    path = config_file()
    try:
        document = tomlkit.parse(decode_text(read_settings(path))) if path.exists() else tomlkit.document()
        if key:
            document.setdefault(group, tomlkit.table())[key] = value
        else:
            document[group] = _toml_value(group)
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        with atomic_write(path) as file:
            file.write(tomlkit.dumps(document).encode())
        path.chmod(mode)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise MagicError(
            f"The setting was changed in this kernel, but {path} cannot be written: {reason}.", "settings"
        ) from None


def _toml_value(name: str) -> Any:
    """Return a setting as TOML stores it: the parsed value, not its text."""
    value = getattr(get_settings(), name)
    return str(value) if isinstance(value, Path) else value

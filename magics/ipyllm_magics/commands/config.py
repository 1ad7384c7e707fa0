"""``%llm_config``: the settings in force and where each comes from; set one for this kernel, or for good.

A setting for this kernel is an environment variable of its process, which is what the service layer reads first; one
for good is written into the user's ``config.toml``, comments and all else left as they are.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr

from ipyllm.registry import models
from ipyllm.settings import Settings, SettingsError, config_file, get_settings
from ipyllm.text.redact import redact
from ipyllm.transport.address import without_password
from ipyllm_magics.command_line.converters import did_you_mean
from ipyllm_magics.errors import MagicError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["set_here", "table", "unset"]

_GROUPS = ("aliases", "endpoints", "routes", "prices")
_before: dict[str, str | None] = {}
"""What the environment held before `%llm_config` changed it, by variable."""


def table(notebook: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per setting, keys masked.

    Parameters
    ----------
    notebook : mapping
        Defaults that ``%config LLMMagics`` set, by name.
    """
    from ipyllm_magics.display.untruncated_frame import WideFrame

    settings = get_settings()
    rows = [(name, _shown(name, getattr(settings, name)), _source(name)) for name in Settings.model_fields]
    if models.default_model() is not None:
        rows[0] = ("model", str(models.default_model()), "%llm_models use, for this kernel")
    rows += [(f"LLMMagics.{name}", redact(repr(value)), "%config") for name, value in notebook.items()]
    return WideFrame(rows, columns=["setting", "value", "from"])


def set_here(name: str, value: str, *, save: bool) -> str:
    """Set a setting for this kernel, and for good with ``save``."""
    group, _, key = _known(name).partition(".")
    if group == "model":
        models.resolve(value)
    variable = _variable(group)
    read = _value(value)
    stored = {**_in_environment(variable), key: read} if key else read
    _try(variable, stored if isinstance(stored, str) else json.dumps(stored))
    if group == "model":
        models.set_default_model(None)  # what `%llm_models use` said before gives way
    if not save:
        return f"{name} is {_answer(group, key)} in this kernel from now on."
    _write(group, key, read)
    return f"{name} is {_answer(group, key)} from now on, here and in {config_file()}."


def unset(name: str) -> str:
    """Give a setting back to what it was before this kernel set it."""
    group, _, _ = _known(name).partition(".")
    variable = _variable(group)
    if variable not in _before:
        raise MagicError(f"{name} was not set by %llm_config in this kernel; it comes from: {_source(group)}.")
    _put(variable, _before.pop(variable))
    return f"{name} is {_answer(group, '')} again, from: {_source(group)}."


def _known(name: str) -> str:
    """Return the setting's name; a key has no place in a notebook."""
    group, dot, key = name.partition(".")
    group = group.lower().removeprefix("ipyllm_")
    fields = Settings.model_fields
    if group not in fields:
        hint = did_you_mean(group, fields) or f" There are: {', '.join(fields)}."
        raise MagicError(f"There is no setting {name!r}.{hint}")
    if dot and (group not in _GROUPS or not key):
        raise MagicError(f"{group} has no parts; write %llm_config {group} VALUE.")
    if group.endswith("api_key"):
        raise MagicError(
            f"Keys do not belong into a notebook: set {group.upper()} in the environment or in a file .env beside it."
        )
    if group in _GROUPS and not dot:
        raise MagicError(f"Write %llm_config {group}.NAME VALUE.")
    return f"{group}.{key}" if dot else group


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return f"IPYLLM_{name.upper()}" if alias is None else name.upper()


def _value(text: str) -> Any:
    """Read JSON, where it is more than a word."""
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError as exc:
            raise MagicError(f"{text!r} begins like JSON and is none: {exc}.") from None
    return text


def _in_environment(variable: str) -> dict[str, Any]:
    held = os.environ.get(variable)
    found = json.loads(held) if held else {}
    return found if isinstance(found, dict) else {}


def _try(variable: str, value: str) -> None:
    """Set a variable, or leave everything as it was if the settings refuse it."""
    was = os.environ.get(variable)
    _put(variable, value)
    try:
        get_settings()
    except SettingsError as exc:
        _put(variable, was)
        raise MagicError(str(exc), "settings") from None
    _before.setdefault(variable, was)


def _put(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _answer(group: str, key: str) -> str:
    value = getattr(get_settings(), group)
    return _shown(group, value[key] if key else value)


def _shown(name: str, value: Any) -> str:
    """Write a value for people; a key never, nor the password in an address."""
    if isinstance(value, SecretStr):
        return "(a key, not shown)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(name, one)}" for key, one in value.items()) + "}"
    if isinstance(value, BaseModel):
        set_here = {key: getattr(value, key) for key in value.model_fields_set}
        return _shown(name, set_here)
    text = str(value)
    return redact(without_password(text) if "://" in text else text)


def _source(name: str) -> str:
    """Say where a setting comes from; a group may come from several places."""
    variable = _variable(name)
    found = []
    if variable in _before:
        found.append("%llm_config, for this kernel")
    elif any(held.upper() == variable for held in os.environ):
        found.append(f"environment ({variable})")
    if any(held.upper() == variable for held in dotenv_values(".env", encoding="utf-8")):
        found.append(".env")
    if name in _file():
        found.append(str(config_file()))
    return " + ".join(found if name in _GROUPS else found[:1]) or "default"


def _file() -> dict[str, Any]:
    try:
        return tomllib.loads(config_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _write(group: str, key: str, value: Any) -> None:
    """Put a setting into the user's file in one step, or leave the file untouched."""
    import tomlkit

    path = config_file()
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        if key:
            document.setdefault(group, tomlkit.table())[key] = value
        else:
            document[group] = _typed(group)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".config-", delete=False
        ) as written:
            written.write(tomlkit.dumps(document))
        if path.exists():
            Path(written.name).chmod(path.stat().st_mode & 0o777)
        Path(written.name).replace(path)
    except OSError as exc:
        raise MagicError(
            f"It is set in this kernel, but {path} cannot be written: {exc.strerror or exc}.", "settings"
        ) from None


def _typed(name: str) -> Any:
    """Return a setting as TOML has it: the value that was understood, not its text."""
    value = getattr(get_settings(), name)
    return str(value) if isinstance(value, Path) else value

"""Settings: from the environment, then ``.env``, then the user's ``config.toml``, then defaults.

They are read again when one of these changes, so that ``os.environ["OPENAI_API_KEY"] = …`` in a cell takes effect.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import tomllib
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import pydantic_settings
from platformdirs import user_cache_path, user_config_path, user_data_path
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ipyllm.fork_safety import renewed_in_child
from ipyllm.settings_models import EndpointSettings, Price, ProfileSettings, RouteSettings, Source
from ipyllm.settings_problem import settings_problem
from ipyllm.text.redact import redact, remember_secret
from ipyllm.text.suggest import suggest
from ipyllm.text.text_file import decode_text, file_state, is_decoded, read_dotenv, read_settings, unresolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "CERTIFICATE_VARIABLES",
    "DEFAULT_MODEL",
    "Settings",
    "SettingsError",
    "cached_settings",
    "config_file",
    "get_settings",
    "read_once",
]

DEFAULT_MODEL = "local/smollm2-135m"


_MOST_PARTS = 200
"""Of a key in ``config.toml``, which dots divide."""

_TOO_MANY_PARTS = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"]*+"|'[^']*+')\s*+\.\s*+){{{_MOST_PARTS}}}""")

_noted: ContextVar[dict[tuple[str, ...], Source]] = ContextVar("ipyllm_noted_sources")
"""Where each part of the settings that are being read comes from."""


class SettingsError(ValueError):
    """An invalid setting: one sentence that names it."""


def _provider_variable(name: str) -> Any:
    """Return a field that is read from ``name``, the variable that the provider's own tools use."""
    return Field(default=None, validation_alias=AliasChoices(name, name.lower()))


class Settings(BaseSettings):
    """All settings, each given as ``IPYLLM_<NAME>``; those of the providers under their own names.

    Attributes
    ----------
    model : str
        The default model, ``service/model`` or an alias.
    timeout : float or None
        Seconds that connecting, the first token and each gap between tokens may take; None: as long as fits the model.
    max_retries : int
        Further attempts after the first.
    ledger : str
        Path of the SQLite file, or any SQLAlchemy URL.
    store_text : bool
        Whether the ledger stores prompts and answers.
    resume_conversations : bool
        Whether the conversations of a notebook go on after a restart of its kernel.
    models_dir : Path
        Folder of the pulled models.
    local_ctx : int
        Context window of embedded models, in tokens, shared by the calls in flight.
    aliases : dict
        Short names for models.
    endpoints : dict
        OpenAI-compatible servers by name.
    routes : dict
        Fallback chains, A/B splits and pools by name.
    profiles : dict
        What models take, by patterns of their full names.
    ca_file : str
        File or folder with certificates of authorities that are trusted besides the usual ones.
    cache, cache_ttl, cache_path
        Whether the response cache may answer, for how many seconds, and its file.
    max_cost_usd, allow_unknown_price
        Most that this process may spend, and whether calls of unknown price are allowed.
    max_answer_mb, max_event_mb, max_error_mb : float
        Most that is read of one answer, of one event of a stream, and of the body of an error, in MB after
        decompression.
    allow_keys_to : str or None
        Hosts, separated by commas, to which a key may be sent although the address or the key comes from ``.env`` and
        the other does not.
    prices : dict
        Prices by full model name.
    prompts : dict
        Prompts for chats, by name.
    """

    model_config = SettingsConfigDict(
        env_prefix="IPYLLM_",
        extra="ignore",
        populate_by_name=True,
    )

    model: str = DEFAULT_MODEL
    timeout: Annotated[float, Field(gt=0)] | None = None
    max_retries: Annotated[int, Field(ge=0)] = 2
    # Not in the repr, because the URL of a database may have a password.
    ledger: str = Field(default_factory=lambda: str(user_data_path("ipyllm") / "ledger.sqlite"), repr=False)
    store_text: bool = True
    resume_conversations: bool = True
    models_dir: Path = Field(default_factory=lambda: user_data_path("ipyllm") / "models")
    local_ctx: Annotated[int, Field(ge=256)] = 8192
    cache: bool = False
    cache_ttl: Annotated[float, Field(gt=0)] | None = None
    cache_path: Path = Field(default_factory=lambda: user_cache_path("ipyllm") / "answers.sqlite")
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None
    allow_unknown_price: bool = False
    max_answer_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 64
    max_event_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16
    max_error_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    allow_keys_to: str | None = None
    prices: dict[str, Price] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    endpoints: dict[str, EndpointSettings] = Field(default_factory=dict)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    profiles: dict[str, ProfileSettings] = Field(default_factory=dict)
    ca_file: str | None = None

    openai_api_key: SecretStr | None = _provider_variable("OPENAI_API_KEY")
    openai_base_url: str | None = _provider_variable("OPENAI_BASE_URL")
    deepseek_api_key: SecretStr | None = _provider_variable("DEEPSEEK_API_KEY")
    deepseek_base_url: str | None = _provider_variable("DEEPSEEK_BASE_URL")
    ollama_host: str | None = _provider_variable("OLLAMA_HOST")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (_DotEnvFile reads it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (Docker secrets are not read)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order: environment, ``.env``, ``config.toml``."""
        return (
            init_settings,
            _NotedSource(env_settings, "the environment"),
            _NotedSource(_DotEnvFile(settings_cls), ".env"),
            _NotedSource(_ConfigFile(settings_cls), "config.toml"),
        )

    _sources: dict[tuple[str, ...], Source] = PrivateAttr(default_factory=lambda: _noted.get({}))

    def source_of(self, *path: str) -> Source | None:
        """Return where a setting, or a part of one, comes from: ``source_of("endpoints", "lab", "base_url")``.

        None for a default.
        """
        return self._sources.get(path)

    def secrets(self) -> list[SecretStr]:
        """Return every key these settings hold, for :func:`ipyllm.text.redact.remember_secret`."""
        keys = [self.openai_api_key, self.deepseek_api_key]
        keys += [endpoint.key() for endpoint in self.endpoints.values()]
        keys += [route.key() for route in self.routes.values()]
        return [key for key in keys if key]


class _NotedSource(PydanticBaseSettingsSource):
    """A source that notes what it gives and no source before it gave."""

    def __init__(self, source: PydanticBaseSettingsSource, name: Source) -> None:
        super().__init__(source.settings_cls)
        self._source = source
        self._name: Source = name

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)  # pragma: no cover - the source is read in __call__

    def __call__(self) -> dict[str, Any]:
        values = self._source()
        if self._name == ".env" and "allow_keys_to" in values:
            raise SettingsError(
                "IPYLLM_ALLOW_KEYS_TO in .env does not count: it says where your keys may be sent, and a .env file may "
                "come with a folder. Set it in the environment or in config.toml."
            )
        noted = _noted.get({})
        for path, value in _paths(values):
            if isinstance(value, str) and "\0" in value:
                raise SettingsError(f"The setting {'.'.join(path)} of {self._name} has a NUL character: remove it.")
            noted.setdefault((path[0].lower(), *path[1:]), self._name)
        return values


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        yield (name,), value
        if isinstance(value, dict):
            yield from (((name, *path), part) for path, part in _paths(value))


class _DotEnvFile(DotEnvSettingsSource):
    """The variables in ``.env``, in whatever encoding; a setting of ours that is not text is an error."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        try:
            variables = {name.lower(): value for name, value in read_dotenv().items()}
        except ValueError as exc:
            raise SettingsError(f"The settings in .env cannot be read: {exc}.") from None
        for field, info in self.settings_cls.model_fields.items():
            name = f"ipyllm_{field}" if info.validation_alias is None else field
            if not is_decoded(variables.get(name)):
                raise SettingsError(f"{name.upper()} in .env is not UTF-8 text. Save the file as UTF-8.")
            if reference := unresolved(variables.get(name)):
                raise SettingsError(
                    f"{name.upper()} in .env takes {reference}, which .env does not set. Variables of the environment "
                    "are not put into it, because a .env file may come with a folder: write the value there."
                )
        return {name: value for name, value in variables.items() if is_decoded(value)}


class _ConfigFile(PydanticBaseSettingsSource):
    """The user's ``config.toml``. An unknown name is an error, because silence would hide a typo."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False  # pragma: no cover - the whole file is read in __call__

    def __call__(self) -> dict[str, Any]:
        path = config_file()
        try:
            values = _parsed(decode_text(read_settings(path)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise SettingsError(f"The settings in {path} cannot be read: {reason}.") from None
        known = sorted(self.settings_cls.model_fields)
        for name in values:
            if name not in known:
                raise SettingsError(f"{path} sets {name!r}, which is not a setting. {suggest(name, known)}")
        return values


def _parsed(text: str) -> dict[str, Any]:
    """Return the values of a TOML file; raise ValueError for what is none, or would take minutes to read."""
    for number, line in enumerate(text.split("\n"), 1):
        if _TOO_MANY_PARTS.search(line):  # the time of a dotted key grows with the square of its parts
            raise ValueError(f"line {number} has a key of more than {_MOST_PARTS} parts, which no setting needs")
    return tomllib.loads(text)


def config_file() -> Path:
    """Return the path of the user's ``config.toml`` (or of the file that ``IPYLLM_CONFIG`` names).

    Raises SettingsError if its home folder is not known.
    """
    named = os.environ.get("IPYLLM_CONFIG")
    if not named:
        return _default_config_file()
    if not named.startswith("~"):
        return _path(named)
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise SettingsError(f"IPYLLM_CONFIG is {named!r}, and the home folder in it is not known.") from None


@lru_cache(maxsize=1)
def _path(named: str) -> Path:
    return Path(named)


@cache
def _default_config_file() -> Path:
    return user_config_path("ipyllm") / "config.toml"


CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables of OpenSSL, then those of requests and curl. While the settings are the same object, so are these."""

_PROVIDER_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", "OLLAMA_HOST")
_lock = renewed_in_child(threading.Lock())
_cached: tuple[object, Settings] | None = None
_checked_s = 0.0  # when the cached settings were last found up to date
_CACHED_FOR_S = 0.05
_variables: frozenset[str | bytes] = frozenset()
_uses_cached: ContextVar[int] = ContextVar("ipyllm_uses_cached_settings", default=0)
"""The thread in which the cached settings are used: not one to which a context is copied."""


def use_cached_settings() -> None:
    """Use the settings as they were last read, without checking for changes, in this thread and context."""
    _uses_cached.set(threading.get_ident())


@contextmanager
def read_once(max_age_s: float = 0.0) -> Iterator[None]:
    """Use the same settings in the whole block: each look for changes costs.

    They are read now, or were up to date at most ``max_age_s`` seconds ago.
    """
    cached_settings(max_age_s)
    token = _uses_cached.set(threading.get_ident())
    try:
        yield
    finally:
        _uses_cached.reset(token)


def _environ() -> Mapping[Any, str | bytes]:
    """Return the environment. It is no variable, because a traceback may show what is in one: all keys."""
    # The dict below `os.environ`, of bytes but on Windows: the mapping takes ten times as long to be looked through.
    below: object = vars(os.environ).get("_data")
    if isinstance(below, dict):
        return below
    return os.environ if sys.platform == "win32" else os.environb


def _fingerprint() -> object:
    """Return everything the settings depend on. Every call compares it, so it must be cheap."""
    global _variables
    if not _variables:
        own = [f"IPYLLM_{name.upper()}" for name in Settings.model_fields]
        names = ("IPYLLM_CONFIG", *own, *_PROVIDER_VARIABLES, *CERTIFICATE_VARIABLES)
        _variables = frozenset(names if sys.platform == "win32" else map(os.fsencode, names))
    # Hashes, because keys are among the values, and a traceback may show the variables of frames.
    given = {name: hash(_environ().get(name)) for name in _variables.intersection(_environ())}
    return given, file_state(".env"), file_state(config_file())


def cached_settings(max_age_s: float = _CACHED_FOR_S) -> Settings:
    """Return the settings as they were at most ``max_age_s`` seconds ago, without checking for changes since."""
    return get_settings() if _cached is None or monotonic() - _checked_s > max_age_s else _cached[1]


def get_settings() -> Settings:
    """Return the current settings; raise :class:`SettingsError`, which names the setting and what is wrong with it."""
    global _cached, _checked_s
    if _cached is not None and _uses_cached.get() == threading.get_ident():
        return _cached[1]
    with _lock:
        now_s = monotonic()
        fingerprint = _fingerprint()
        if _cached is not None and _cached[0] == fingerprint:
            _checked_s = now_s
            return _cached[1]
        settings = _read()
        if isinstance(settings, str):  # raised here: the frames that read the settings have all values as variables
            raise SettingsError(redact(settings))
        for secret in settings.secrets():
            remember_secret(secret)
        _cached, _checked_s = (fingerprint, settings), now_s
        return settings


def _read() -> Settings | str:
    """Return the settings, or a sentence that says what is wrong with them."""
    token = _noted.set({})
    try:
        return Settings()
    except ValidationError as exc:
        return settings_problem(exc, Settings)
    except pydantic_settings.SettingsError as exc:  # an environment variable that should be JSON and is not
        return f"The settings cannot be read: {exc}. The value must be JSON."
    except SettingsError as exc:
        return str(exc)
    except RecursionError:
        return "The settings cannot be read: a value is nested too deeply."
    finally:
        _noted.reset(token)

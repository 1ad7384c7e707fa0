"""``%llm_models``: lists the usable models with window and price, sets the default, downloads embedded models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm import embedded
from ipyllm.errors import LLMError
from ipyllm.registry import models
from ipyllm.services.service_rows import service_rows
from ipyllm.settings import get_settings
from ipyllm_magics.errors import Interrupted, in_words_of_magics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from ipyllm.registry.discovery import ProbeResult
    from ipyllm.services.base import BaseLLMService

__all__ = ["check", "pull", "table", "use"]

_MAX_LISTED = 12  # models of one server, without --all
_COLUMNS = ("model", "state", "window", "input_usd_per_mtok", "output_usd_per_mtok", "retires", "note")


def table(*, timeout_s: float, everything: bool) -> pd.DataFrame:
    """Return a table with one row for each model."""
    import pandas as pd

    from ipyllm.registry.discovery import probe
    from ipyllm_magics.display.untruncated_frame import UntruncatedFrame

    settings = get_settings()
    services = [
        name
        for name in models.service_names()
        if name != "local" and name not in settings.routes and models.is_configured(name)
    ]
    try:
        reached = probe(services, timeout_s=timeout_s)
    except KeyboardInterrupt:
        raise Interrupted("the lists of the servers are incomplete and not shown.") from None
    frame = UntruncatedFrame(list(_rows(reached, everything=everything)), columns=list(_COLUMNS))
    frame["window"] = frame["window"].astype("Int64")
    prices = ["input_usd_per_mtok", "output_usd_per_mtok"]
    frame[prices] = frame[prices].astype("float64")
    assert isinstance(frame, pd.DataFrame)  # a subclass, because its rows hold untrusted names: see CallsFrame
    return frame


def _rows(reached: Iterable[ProbeResult], *, everything: bool) -> Iterator[dict[str, Any]]:
    default = _default_name()
    yield from _embedded_models(default)
    settings = get_settings()
    for server in reached:
        if server.error is not None and server.name in service_rows() and server.name not in settings.endpoints:
            if server.service is not None and server.service.domain is not None:
                note = in_words_of_magics(str(server.error))
                yield {"model": f"{server.name}/…", "state": "unreachable", "note": note}
            # else: a server of one's own that does not run, or an address that is not set
        elif server.error is not None:
            state = "unusable" if server.service is None else "unreachable"
            if server.error.category == "authentication":  # without a status nothing was sent, because there is no key
                state = "no key" if server.error.status_code is None else "refused"
            note = in_words_of_magics(str(server.error))
            yield {"model": _mark_default(f"{server.name}/…", default), "state": state, "note": note}
        else:
            yield from _listed_models(server, default, everything=everything)
    for name, route in sorted(settings.routes.items()):
        yield {"model": _mark_default(name, default), "state": "route", "note": f"{type(route).__name__}".lower()}
    for alias, target in settings.aliases.items():
        yield {"model": alias, "state": "alias", "note": f"for {target}"}


def _embedded_models(default: str) -> Iterator[dict[str, Any]]:
    for model in embedded.catalogue_names():
        path = embedded.find(model)
        if not embedded.is_installed():
            state, note = "not installed", 'pip install "ipyllm[local]"'
        elif path is None:
            state, note = "not pulled", f"%llm_models pull {model} ({embedded.CATALOGUE[model].needs})"
        else:
            state, note = ("loaded" if embedded.is_running(path) else "ready"), _without_home(path)
        figures = _figures(models.create_llm_service(f"local/{model}"))
        yield {"model": _mark_default(f"local/{model}", default), "state": state, **figures, "note": note}
    if default.startswith("local/") and default.removeprefix("local/") not in embedded.catalogue_names():
        service = models.create_llm_service(default)
        note = default.removeprefix("local/")
        yield {"model": f"{default} (default)", "state": "file", **_figures(service), "note": note}


def _without_home(path: Path) -> str:
    """Return a path with ``~`` for the home folder: a notebook that is sent to others does not say whose it was."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def _listed_models(server: ProbeResult, default: str, *, everything: bool) -> Iterator[dict[str, Any]]:
    """Yield rows of a service that answered: first the default and its known models, then others up to the limit."""
    assert server.service is not None
    origin = f"at {server.service.address().host}, answered in {server.elapsed_s:.2f} s"
    listed = list(server.models)
    default_model = default.removeprefix(f"{server.name}/") if default.startswith(f"{server.name}/") else ""
    if default_model and default_model not in listed:
        listed.insert(0, default_model)
    first = [name for name in listed if name == default_model or name in server.service.known_models]
    ordered = first + sorted(name for name in listed if name not in first)
    shown = ordered if everything else ordered[:_MAX_LISTED]
    for name in shown:
        state = "reachable" if name in server.models else "not listed by its server"
        figures = _figures(models.create_llm_service(f"{server.name}/{name}"))
        yield {"model": _mark_default(f"{server.name}/{name}", default), "state": state, **figures, "note": origin}
    if not ordered:
        yield {"model": f"{server.name}/…", "state": "reachable", "note": f"{origin}, and has no models"}
    elif len(shown) < len(ordered):
        yield {"model": f"{server.name}/…", "state": "reachable", "note": f"{len(ordered) - len(shown)} more: --all"}


def _figures(service: BaseLLMService) -> dict[str, Any]:
    """Return window, price and retirement date, None where unknown."""
    price, told = service.price(), service.listed_model()
    return {
        "retires": (told.retires if told is not None else None) or service.profile.retires,
        "window": service.context_window(),
        "input_usd_per_mtok": price.input_usd_per_mtok if price is not None else None,
        "output_usd_per_mtok": price.output_usd_per_mtok if price is not None else None,
    }


def _default_name() -> str:
    """Return the full name of the default model; empty if it does not exist, which each call reports."""
    try:
        return models.create_llm_service().full_name
    except LLMError:
        return ""


def _mark_default(model: str, default: str) -> str:
    is_default = model == default or (model.endswith("/…") and default.startswith(model[:-1]))
    shown = default if is_default else model
    return f"{shown} (default)" if is_default else shown


def check(name: str) -> BaseLLMService:
    """Return the service of a model that is to be the default, or raise an error: now, not at the first call."""
    service = models.create_llm_service(name)
    if service.name == "local":
        service.check()
    return service


def use(name: str) -> str:
    """Set the default model of this kernel."""
    service = check(name)
    models.set_default_model(service.full_name)
    return f"The default model is now {service.full_name}."


def pull(name: str) -> str:
    """Download an embedded model."""
    model = name.removeprefix("local/")
    try:
        path = embedded.pull_with_progress(model)
    except KeyboardInterrupt:
        raise Interrupted(f"the download of {model} was stopped; no incomplete file is left.") from None
    return f"local/{model} is ready: {path}"

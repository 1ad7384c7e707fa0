"""``%llm_models``: what can be used here and now, with its window and price, and how to get the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm import embedded
from ipyllm.errors import LLMError
from ipyllm.registry import models
from ipyllm.settings import get_settings
from ipyllm_magics.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from ipyllm.registry.discovery import ProbeResult
    from ipyllm.services.base import BaseLLMService

__all__ = ["pull", "table", "use"]

_LISTED = 12  # models of one service, unless all are asked for
_COLUMNS = ("model", "state", "window", "input_usd_per_mtok", "output_usd_per_mtok", "note")


def table(*, timeout_s: float, everything: bool) -> pd.DataFrame:
    """Return one row per model that can be named.

    Parameters
    ----------
    timeout_s : float
        Seconds that each server may take to say what it has.
    everything : bool
        Whether to list all models of a server that has many.
    """
    import pandas as pd

    from ipyllm.registry.discovery import probe
    from ipyllm_magics.display.untruncated_frame import WideFrame

    settings = get_settings()
    services = [name for name in models.service_names() if name != "local" and name not in settings.routes]
    try:
        reached = probe(services, timeout_s=timeout_s)
    except KeyboardInterrupt:
        raise Interrupted("the servers were not waited for.") from None
    frame = WideFrame(list(_rows(reached, everything=everything)), columns=list(_COLUMNS))
    frame["window"] = frame["window"].astype("Int64")
    prices = ["input_usd_per_mtok", "output_usd_per_mtok"]
    frame[prices] = frame[prices].astype("float64")
    assert isinstance(frame, pd.DataFrame)  # its rows hold names that strangers gave: see CallsFrame
    return frame


def _rows(reached: Iterable[ProbeResult], *, everything: bool) -> Iterator[dict[str, Any]]:
    default = _default()
    yield from _embedded(default)
    settings = get_settings()
    for one in reached:
        if one.service is None:
            assert one.error is not None
            state = "no key" if one.error.category == "authentication" else "unusable"
            yield {"model": _marked(f"{one.name}/…", default), "state": state, "note": str(one.error)}
        elif one.error is not None:
            state = "no key" if one.error.category == "authentication" else "unreachable"
            yield {"model": _marked(f"{one.name}/…", default), "state": state, "note": str(one.error)}
        else:
            yield from _served(one, default, everything=everything)
    for name, route in sorted(settings.routes.items()):
        yield {"model": _marked(name, default), "state": "route", "note": f"{type(route).__name__}".lower()}
    for alias, target in settings.aliases.items():
        yield {"model": alias, "state": "alias", "note": f"for {target}"}


def _embedded(default: str) -> Iterator[dict[str, Any]]:
    for model in embedded.catalogue_names():
        path = embedded.find(model)
        if path is None:
            state, note = "not pulled", f"%llm_models pull {model}"
        else:
            state, note = ("loaded" if embedded.is_running(path) else "ready"), str(path)
        yield {
            "model": _marked(f"local/{model}", default),
            "state": state,
            **_figures(models.create_llm_service(f"local/{model}")),
            "note": note,
        }
    if default.startswith("local/") and default.removeprefix("local/") not in embedded.catalogue_names():
        service = models.create_llm_service(default)
        note = default.removeprefix("local/")
        yield {"model": f"{default} (default)", "state": "file", **_figures(service), "note": note}


def _served(one: ProbeResult, default: str, *, everything: bool) -> Iterator[dict[str, Any]]:
    """Rows of a service that answered: the default and what it is known for first, then as many as there is room."""
    assert one.service is not None
    where = f"at {one.service.address().host}, answered in {one.elapsed_s:.2f} s"
    listed = list(one.models)
    own = default.removeprefix(f"{one.name}/") if default.startswith(f"{one.name}/") else ""
    if own and own not in listed:
        listed.insert(0, own)
    first = [name for name in listed if name == own or name in one.service.known_models]
    ordered = first + sorted(name for name in listed if name not in first)
    shown = ordered if everything else ordered[:_LISTED]
    for name in shown:
        service = models.create_llm_service(f"{one.name}/{name}")
        state = "reachable" if name in one.models else "not listed by its server"
        yield {"model": _marked(f"{one.name}/{name}", default), "state": state, **_figures(service), "note": where}
    if not ordered:
        yield {"model": f"{one.name}/…", "state": "reachable", "note": f"{where}, and has no models"}
    elif len(shown) < len(ordered):
        yield {"model": f"{one.name}/…", "state": "reachable", "note": f"{len(ordered) - len(shown)} more: --all"}


def _figures(service: BaseLLMService) -> dict[str, Any]:
    """Window and price, where they are known."""
    price = service.price()
    return {
        "window": service.context_window(),
        "input_usd_per_mtok": price.input_usd_per_mtok if price is not None else None,
        "output_usd_per_mtok": price.output_usd_per_mtok if price is not None else None,
    }


def _default() -> str:
    """Name the default model in full; empty when the one that is set does not exist, which each call will say."""
    try:
        return models.create_llm_service().full_name
    except LLMError:
        return ""


def _marked(model: str, default: str) -> str:
    is_default = model == default or (model.endswith("/…") and default.startswith(model[:-1]))
    shown = default if is_default else model
    return f"{shown} (default)" if is_default else shown


def use(name: str) -> str:
    """Make ``name`` the default of this kernel."""
    service = models.create_llm_service(name)
    if service.name == "local":
        embedded.resolve(service.model)  # whether it is there is better said now than at the first call
    models.set_default_model(service.full_name)
    return f"%llm asks {service.full_name} from now on."


def pull(name: str) -> str:
    """Fetch an embedded model."""
    model = name.removeprefix("local/")
    try:
        path = embedded.pull_with_progress(model)
    except KeyboardInterrupt:
        raise Interrupted(f"the pull of {model} was stopped; nothing half-written is left.") from None
    return f"local/{model} is ready: {path}"

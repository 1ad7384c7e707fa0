"""``%llm_models``: what can be used here and now, and how to get the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm import embedded, names
from ipyllm.errors import LLMError
from ipyllm.settings import get_settings
from ipyllm_magics.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["pull", "table", "use"]


def table() -> pd.DataFrame:
    """One row per model or service that can be named."""
    import pandas as pd

    return pd.DataFrame(list(_rows()), columns=["model", "state", "note"])


def _rows() -> Iterator[tuple[str, str, str]]:
    default = _default()
    for model in embedded.catalogue_names():
        path = embedded.find(model)
        if path is None:
            state, note = "not pulled", f"%llm_models pull {model}"
        else:
            state, note = ("loaded" if embedded.is_running(path) else "ready"), str(path)
        yield _marked(f"local/{model}", default), state, note
    settings = get_settings()
    for service in names.service_names():
        if service == "local":
            continue
        endpoint = settings.endpoints.get(service)
        shown = f"{service}/{endpoint.model if endpoint is not None and endpoint.model else '…'}"
        try:
            made = names.create_llm_service(f"{service}/model" if endpoint is not None else service)
            where = f"at {made.address().host}"
        except LLMError as exc:
            state = "no key" if exc.category == "authentication" else "unusable"
            yield _marked(shown, default), state, str(exc)
        else:
            example = f", for example {made.full_name}" if endpoint is None else ""
            yield _marked(shown, default), "configured", where + example
    for alias, target in settings.aliases.items():
        yield alias, "alias", f"for {target}"
    if default.startswith("local/") and default.removeprefix("local/") not in embedded.catalogue_names():
        yield f"{default} (default)", "file", default.removeprefix("local/")


def _default() -> str:
    """Name the default model in full; empty when the one that is set does not exist, which each call will say."""
    try:
        return names.create_llm_service().full_name
    except LLMError:
        return ""


def _marked(model: str, default: str) -> str:
    is_default = model == default or (model.endswith("/…") and default.startswith(model[:-1]))
    shown = default if is_default else model
    return f"{shown} (default)" if is_default else shown


def use(name: str) -> str:
    """Make ``name`` the default of this kernel."""
    service = names.create_llm_service(name)
    if service.name == "local":
        embedded.resolve(service.model)  # whether it is there is better said now than at the first call
    names.use(service.full_name)
    return f"%llm asks {service.full_name} from now on."


def pull(name: str) -> str:
    """Fetch an embedded model."""
    model = name.removeprefix("local/")
    try:
        path = embedded.pull_with_progress(model)
    except KeyboardInterrupt:
        raise Interrupted(f"the pull of {model} was stopped; nothing half-written is left.") from None
    return f"local/{model} is ready: {path}"

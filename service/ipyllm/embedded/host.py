"""The process that holds the model: llama.cpp's own server, started from a job and ended with its parent.

Why a process of its own (measured with xllamacpp 2026.10): ``xllamacpp.Server(…)`` holds the GIL for as long as
it loads, so that the event loop stands still and an interrupt cannot arrive; deleting a Server that has just
started sometimes hangs for ever; a crash in C++ would take the notebook's variables with it; and OpenMP's way
of waiting (``OMP_WAIT_POLICY``, see :func:`ipyllm.embedded.server.start`) can be chosen for a process only.
"""

from __future__ import annotations

import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from ipyllm.embedded.parent_watch import hold

__all__ = ["serve"]


def serve(job: dict[str, Any]) -> None:
    """Load the model, tell the parent where it is served, and stay until the parent is gone.

    Parameters
    ----------
    job : dict
        ``path``, ``alias``, ``api_key``, ``n_ctx``, ``n_parallel``, ``threads``.
    """
    # What the libraries print must not mix with the one line of our answer: it goes where errors go.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    started = time.perf_counter()
    try:
        xllamacpp: Any = import_module("xllamacpp")
        server = xllamacpp.Server(_parameters(xllamacpp, job))
        told = {"address": server.listening_address, "load_s": time.perf_counter() - started}
    except Exception as exc:  # noqa: BLE001 (whatever it is, the parent makes a sentence of it)
        told = {"error": str(exc), "missing": isinstance(exc, ImportError)}
    try:
        print(json.dumps(told), file=answer, flush=True)
    except BrokenPipeError:
        os._exit(1)
    if "error" not in told:
        hold(lambda: None)
    os._exit(0)  # ends the C++ threads without the destructor that may deadlock


def _parameters(xllamacpp: Any, job: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.model_alias = {job["alias"]}  # answers name the model, not a path of this machine
    params.api_keys = [job["api_key"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.offline = True
    params.verbosity = 1  # errors only: why a model does not load

    # A web page must not reach the model: no page has this origin, and the key guards every route but /health.
    params.cors_origins = "http://ipyllm.invalid"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False

    params.n_ctx = job["n_ctx"]
    params.n_parallel = job["n_parallel"]
    params.kv_unified = True  # each slot may use the whole window; otherwise it gets n_ctx / n_parallel
    params.n_batch = 256  # other answers and a stop wait for one batch of somebody's long prompt, not 2048 tokens
    params.cpuparams.n_threads = job["threads"]
    params.cpuparams_batch.n_threads = job["threads"]
    # Fitting a model to the devices' memory loads it twice; a small one fits.
    params.fit_params = Path(job["path"]).stat().st_size > 1 << 30
    return params

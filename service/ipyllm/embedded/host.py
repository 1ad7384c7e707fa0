"""Process that runs llama.cpp's server for one model and exits with its parent.

Reasons for a separate process (measured with xllamacpp 2026.10): ``xllamacpp.Server(…)`` holds the GIL while it loads,
which stops the event loop and interrupts; deleting a Server that has just started sometimes hangs; a crash in C++ would
take the notebook's variables with it; and OpenMP's wait policy (see :func:`ipyllm.embedded.server.start`) is set per
process.
"""

from __future__ import annotations

import json
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from ipyllm.embedded.parent_watch import wait_for_parent_exit

__all__ = ["serve"]


def serve(job: dict[str, Any]) -> None:
    """Load the model of ``job``, report its address to the parent, and run until the parent exits."""
    # Libraries must not print into our report on stdout: their output goes to stderr.
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    started = time.perf_counter()
    try:
        xllamacpp: Any = import_module("xllamacpp")
        server = xllamacpp.Server(_parameters(xllamacpp, job))
        report = {"address": server.listening_address, "load_s": time.perf_counter() - started}
    except Exception as exc:  # noqa: BLE001 - the parent reports it
        report = {"error": str(exc), "missing": isinstance(exc, ImportError)}
    try:
        print(json.dumps(report), file=stdout, flush=True)
    except BrokenPipeError:
        os._exit(1)
    if "error" not in report:
        wait_for_parent_exit()
    os._exit(0)  # ends the C++ threads without the destructor that may deadlock


def _parameters(xllamacpp: Any, job: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.model_alias = {job["alias"]}  # responses name the model, not a local path
    params.api_keys = [job["api_key"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.offline = True
    params.verbosity = 1  # errors only, such as the reason why a model does not load

    # A web page must not reach the model: no page has this origin, and every route but /health needs the key.
    params.cors_origins = "http://ipyllm.invalid"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = False

    params.n_ctx = job["n_ctx"]
    params.n_parallel = job["n_parallel"]
    params.kv_unified = True  # each slot may use the whole window; otherwise it gets n_ctx / n_parallel
    params.n_batch = 256  # small, because other calls and a stop must wait for a batch of a long prompt
    params.cpuparams.n_threads = job["threads"]
    params.cpuparams_batch.n_threads = job["threads"]
    # Fitting a model to the devices' memory loads it twice; a small one fits.
    params.fit_params = Path(job["path"]).stat().st_size > 1 << 30
    return params

"""Servers of embedded models: one llama.cpp server per model file, on loopback, protected by a random key.

The server runs in a separate process (:mod:`ipyllm.embedded.host` explains why) and speaks the OpenAI protocol, so that
calls to an embedded model are like any other calls.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ipyllm.embedded.catalogue import CATALOGUE
from ipyllm.embedded.engine import check_installed
from ipyllm.errors import LLMError
from ipyllm.fork_safety import in_forked_child, never_finalize, renewed_in_child
from ipyllm.text.redact import remember_secret
from ipyllm.text.secrets import as_secret, value_of

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ipyllm.response import Category

__all__ = ["EmbeddedServer", "get", "is_running", "start", "stop_all"]

_MAGIC = b"GGUF"
_SPINS = "10000"  # about 10-100 µs; see the notes of `start`
_RESPONSE_S = 10.0
# The child gets this process's sys.path, which a notebook may have changed.
_BOOTSTRAP = (
    "import json, sys; job = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:] = job.pop('sys_path'); "
    "from ipyllm.embedded.host import serve; serve(job)"
)


class EmbeddedServer:
    """A loaded model and its server. Created by :func:`start` or :func:`get`.

    Attributes
    ----------
    api_key : SecretStr
        The only key that the server accepts; never shown.
    model_name : str
        Name of the model in responses: the catalogue's name, or the file's name without its extension.
    load_s : float
        Seconds until it was ready, process start included.
    n_ctx : int
        Requested context in tokens, shared by the calls in flight.
    context_window : int
        Tokens that one call may use, at most those that the model was trained for.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        address: str,
        api_key: SecretStr,
        model_path: Path,
        n_ctx: int,
        context_window: int,
        load_s: float,
    ) -> None:
        self._process = process
        self._owner = os.getpid()
        self.base_url = f"{address}/v1"
        self.api_key = api_key
        self.model_path = model_path
        self.model_name = _public_name(model_path)
        self.load_s = load_s
        self.n_ctx = n_ctx
        self.context_window = context_window
        # Not at exit, when finalizers come before the handlers that cancel calls: the server ends with this process.
        weakref.finalize(self, _kill, process, self._owner).atexit = False

    def __repr__(self) -> str:
        state = "" if self.alive else ", stopped"
        return f"<EmbeddedServer {self.model_name} at {self.base_url}{state}>"

    @property
    def alive(self) -> bool:
        """Whether the server runs; False in a forked child, which has no access to it."""
        return os.getpid() == self._owner and self._process.poll() is None

    def stop(self) -> None:
        """Kill the server. Calls in flight fail."""
        _kill(self._process, self._owner)


def start(path: Path | str, *, n_ctx: int = 8192, n_parallel: int = 4, threads: int | None = None) -> EmbeddedServer:
    """Load a GGUF file and serve it; wait until it is ready, without holding the GIL.

    ``n_ctx`` tokens of context are shared by up to ``n_parallel`` calls that are served at the same time; more wait in
    the server's queue. By default, one thread for each core computes.

    Raises
    ------
    LLMError
        ``not_found``: no such file, or xllamacpp is not installed. ``bad_request``: llama.cpp cannot load the file.

    Notes
    -----
    llama.cpp's threads wait for one another at every layer. If they spin while they wait (libgomp's default), one busy
    core elsewhere, such as a cell that trains a model, stalls them all: SmolLM2 on 2 shared cores fell from 110 to 3-35
    tokens per second. If they sleep at once, it always runs at 50. If they spin shortly and then sleep, it runs at 115
    on a quiet machine and at 60 beside a busy process.
    """
    path = Path(path).expanduser().resolve()
    _check_file(path)
    check_installed(_public_name(path))
    started = time.perf_counter()
    key = as_secret(secrets.token_urlsafe(32))
    remember_secret(key)
    threads = threads or _cores()
    job = {
        "sys_path": [str(folder) for folder in sys.path],
        "path": str(path),
        "alias": _public_name(path),
        "api_key": key,
        "n_ctx": n_ctx,
        "n_parallel": n_parallel,
        "threads": threads,
    }
    with tempfile.TemporaryFile() as errors:
        process = _spawn(errors)
        try:
            address = _load(process, job, errors, path)
            return EmbeddedServer(
                process,
                address=address,
                api_key=key,
                model_path=path,
                n_ctx=n_ctx,
                context_window=_context_window(address, key) or n_ctx,
                load_s=time.perf_counter() - started,
            )
        except BaseException:  # interrupts included: a half-loaded model must not stay
            _kill(process, os.getpid())
            raise


def _check_file(path: Path) -> None:
    """Refuse a file that is not a model before starting a process."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise _failure(path, f"There is no model file {str(path)!r}.", "not_found") from None
    except OSError as exc:
        raise _failure(path, f"The model file {str(path)!r} cannot be read: {exc.strerror}.") from None
    if magic != _MAGIC:
        raise _failure(path, f"{str(path)!r} is not a GGUF file, the only format that llama.cpp can load.")


def _spawn(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    # A new session: Jupyter sends interrupts to the kernel's process group.
    return subprocess.Popen(  # noqa: S603 - a constant
        [sys.executable, "-P", "-c", _BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        env={"GOMP_SPINCOUNT": _SPINS, **os.environ},
        start_new_session=True,
    )


def _load(process: subprocess.Popen[bytes], job: dict[str, Any], errors: IO[bytes], path: Path) -> str:
    """Send the job to the child, wait until the model is loaded, and return the server's address."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job, default=value_of).encode() + b"\n")
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    process.stdout.close()
    report = json.loads(line) if line.endswith(b"\n") else {"error": _exit_status(process)}
    if "error" not in report:
        return str(report["address"])
    errors.seek(0)
    logged = _reason(errors.read().decode("utf-8", "replace"))
    if report.get("missing"):
        raise _failure(path, f"xllamacpp is installed but cannot be imported: {report['error']}.", "not_found")
    raise _failure(path, f"llama.cpp cannot load {str(path)!r}: {logged or report['error']}.")


def _exit_status(process: subprocess.Popen[bytes]) -> str:
    return f"its process ended with status {process.wait(_RESPONSE_S)}"


def _reason(log: str) -> str:
    """Return llama.cpp's error about a file: the first error of its log, without the prefix.

    Its log thread may write that after the child reports its Python error.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    first = next((line for line in lines if re.match(r"[\d.]+ E ", line)), lines[0] if lines else "")
    return re.sub(r"^[\d.]+ E (?:\w+: )?(?:error loading model: )?", "", first).rstrip(".")


def _context_window(address: str, api_key: SecretStr) -> int | None:
    """Ask the server for its context window. No proxy is used, because it would see the key."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=_RESPONSE_S)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {value_of(api_key)}"})
        meta = json.loads(connection.getresponse().read())["data"][0]["meta"]
        return min(int(meta["n_ctx"]), int(meta["n_ctx_train"]))
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        connection.close()


def _cores() -> int:
    import psutil

    try:
        allowed = len(psutil.Process().cpu_affinity() or [])
    except (AttributeError, psutil.Error):  # macOS has no affinity
        allowed = 0
    physical = psutil.cpu_count(logical=False) or 0
    return max(1, min([n for n in (allowed, physical) if n], default=1))


def _public_name(path: Path) -> str:
    return next((entry.name for entry in CATALOGUE.values() if entry.filename == path.name), path.stem)


def _full_name(path: Path) -> str:
    return f"local/{_public_name(path)}"


def _failure(path: Path, sentence: str, category: Category = "bad_request") -> LLMError:
    return LLMError(sentence, category=category, model=_full_name(path))


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child must not kill its parent's server
    if process.poll() is None:
        process.kill()  # it has nothing to save, and its destructor could hang
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class _ServerTable:
    """Servers of this process by model file, with a lock for each so that none is started twice."""

    def __init__(self) -> None:
        self.table_lock = renewed_in_child(threading.Lock())
        self.locks: dict[Path, threading.Lock] = {}
        self.servers: dict[Path, EmbeddedServer] = {}


_registry = _ServerTable()


def get(path: Path | str, *, n_ctx: int = 8192, n_parallel: int = 4, threads: int | None = None) -> EmbeddedServer:
    """Return the server of a model file, started if necessary. Safe to call from any thread.

    The parameters are those of :func:`start`; only the call that starts the server uses them. A server whose process
    has died is started again.
    """
    key = Path(path).expanduser().resolve()
    registry = _registry
    with registry.table_lock:
        lock = registry.locks.setdefault(key, renewed_in_child(threading.Lock()))
    with lock:
        server = registry.servers.get(key)
        if server is None or not server.alive:
            server = start(key, n_ctx=n_ctx, n_parallel=n_parallel, threads=threads)
            registry.servers[key] = server
        return server


def is_running(path: Path | str) -> bool:
    """Return whether the server of a model file runs, so that :func:`get` returns at once."""
    server = _registry.servers.get(Path(path).expanduser().resolve())
    return server is not None and server.alive


def stop_all() -> None:
    """Kill all servers of this process; :func:`get` starts them again."""
    while _registry.servers:
        _, server = _registry.servers.popitem()
        server.stop()


@in_forked_child
def _forget_servers() -> None:
    """Drop the parent's servers and locks without killing the servers."""
    global _registry
    inherited, _registry = _registry, _ServerTable()
    never_finalize(inherited)
    for server in inherited.servers.values():
        process = server._process  # noqa: SLF001
        process.returncode = 0  # not our child; subprocess would warn
        if process.stdin is not None:
            process.stdin.close()  # or this process would keep the server alive


atexit.register(stop_all)

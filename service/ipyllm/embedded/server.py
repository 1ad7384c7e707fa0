"""Running embedded models: one llama.cpp server per model file, on loopback, behind a random key.

The server lives in a process of its own (:mod:`ipyllm.embedded.host` says why) and speaks the OpenAI protocol,
so that an embedded model takes the same way through the house as any other.
"""

from __future__ import annotations

import atexit
import http.client
import importlib.util
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
from ipyllm.errors import LLMError
from ipyllm.text.redact import remember_secret

if TYPE_CHECKING:
    from ipyllm.response import Category

__all__ = ["EmbeddedServer", "get", "is_running", "start", "stop_all"]

_MAGIC = b"GGUF"
_SPINS = "10000"  # some 10-100 µs; see the notes of `start`
_ANSWER_S = 10.0
# The child's imports come from wherever ours do, also where a notebook has changed sys.path.
_BOOT = (
    "import json, sys; job = json.loads(sys.stdin.buffer.raw.readline()); sys.path[:] = job.pop('sys_path'); "
    "from ipyllm.embedded.host import serve; serve(job)"
)


class EmbeddedServer:
    """A model that is loaded and served. Made by :func:`start` or :func:`get`.

    Attributes
    ----------
    base_url : str
        ``http://127.0.0.1:<port>/v1``.
    api_key : str
        The key that this server alone accepts; never shown.
    model_path : Path
        The GGUF file.
    model_name : str
        What answers call the model: the catalogue's name, or the file's name without its ending.
    load_s : float
        Seconds from the request for it until it was ready, process start included.
    n_ctx : int
        Tokens of context that were asked for, shared by the calls in flight.
    context_window : int
        Tokens that one call may use: no more than the model was trained for.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        address: str,
        api_key: str,
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
        weakref.finalize(self, _end, process, self._owner)

    def __repr__(self) -> str:
        state = "" if self.alive else ", stopped"
        return f"<EmbeddedServer {self.model_name} at {self.base_url}{state}>"

    @property
    def alive(self) -> bool:
        """Whether the server's process runs, as far as the process that started it can see."""
        return os.getpid() == self._owner and self._process.poll() is None

    def stop(self) -> None:
        """End the server and give its memory back. Answers in flight break off."""
        _end(self._process, self._owner)


def start(path: Path | str, *, n_ctx: int = 8192, n_parallel: int = 4, threads: int | None = None) -> EmbeddedServer:
    """Load a model and serve it; blocks until it is ready, without holding the GIL.

    Parameters
    ----------
    path : Path or str
        A GGUF file.
    n_ctx : int
        Tokens of context, shared by the calls in flight.
    n_parallel : int
        Calls that are answered at the same time; more wait in the server's queue.
    threads : int, optional
        Threads that compute; one for each core if not given.

    Raises
    ------
    LLMError
        ``not_found``: no such file, or xllamacpp is not installed. ``bad_request``: not a model that llama.cpp
        can load.

    Notes
    -----
    llama.cpp's threads wait for one another at every layer. If they spin for ever while they wait (libgomp's way by
    itself) one busy core elsewhere, a cell that trains a model, stalls them all: SmolLM2 on 2 shared cores fell from
    110 to 3-35 tokens per second. If they sleep at once they are slow always, at 50. Spinning for a short while first
    gave 115 when the machine was quiet and 60 beside a busy process, so that is what they do.
    """
    path = Path(path).expanduser().resolve()
    _check_file(path)
    if importlib.util.find_spec("xllamacpp") is None:
        raise LLMError(
            'Embedded models need xllamacpp: `pip install "ipyllm[local]"`.',
            category="not_found",
            model=_full_name(path),
        )
    started = time.perf_counter()
    key = secrets.token_urlsafe(32)
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
            address = _hand_over(process, job, errors, path)
            return EmbeddedServer(
                process,
                address=address,
                api_key=key,
                model_path=path,
                n_ctx=n_ctx,
                context_window=_context_window(address, key) or n_ctx,
                load_s=time.perf_counter() - started,
            )
        except BaseException:  # an interrupt too: a half-loaded model must not stay behind
            _end(process, os.getpid())
            raise


def _check_file(path: Path) -> None:
    """Refuse what cannot be a model before a process is started for it."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise _failure(path, f"There is no model file {str(path)!r}.", "not_found") from None
    except OSError as exc:
        raise _failure(path, f"The model file {str(path)!r} cannot be read: {exc.strerror}.") from None
    if magic != _MAGIC:
        raise _failure(path, f"{str(path)!r} is not a GGUF file, the only kind llama.cpp can load.")


def _spawn(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {"GOMP_SPINCOUNT": _SPINS, **os.environ}
    # A session of its own: Jupyter sends its interrupts to the kernel's whole process group.
    return subprocess.Popen(  # noqa: S603 (a constant)
        [sys.executable, "-P", "-c", _BOOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        env=environment,
        start_new_session=True,
    )


def _hand_over(process: subprocess.Popen[bytes], job: dict[str, Any], errors: IO[bytes], path: Path) -> str:
    """Give the child its job, wait until the model is loaded, and return the server's address."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    process.stdout.close()
    told = json.loads(line) if line.endswith(b"\n") else {"error": _last_words(process)}
    if "error" not in told:
        return str(told["address"])
    errors.seek(0)
    logged = _reason(errors.read().decode("utf-8", "replace"))
    if told.get("missing"):
        raise _failure(path, f"xllamacpp is installed but cannot be imported: {told['error']}.", "not_found")
    raise _failure(path, f"llama.cpp cannot load {str(path)!r}: {logged or told['error']}.")


def _last_words(process: subprocess.Popen[bytes]) -> str:
    return f"its process ended with status {process.wait(_ANSWER_S)}"


def _reason(log: str) -> str:
    """Find what llama.cpp says was wrong with a file: the first line of the log, without its frame.

    Examples
    --------
    >>> _reason("0.00.043 E llama_model_load: error loading model: unknown model architecture: 'blama'")
    "unknown model architecture: 'blama'"
    """
    first = next((line for line in log.splitlines() if line.strip()), "")
    return re.sub(r"^[\d.]+ E (?:\w+: )?(?:error loading model: )?", "", first.strip()).rstrip(".")


def _context_window(address: str, api_key: str) -> int | None:
    """Ask the server; straight to loopback, because a proxy that the environment names must not see the key."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=_ANSWER_S)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {api_key}"})
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


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child does not end its parent's server
    if process.poll() is None:
        process.kill()  # nothing to save, and no destructor that could hang
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class _Registry:
    """The servers of this process by model file, with a lock for each so that none is started twice."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[Path, threading.Lock] = {}
        self.servers: dict[Path, EmbeddedServer] = {}


_registry = _Registry()
_inherited: list[_Registry] = []


def get(path: Path | str, *, n_ctx: int = 8192, n_parallel: int = 4, threads: int | None = None) -> EmbeddedServer:
    """Return the server of a model file, starting it if it does not run. Safe to call from any thread.

    The parameters are those of :func:`start`; they count for the call that starts the server. A server whose
    process has died is started anew.
    """
    key = Path(path).expanduser().resolve()
    registry = _registry
    with registry.guard:
        lock = registry.locks.setdefault(key, threading.Lock())
    with lock:
        server = registry.servers.get(key)
        if server is None or not server.alive:
            server = start(key, n_ctx=n_ctx, n_parallel=n_parallel, threads=threads)
            registry.servers[key] = server
        return server


def is_running(path: Path | str) -> bool:
    """Whether :func:`get` would return at once."""
    server = _registry.servers.get(Path(path).expanduser().resolve())
    return server is not None and server.alive


def stop_all() -> None:
    """End every server this process has started; :func:`get` starts them again."""
    while _registry.servers:
        _, server = _registry.servers.popitem()
        server.stop()


def _after_fork_in_child() -> None:
    """Forget the parent's servers without ending them: a lock may be held for ever, and their end is the parent's."""
    global _registry
    inherited, _registry = _registry, _Registry()
    _inherited.append(inherited)  # kept: collecting them would touch processes that are not ours
    for server in inherited.servers.values():
        process = server._process  # noqa: SLF001
        process.returncode = 0  # not our child to wait for; subprocess would warn of it
        if process.stdin is not None:
            process.stdin.close()  # or the server would outlive its owner with us


atexit.register(stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

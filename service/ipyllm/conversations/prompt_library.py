"""Prompts that a person keeps: files of the folders ``prompts``, and the table ``prompts`` of ``config.toml``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.settings import config_file, get_settings
from ipyllm.text.format import count
from ipyllm.text.text_file import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SavedPrompt", "saved_prompts"]

_FOLDER: Final = "prompts"
_MOST_FILES: Final = 500  # of a folder
_MOST_BYTES: Final = 100_000  # of a file


class SavedPrompt(NamedTuple):
    """One prompt.

    Attributes
    ----------
    name : str
        Name of the file without its ending, or name in ``config.toml``.
    text : str
        What is put into the box.
    source : str
        Where it is kept, such as ``prompts/review.md``.
    """

    name: str
    text: str
    source: str


def saved_prompts() -> tuple[list[SavedPrompt], list[str]]:
    """Return the prompts in order of their names, and a sentence about each file that cannot be one.

    Of several with one name, that of the folder ``prompts`` beside the notebook counts first, then that of
    ``config.toml``, then that of the folder ``prompts`` beside ``config.toml``.

    Raises
    ------
    SettingsError
        The settings cannot be read.

    Examples
    --------
    >>> isinstance(saved_prompts()[0], list)
    True
    """
    problems: list[str] = []
    in_settings = (SavedPrompt(name, text, "config.toml") for name, text in get_settings().prompts.items())
    user_folder = config_file().parent / _FOLDER
    found: dict[str, SavedPrompt] = {}
    for prompts in (_read(Path(_FOLDER), problems), in_settings, _read(user_folder, problems)):
        for prompt in prompts:
            if prompt.text:
                found.setdefault(prompt.name, prompt)
    return sorted(found.values(), key=lambda prompt: prompt.name.casefold()), problems


def _read(folder: Path, problems: list[str]) -> Iterator[SavedPrompt]:
    try:
        paths = sorted(islice(folder.glob("*.md"), _MOST_FILES + 1))
    except OSError as exc:
        problems.append(f"The folder {folder} cannot be read: {exc.strerror}.")
        return
    if len(paths) > _MOST_FILES:
        problems.append(f"The folder {folder} has more than {count(_MOST_FILES, 'prompt')}; the others are not listed.")
    for path in paths[:_MOST_FILES]:
        try:
            yield SavedPrompt(path.stem, _text_of_file(path), path.as_posix())
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            problems.append(f"{path} cannot be a prompt: {reason}.")


def _text_of_file(path: Path) -> str:
    if path.resolve().parent != path.parent.resolve():  # a folder from elsewhere must not name files of other places
        raise ValueError("it is a link to another folder")
    if not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES // 1000} kB")
    return decode_text(data).strip()

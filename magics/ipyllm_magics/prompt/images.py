"""``--image``: a file, a URL or a variable becomes the part of a message that carries the image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm import images
from ipyllm.errors import LLMError
from ipyllm.text.suggest import suggest
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.resolve_names import matching_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["image_part"]


def image_part(source: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a message for one ``--image``.

    Examples
    --------
    >>> image_part("https://example.com/cat.png", {})
    {'type': 'image_url', 'image_url': {'url': 'https://example.com/cat.png'}}
    >>> image_part("plot", {"plot": b"GIF89a"})["image_url"]["url"]
    'data:image/gif;base64,R0lGODlh'
    """
    is_variable = source in variables
    if not is_variable and not images.is_address(source) and not _exists(source):
        raise MagicError(f"There is no file or variable {source!r} for --image. {_hint(source, variables)}")
    try:
        if is_variable:
            return images.image_part(variables[source], f"The variable {source!r}")
        what = "--image" if images.is_address(source) else f"The image {source!r}"
        return images.image_part(source, what)
    except LLMError as exc:
        raise MagicError(str(exc)) from None


def _exists(path: str) -> bool:
    try:
        return os.access(Path(path).expanduser(), os.F_OK)
    except (ValueError, RuntimeError):  # a zero byte, a home folder of nobody
        return False


def _hint(text: str, variables: Mapping[str, Any]) -> str:
    folder = Path(text).parent
    known = matching_names(variables, images.is_image)
    try:
        with os.scandir(folder.expanduser()) as entries:
            known += [str(folder / entry.name) for entry in entries if entry.name.lower().endswith(images.SUFFIXES)]
    except (OSError, ValueError, RuntimeError):
        return f"There is no folder {str(folder)!r} either." if str(folder) != "." else ""
    return suggest(text, known, otherwise="Paths are relative to the kernel's folder, which %pwd shows.")

"""Turns ``--image`` (a file, a URL or a variable) into the part of a message that carries the image.

Files and variables are sent inside the message; a URL is passed on for the server to fetch. The type of an image is
read from its first bytes, not from its name.
"""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm.text.suggest import suggest
from ipyllm.text.terminal import strip_control_sequences
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.picture_conversion import (
    array_as_png,
    file_as_png,
    is_array,
    is_cmyk_jpeg,
    is_pillow,
    pillow_as_png,
)
from ipyllm_magics.prompt.resolve_names import matching_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_BYTES", "SUFFIXES", "image_part", "is_image"]

MAX_BYTES = 20_000_000
"""Largest image that a server accepts: 20 MB at OpenAI, less at most others."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")

_TYPES = ("PNG", "JPEG", "GIF", "WebP")
_READ_BY_PILLOW = {"a BMP", "a TIFF"}
_HEAD_BYTES = 32
_OTHER_TYPES = {
    b"BM": "a BMP", b"II*\x00": "a TIFF", b"MM\x00*": "a TIFF", b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP archive",
    b"<svg": "an SVG", b"<?xml": "XML, perhaps an SVG",
}  # fmt: skip


def image_part(source: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a message for one ``--image``.

    Examples
    --------
    >>> image_part("https://example.com/cat.png", {})
    {'type': 'image_url', 'image_url': {'url': 'https://example.com/cat.png'}}
    >>> image_part("plot", {"plot": b"GIF89a"})["image_url"]["url"]
    'data:image/gif;base64,R0lGODlh'
    """
    if source in variables:
        return _part_of_value(variables[source], source)
    return _part_of_text(source, variables)


def is_image(value: Any) -> bool:
    """Return whether ``--image`` accepts the value, without importing a library."""
    return (
        isinstance(value, bytes | bytearray | Path)
        or hasattr(value, "savefig")
        or is_array(value)
        or callable(getattr(value, "_repr_png_", None))
        or (isinstance(value, str) and value.lower().endswith(SUFFIXES))
    ) and not isinstance(value, type)


def _part_of_text(text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    lower = text.lower()
    if lower.startswith("data:"):
        header, comma, body = text.partition(",")
        if not (comma and header.lower().startswith("data:image/") and body):
            raise MagicError(f"--image {shorten(text, 40)}: the data: URL of an image starts with data:image/.")
        if len(body) > MAX_BYTES * 4 // 3:
            raise _too_large("The image in the data: URL", len(body) * 3 // 4)
        return _part(text)
    if lower.startswith(("http://", "https://")):
        if not text.partition("//")[2].strip("/"):
            raise MagicError(f"--image {text!r} is not the URL of an image.")
        return _part(text)
    return _part_of_file(text, variables)


def _part_of_file(text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            raise MagicError(f"--image {text!r} is a folder, not an image.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_large(f"The image {text!r}", size)
        data = path.read_bytes()
    except FileNotFoundError:
        raise MagicError(f"There is no file or variable {text!r} for --image. {_hint(text, path, variables)}") from None
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise MagicError(f"The image {text!r} cannot be read: {reason}.") from None
    return _part_of_bytes(data, f"The file {text!r}")


def _hint(text: str, path: Path, variables: Mapping[str, Any]) -> str:
    known = matching_names(variables, is_image)
    try:
        with os.scandir(path.parent) as entries:
            known += [str(path.parent / entry.name) for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    except OSError:
        return f"There is no folder {str(path.parent)!r} either." if str(path.parent) != "." else ""
    return suggest(text, known, otherwise="Paths are relative to the kernel's folder, which %pwd shows.")


def _part_of_value(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, str | os.PathLike):
        return _part_of_text(os.fspath(value), {})
    if isinstance(value, bytes | bytearray | memoryview):
        return _part_of_bytes(bytes(value), f"The variable {name!r}")
    figure: Any = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if hasattr(figure, "savefig"):
        png_file = io.BytesIO()
        figure.savefig(png_file, format="png", bbox_inches="tight")
        return _part_of_bytes(png_file.getvalue(), f"The figure {name!r}")
    if is_array(value):
        return _part_of_bytes(array_as_png(value, name), f"The array {name!r}")
    if is_pillow(value):
        return _part_of_bytes(pillow_as_png(value, name), f"The image {name!r}")
    png = getattr(value, "_repr_png_", None)  # objects that show themselves as an image
    data = png() if callable(png) and not isinstance(value, type) else getattr(value, "data", None)
    if isinstance(data, tuple):  # with metadata
        data = data[0]
    if isinstance(data, str):
        data = base64.b64decode(data)
    if isinstance(data, bytes | bytearray):
        return _part_of_bytes(bytes(data), f"The variable {name!r}")
    raise MagicError(
        f"The variable {name!r} is not an image but of type {type(value).__name__}; --image takes a path, a URL, "
        "bytes, a PIL image, a matplotlib figure or a numpy array."
    )


def _part_of_bytes(data: bytes, what: str) -> dict[str, Any]:
    if not data:
        raise MagicError(f"{what} is empty.")
    kind = _sniff(data)
    if kind == "jpeg" and is_cmyk_jpeg(data):  # for printing; servers refuse it, or show other colours
        kind, data = "png", file_as_png(data, what)
    if kind is None:
        held = _guess_type(data)
        hint = " Open it with PIL.Image.open, and give the variable." if held in _READ_BY_PILLOW else ""
        raise MagicError(f"{what} is not an image: it holds {held}. Models accept {', '.join(_TYPES)}.{hint}")
    if len(data) > MAX_BYTES:
        raise _too_large(what, len(data))
    return _part(f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}")


def _sniff(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def _guess_type(data: bytes) -> str:
    head = data.lstrip()[:_HEAD_BYTES]
    for mark, name in _OTHER_TYPES.items():
        if head.startswith(mark):
            return name
    text = data[:_HEAD_BYTES].decode("utf-8", "ignore")
    if text and strip_control_sequences(text) == text.replace("\r", "") and b"\x00" not in data[:512]:
        return f"text ({redact(' '.join(text.split()))[:20]!r}…)"
    return "bytes of an unknown type"


def _too_large(what: str, size: int) -> MagicError:
    return MagicError(f"{what} has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB can be sent.")


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}

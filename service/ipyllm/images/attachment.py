"""Turns what holds an image into the part of a message that carries it.

Files and objects are sent inside the message; an address is passed on for the server to fetch. The type of an image is
read from its first bytes, not from its name.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ipyllm.errors import LLMError, bad_request
from ipyllm.images.conversion import array_as_png, file_as_png, is_array, is_cmyk_jpeg, is_pillow, pillow_as_png
from ipyllm.text.format import shorten
from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

__all__ = ["MAX_BYTES", "SUFFIXES", "image_part", "is_address", "is_image"]

MAX_BYTES: Final = 20_000_000
"""Largest image that a server accepts: 20 MB at OpenAI, less at most others."""
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp")

_TYPES = ("PNG", "JPEG", "GIF", "WebP")
_READ_BY_PILLOW = {"a BMP", "a TIFF"}
_HEAD_BYTES = 32
_OTHER_TYPES = {
    b"BM": "a BMP", b"II*\x00": "a TIFF", b"MM\x00*": "a TIFF", b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP archive",
    b"<svg": "an SVG", b"<?xml": "XML, perhaps an SVG",
}  # fmt: skip


def image_part(value: Any, what: str = "The image") -> dict[str, Any]:
    """Return the part of a message that carries an image.

    Parameters
    ----------
    value : object
        A path; an address (``http:``, ``https:``, ``data:``); the bytes of a file; a picture of Pillow; a figure or
        axes of matplotlib; a numpy array of height × width [× 3 or 4], integers from 0 to 255 or floats from 0 to 1;
        an object with ``_repr_png_``; an image of Hugging Face's datasets (``{"bytes": …, "path": …}``); or a part of
        a message, which is returned as it is.
    what : str
        The subject of the sentence in an error.

    Raises
    ------
    LLMError
        ``bad_request``: it is no image, cannot be read, or has more than :data:`MAX_BYTES`.

    Examples
    --------
    >>> image_part("https://example.com/cat.png")
    {'type': 'image_url', 'image_url': {'url': 'https://example.com/cat.png'}}
    >>> image_part(b"GIF89a")["image_url"]["url"]
    'data:image/gif;base64,R0lGODlh'
    >>> image_part(5, "It")
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: It is not an image but of type int: give a path, a URL, bytes, a PIL image, a matplotlib \
figure or a numpy array.
    """
    if isinstance(value, Mapping):
        return _part_of_mapping(value, what)
    if isinstance(value, str) and is_address(value):
        return _part_of_address(value, what)
    if isinstance(value, str | os.PathLike):
        return _part_of_bytes(_read(os.fspath(value), what), what)
    data = _image_bytes(value, what)
    if data is None:
        raise bad_request(
            f"{what} is not an image but of type {type(value).__name__}: give a path, a URL, bytes, a PIL image, a "
            "matplotlib figure or a numpy array."
        )
    return _part_of_bytes(data, what)


def is_image(value: Any) -> bool:
    """Return whether a value probably holds an image, without importing a library. Of a text, its ending decides."""
    return (
        isinstance(value, bytes | bytearray | Path)
        or hasattr(value, "savefig")
        or is_array(value)
        or callable(getattr(value, "_repr_png_", None))
        or (isinstance(value, str) and value.lower().endswith(SUFFIXES))
    ) and not isinstance(value, type)


def is_address(text: str) -> bool:
    """Return whether a text is the address of an image, and no path.

    >>> is_address("https://example.com/cat.png"), is_address("cat.png")
    (True, False)
    """
    return text[:8].lower().startswith(("data:", "http://", "https://"))


def _part_of_mapping(value: Mapping[Any, Any], what: str) -> dict[str, Any]:
    if value.get("type") == "image_url":
        return {str(name): item for name, item in value.items()}
    found = next((value[name] for name in ("bytes", "path") if value.get(name) is not None), None)
    if found is None:
        raise bad_request(f'{what} is a dict without an image: it looks like {{"bytes": …}} or {{"path": …}}.')
    return image_part(found, what)


def _part_of_address(text: str, what: str) -> dict[str, Any]:
    if text[:5].lower() == "data:":
        header, comma, body = text.partition(",")
        if not (comma and header.lower().startswith("data:image/") and body):
            raise bad_request(f"{what} is a data: URL of no image: {shorten(text, 40)} must start with data:image/.")
        if len(body) > MAX_BYTES * 4 // 3:
            raise _too_large(what, len(body) * 3 // 4)
    elif not text.partition("//")[2].strip("/"):
        raise bad_request(f"{what} is not the URL of an image: {text!r}.")
    return _part(text)


def _read(path: str | bytes, what: str) -> bytes:
    file = Path(os.fsdecode(path))
    try:
        file = file.expanduser()
        if file.is_dir():
            raise bad_request(f"{what} is a folder, not an image.")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise _too_large(what, size)
        if not file.is_file():  # a device or a pipe may have no end
            raise bad_request(f"{what} is not a file.")
        return file.read_bytes()
    except FileNotFoundError:
        raise bad_request(
            f"{what} cannot be read: there is no file {shorten(str(file), 120)!r}. Paths are relative to the folder of "
            f"this process, {str(Path.cwd())!r}."
        ) from None
    except (OSError, ValueError, RuntimeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise bad_request(f"{what} cannot be read: {reason}.") from None


def _image_bytes(value: Any, what: str) -> bytes | None:
    """Return the file of an image that an object holds; None if it holds none."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    figure: Any = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if hasattr(figure, "savefig"):
        png_file = io.BytesIO()
        figure.savefig(png_file, format="png", bbox_inches="tight")
        return png_file.getvalue()
    if is_array(value):
        return array_as_png(value, what)
    if is_pillow(value):
        return pillow_as_png(value, what)
    png = getattr(value, "_repr_png_", None)  # objects that show themselves as an image
    data = png() if callable(png) and not isinstance(value, type) else getattr(value, "data", None)
    if isinstance(data, tuple):  # with metadata
        data = data[0]
    if isinstance(data, str):
        data = base64.b64decode(data)
    return bytes(data) if isinstance(data, bytes | bytearray) else None


def _part_of_bytes(data: bytes, what: str) -> dict[str, Any]:
    if not data:
        raise bad_request(f"{what} is empty.")
    kind = _sniff(data)
    if kind == "jpeg" and is_cmyk_jpeg(data):  # for printing; servers refuse it, or show other colours
        kind, data = "png", file_as_png(data, what)
    if kind is None:
        held = _guess_type(data)
        hint = " Open it with PIL.Image.open, and give the picture." if held in _READ_BY_PILLOW else ""
        raise bad_request(f"{what} is not an image: it holds {held}. Models accept {', '.join(_TYPES)}.{hint}")
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


def _too_large(what: str, size: int) -> LLMError:
    return bad_request(f"{what} has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB can be sent.")


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}

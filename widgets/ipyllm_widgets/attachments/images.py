"""Images of a question: checked by their bytes, not their names, and sent inside the message."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.errors import bad_request
from ipyllm.user_file import file_path, read_file

if TYPE_CHECKING:
    from ipyllm.messages import Message

__all__ = ["MAX_IMAGE_BYTES", "MAX_MESSAGE_IMAGE_BYTES", "image_urls", "replace_text", "user_message"]

MAX_IMAGE_BYTES = 5_000_000
"""Largest image. Base64 adds a third; models scale larger images down."""
MAX_MESSAGE_IMAGE_BYTES = 8_000_000
"""Largest sum of the images of one message: Jupyter Server closes the connection above 10 MiB."""

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def user_message(text: str, images: Iterable[Any] = ()) -> Message:
    """Return the message of a question.

    Parameters
    ----------
    text : str
        The question.
    images : iterable
        Bytes, or paths of files.

    Raises
    ------
    LLMError
        The text is not a string, the message is empty, or an image is too large or not an image.

    Examples
    --------
    >>> user_message("Hello")
    {'role': 'user', 'content': 'Hello'}
    """
    if not isinstance(text, str):
        raise bad_request(f"A question must be a string, not {type(text).__name__}.")
    if isinstance(images, str | bytes | bytearray | memoryview) or not isinstance(images, Iterable):
        raise bad_request("images must be a list of paths or bytes, even for a single image.")
    contents = [_read_image(image) for image in images]
    if not text.strip() and not contents:
        raise bad_request("The message is empty: write a question first.")
    if not contents:
        return {"role": "user", "content": text}
    urls = [_data_url(image) for image in contents]
    if (total := sum(map(len, contents))) > MAX_MESSAGE_IMAGE_BYTES:
        raise bad_request(
            f"The images have {_megabytes(total)} in total; a message may have {_megabytes(MAX_MESSAGE_IMAGE_BYTES)}: "
            "send fewer or smaller images."
        )
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": parts}


def replace_text(message: Message, text: str) -> Message:
    """Return ``message`` with another text and the same images."""
    content = message.get("content")
    if not isinstance(content, list):
        return user_message(text)
    images = [part for part in content if isinstance(part, dict) and part.get("type") != "text"]
    if not images:
        return user_message(text)
    return {**message, "content": [*([{"type": "text", "text": text}] if text.strip() else []), *images]}


def image_urls(message: Message) -> list[str]:
    """Return the ``data:`` URLs of a question's images, of the types that a page may show."""
    from ipyllm.rendering.sanitize_answer import is_raster_image

    content = message.get("content")
    if not isinstance(content, list):
        return []
    urls = (_url_of(part) for part in content if isinstance(part, dict) and part.get("type") == "image_url")
    return [url for url in urls if is_raster_image(url)]


def _url_of(part: dict[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _read_image(image: Any) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return read_file(file_path(image), MAX_IMAGE_BYTES)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise bad_request(f"The image {str(image)!r} cannot be read: {reason}.") from None
    raise bad_request(f"An image must be a path or bytes, not {type(image).__name__}.")


def _data_url(image: bytes) -> str:
    if len(image) > MAX_IMAGE_BYTES:
        raise bad_request(
            f"The image has {_megabytes(len(image))}, more than {_megabytes(MAX_IMAGE_BYTES)}: make it smaller first."
        )
    subtype = next((subtype for signature, subtype in _SIGNATURES if image.startswith(signature)), None)
    if subtype is None and image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        subtype = "webp"
    if subtype is None:
        raise bad_request("The file is not an image that models accept: use PNG, JPEG, GIF or WebP.")
    return f"data:image/{subtype};base64,{b64encode(image).decode()}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

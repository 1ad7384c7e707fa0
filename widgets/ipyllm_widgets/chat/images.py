"""Images that a person adds to a question: checked by their bytes, not their name, and carried in the message."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from ipyllm.messages import Message

__all__ = ["MAX_IMAGE", "MAX_IMAGES", "addresses", "question", "with_text"]

MAX_IMAGE = 5_000_000
"""Bytes of one image. Base64 makes them a third more; models scale down what is larger."""
MAX_IMAGES = 8_000_000
"""Bytes of all images of one message: Jupyter Server closes the connection above 10 MiB."""

_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def question(text: str, images: Iterable[Any] = ()) -> Message:
    """Make the message of a question.

    Parameters
    ----------
    text : str
        What is asked.
    images : iterable
        Each as bytes, or as the path of a file.

    Raises
    ------
    LLMError
        It is no text, or there is nothing in it; or an image is none, or too large.

    Examples
    --------
    >>> question("Hello")
    {'role': 'user', 'content': 'Hello'}
    """
    if not isinstance(text, str):
        raise LLMError(f"A question is text, not {type(text).__name__}.", category="bad_request")
    if isinstance(images, str | bytes | bytearray | memoryview) or not isinstance(images, Iterable):
        raise LLMError("images is a list of paths or bytes, also for one image.", category="bad_request")
    pictures = [_bytes(image) for image in images]
    if not text.strip() and not pictures:
        raise LLMError("The message is empty: there is nothing to ask.", category="bad_request")
    if not pictures:
        return {"role": "user", "content": text}
    urls = [_address(picture) for picture in pictures]
    if (total := sum(map(len, pictures))) > MAX_IMAGES:
        raise LLMError(
            f"The images are {_megabytes(total)} together; one message takes {_megabytes(MAX_IMAGES)}: "
            "send fewer or smaller ones.",
            category="bad_request",
        )
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": parts}


def with_text(message: Message, text: str) -> Message:
    """Return the question ``message`` with another text and the same images."""
    content = message.get("content")
    if not isinstance(content, list):
        return question(text)
    images = [part for part in content if isinstance(part, dict) and part.get("type") != "text"]
    if not images:
        return question(text)
    return {**message, "content": [*([{"type": "text", "text": text}] if text.strip() else []), *images]}


def addresses(message: Message) -> list[str]:
    """Return the ``data:`` addresses of a question's images, of kinds that a page may show."""
    from ipyllm.rendering.sanitize_answer import is_raster_image

    content = message.get("content")
    if not isinstance(content, list):
        return []
    urls = (_url(part) for part in content if isinstance(part, dict) and part.get("type") == "image_url")
    return [url for url in urls if is_raster_image(url)]


def _url(part: dict[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _bytes(image: Any) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).expanduser().read_bytes()
        except (OSError, RuntimeError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise LLMError(f"The image {str(image)!r} cannot be read: {reason}.", category="bad_request") from None
    raise LLMError(f"An image is the path of a file, or its bytes, not {type(image).__name__}.", category="bad_request")


def _address(picture: bytes) -> str:
    if len(picture) > MAX_IMAGE:
        raise LLMError(
            f"The image is {_megabytes(len(picture))}; the most is {_megabytes(MAX_IMAGE)}: make it smaller first.",
            category="bad_request",
        )
    kind = next((kind for head, kind in _KINDS if picture.startswith(head)), None)
    if kind is None and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        kind = "webp"
    if kind is None:
        raise LLMError("This is no image that models take: use PNG, JPEG, GIF or WebP.", category="bad_request")
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

"""Files of a question: text, CSV, code and PDF, sent as text in a part of the message each. Nothing in them is run."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipyllm.conversations.likely_tokens import likely_message_tokens
from ipyllm.errors import LLMError, bad_request
from ipyllm.text.surrogates import replace_surrogates
from ipyllm.text.text_file import decode_text
from ipyllm.user_file import file_path, read_file
from ipyllm_widgets.attachments.images import MAX_MESSAGE_IMAGE_BYTES, image_urls, replace_text, user_message
from ipyllm_widgets.attachments.pdf_text import pdf_text

if TYPE_CHECKING:
    from ipyllm.messages import Message
    from ipyllm.services.base import BaseLLMService

__all__ = [
    "AttachedFile",
    "as_sent",
    "attached_files",
    "check_window",
    "file_text",
    "files_to_page",
    "question_text",
    "question_with_files",
    "received_files",
    "with_text",
]

_MAX_CHARS: Final = 1_000_000  # of the text of one file
_MOST_NAME: Final = 200  # characters
_OFFICE_BEGINNINGS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # of zip files, which most of them are, and of older ones
_SHEETS = frozenset({"xlsx", "xlsm", "xls", "ods"})
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # a terminal's colours are text
_PART: Final = re.compile(r'<file name="([^"<>\n]*)">\n(.*)\n</file>', re.DOTALL)


class AttachedFile(NamedTuple):
    """A file of a question: its name, and the characters of its text."""

    name: str
    chars: int


def question_with_files(text: str, images: Iterable[Any] = (), files: Iterable[Any] = ()) -> Message:
    r"""Return the message of a question.

    Parameters
    ----------
    text : str
        The question.
    images : iterable
        Bytes, or paths of files.
    files : iterable
        Paths of text, CSV, code or PDF files, or pairs of a name and bytes.

    Raises
    ------
    LLMError
        The message is empty, or a file cannot be read, is too large, or is of another kind.

    Examples
    --------
    >>> message = question_with_files("What is this?", files=[("a.csv", b"x,y\n1,2\n")])
    >>> question_text(message), attached_files(message)
    ('What is this?', [AttachedFile(name='a.csv', chars=7)])
    """
    if isinstance(files, str | bytes | bytearray | Mapping) or not isinstance(files, Iterable):
        raise bad_request("files must be a list of paths, even for a single file.")
    read = [_read(file) for file in files]
    if not read:
        return user_message(text, images)
    if (total := sum(len(data) for _, data in read)) > MAX_MESSAGE_IMAGE_BYTES:
        raise bad_request(
            f"The files have {_size(total)} in total; a message may have {_size(MAX_MESSAGE_IMAGE_BYTES)}."
        )
    parts = [_part(name, data) for name, data in read]
    images = list(images) if isinstance(images, Iterable) and not isinstance(images, str | bytes) else images
    if not text.strip() and not images:
        return {"role": "user", "content": parts}
    message = user_message(text, images)
    content = message["content"]
    asked = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {"role": "user", "content": [*asked, *parts]}


def received_files(buffers: Iterable[Any], names: Any) -> tuple[list[bytes], list[tuple[str, bytes]]]:
    """Return the images, and the files with their names, of what a page sent; images have an empty name.

    Raises
    ------
    LLMError
        The names are not those of the buffers.
    """
    contents = [bytes(buffer) for buffer in buffers]
    if names is None:
        return contents, []
    if len(names) != len(contents) or not all(isinstance(name, str) for name in names):
        raise bad_request("The page sent wrong files: reload the page.")
    named = list(zip(names, contents, strict=True))
    return [data for name, data in named if not name], [(name, data) for name, data in named if name]


def _read(file: Any) -> tuple[str, bytes]:
    if isinstance(file, tuple) and len(file) == 2 and isinstance(file[0], str):  # noqa: PLR2004
        name, data = file[0], file[1]
        if not isinstance(data, bytes | bytearray | memoryview):
            raise bad_request(f"The content of {name!r} must be bytes, not {type(data).__name__}.")
        data = bytes(data)
    elif isinstance(file, str | Path):
        path = file_path(file)
        name = path.name
        try:
            data = read_file(path, MAX_MESSAGE_IMAGE_BYTES)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise bad_request(f"The file {str(file)!r} cannot be read: {reason}.") from None
    else:
        raise bad_request(f"A file must be a path, or a name with bytes, not {type(file).__name__}.")
    name = _clean(name)
    if len(data) > MAX_MESSAGE_IMAGE_BYTES:
        raise bad_request(f"“{name}” has more than {_size(MAX_MESSAGE_IMAGE_BYTES)}: send a part of it.")
    if not data:
        raise bad_request(f"“{name}” is empty.")
    return name, data


def _clean(name: str) -> str:
    """Return a name that fits its line in the message, and its place in the page."""
    return re.sub(r'[\x00-\x1f\x7f"<>\\/]+', "_", replace_surrogates(name))[-_MOST_NAME:] or "file"


def _part(name: str, data: bytes) -> dict[str, Any]:
    if data.startswith(b"%PDF-"):
        # As another text file has them: its text can be sent again.
        text = _CONTROL.sub("", replace_surrogates(pdf_text(data, name, _MAX_CHARS)))
    elif data.startswith(_OFFICE_BEGINNINGS):
        ending = name.rpartition(".")[2].lower()
        to_do = "save the sheet as CSV" if ending in _SHEETS else "save it as PDF or text"
        raise bad_request(f"“{name}” is no text file: {to_do}, and send that.")
    else:
        try:
            text = decode_text(data)
        except ValueError as exc:
            raise bad_request(f"“{name}” cannot be sent as text: {exc}.") from None
        if _CONTROL.search(text):
            raise bad_request(f"“{name}” is no text file: send text, CSV, code, a PDF file, or an image.")
    if len(text) > _MAX_CHARS:
        raise bad_request(
            f"“{name}” has {len(text):,} characters; at most {_MAX_CHARS:,} can be sent: send a part of it."
        )
    text = text.replace("\r\n", "\n").rstrip("\n")
    return {"type": "text", "text": f'<file name="{name}">\n{text}\n</file>'}


def attached_files(message: Message) -> list[AttachedFile]:
    """Return the files of a question."""
    return [AttachedFile(found[1], len(found[2])) for part in _parts(message) if (found := _as_file(part))]


def question_text(message: Message) -> str:
    """Return the text of a question without that of its files."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _parts(message) if "text" in part and not _as_file(part))


def file_text(message: Message, at: int) -> str:
    r"""Return the text of the file at this place among the files of a question.

    Raises
    ------
    LLMError
        There is no such file.

    Examples
    --------
    >>> file_text(question_with_files("Sum?", files=[("a.csv", b"x,y\n1,2\n")]), 0)
    'x,y\n1,2'
    """
    texts = [found[2] for part in _parts(message) if (found := _as_file(part))]
    if not 0 <= at < len(texts):
        raise LLMError("That file is not part of the question.", category="not_found")
    return texts[at]


def files_to_page(message: Message) -> tuple[list[dict[str, str]], list[bytes]]:
    """Return name and type of each file and image of a question, as a page has them, and their contents."""
    images = [url.removeprefix("data:").split(";base64,", 1) for url in image_urls(message)]
    described = [{"name": f"image.{kind.partition('/')[2]}", "type": kind} for kind, _ in images]
    contents = [b64decode(data) for _, data in images]
    for at, file in enumerate(attached_files(message)):
        described.append({"name": file.name, "type": "text/plain"})
        contents.append(file_text(message, at).encode())
    return described, contents


def with_text(message: Message, text: str) -> Message:
    """Return ``message`` with another text, and the same images and files."""
    files = [part for part in _parts(message) if _as_file(part)]
    if not files:
        return replace_text(message, text)
    others = [part for part in _parts(message) if part.get("type") != "text"]
    asked = [{"type": "text", "text": text}] if text.strip() else []
    return {**message, "content": [*asked, *others, *files]}


def check_window(message: Message, service: BaseLLMService) -> None:
    """Raise LLMError if the files of a question certainly do not fit the model's context window."""
    files = attached_files(message)
    window = service.context_window() if files else None
    if window is None or (tokens := likely_message_tokens([message])) <= window:
        return
    largest = max(files, key=lambda file: file.chars)
    raise LLMError(
        f"The question has about {tokens:,} tokens with its files (“{largest.name}” has {largest.chars:,} characters), "
        f"more than the {window:,} that {service.full_name} can read: send a part, or choose a model that reads more.",
        category="context_length",
        model=service.full_name,
    )


def as_sent(message: Message) -> Message:
    r"""Return ``message`` with one text instead of several: some servers take no list of parts.

    Examples
    --------
    >>> as_sent({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    {'role': 'user', 'content': 'a\n\nb'}
    """
    parts = _parts(message)
    if not parts or not all(_as_text(part) for part in parts):
        return message
    return {**message, "content": "\n\n".join(part["text"] for part in parts)}


def _as_text(part: Mapping[str, Any]) -> bool:
    return part.keys() == {"type", "text"} and part["type"] == "text"


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _as_file(part: dict[str, Any]) -> re.Match[str] | None:
    text = part.get("text")
    return _PART.fullmatch(text) if part.get("type") == "text" and isinstance(text, str) else None


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

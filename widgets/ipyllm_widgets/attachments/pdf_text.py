"""Text of a PDF file, read by pypdf in a process of its own: a file from anywhere can keep a reader busy for hours."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

from ipyllm.errors import bad_request

__all__ = ["pdf_text"]

_TIMEOUT_S: Final = 30.0
_MOST_PAGES: Final = 1_000
_MOST_MEMORY: Final = 1_500_000_000  # bytes

# It imports nothing of ours, and reads neither the working folder nor variables of Python (-I).
_READER: Final = """
import io, json, logging, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(float(sys.argv[4])) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
logging.disable(logging.CRITICAL)
from pypdf import PdfReader
def say(**found):
    sys.stdout.buffer.write(json.dumps(found).encode())
try:
    reader = PdfReader(io.BytesIO(sys.stdin.buffer.read()))
    if reader.is_encrypted and not reader.decrypt(""):
        say(why="needs a password")
    elif len(reader.pages) > int(sys.argv[1]):
        say(why=f"has {len(reader.pages):,} pages; at most {int(sys.argv[1]):,} can be read")
    else:
        pages, left = [], int(sys.argv[3])
        for page in reader.pages:
            pages.append(page.extract_text())
            left -= len(pages[-1])
            if left < 0:
                say(why=f"has more than {int(sys.argv[3]):,} characters")
                break
        else:
            say(pages=pages)
except Exception as exc:
    say(why=f"is damaged, or no PDF file that pypdf can read ({type(exc).__name__})")
"""


def pdf_text(data: bytes, name: str, most_chars: int) -> str:
    """Return the text of all pages, with a line before each that has its number.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        Its name, for errors.
    most_chars : int
        Most characters that are read.

    Raises
    ------
    LLMError
        pypdf is not installed; or the file has no text, needs a password, is damaged, or is too large to be read.
    """
    if find_spec("pypdf") is None:
        raise bad_request(
            f"“{name}” cannot be read: PDF files need the package pypdf (pip install 'ipyllm[pdf]'). "
            "Or save its text, and add that."
        )
    command = [sys.executable, "-I", "-c", _READER, *map(str, (_MOST_PAGES, _MOST_MEMORY, most_chars, _TIMEOUT_S))]
    try:
        ended = subprocess.run(command, input=data, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - our own program
        found = json.loads(ended.stdout)
    except subprocess.TimeoutExpired:
        raise bad_request(
            f"“{name}” takes longer than {_TIMEOUT_S:.0f} s to read: save its text, and add that."
        ) from None
    except ValueError:  # it was ended by a limit
        raise bad_request(f"“{name}” takes too much memory or time to read: save its text, and add that.") from None
    if "why" in found:
        raise bad_request(f"“{name}” {found['why']}.")
    pages = [page.strip() for page in found["pages"]]
    if not any(pages):
        raise bad_request(f"“{name}” has no text, perhaps because its pages are scanned: add them as images.")
    return "\n\n".join(f"[page {number}]\n{page}" for number, page in enumerate(pages, 1) if page)

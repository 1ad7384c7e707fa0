"""Questions that wait until the running answer has ended."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ipyllm.errors import LLMError
from ipyllm.text.format import shorten
from ipyllm_widgets.attachments.files import attached_files, question_text
from ipyllm_widgets.attachments.images import image_urls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.messages import Message

__all__ = ["QuestionQueue"]

_SHOWN_CHARS = 300


class _Queued(NamedTuple):
    """One question, with its id in the browser."""

    id: str
    message: Message


class QuestionQueue:
    """The queue of one conversation. Callers hold the channel's lock.

    Parameters
    ----------
    left : iterable of Message
        Questions that an earlier kernel left: they wait for the user.

    Attributes
    ----------
    held : bool
        Whether it waits for the user: the last answer failed or was stopped, the next question cannot be asked, or the
        widget's cell was run again, or the kernel was restarted.

    Examples
    --------
    >>> queue = QuestionQueue()
    >>> queue.add({"role": "user", "content": "And then?"})
    >>> queue.as_json()
    [{'id': 'q1', 'text': 'And then?', 'images': 0, 'files': 0, 'held': False}]
    >>> queue.pop()
    {'role': 'user', 'content': 'And then?'}
    """

    def __init__(self, left: Iterable[Message] = ()) -> None:
        self._numbers = count(1)
        self._waiting: list[_Queued] = []
        for message in left:
            self.add(message)
        self.held = len(self) > 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message: Message) -> None:
        """Add a question at the end."""
        self._waiting.append(_Queued(f"q{next(self._numbers)}", message))

    def first(self) -> Message:
        """Return the first question."""
        return self._waiting[0].message

    def pop(self) -> Message:
        """Remove and return the first question."""
        self.held = False
        return self._waiting.pop(0).message

    def find(self, name: str) -> Message:
        """Return a question.

        Raises
        ------
        LLMError
            It waits no longer.
        """
        for queued in self._waiting:
            if queued.id == name:
                return queued.message
        raise LLMError("That question waits no longer.", category="not_found")

    def remove(self, name: str) -> None:
        """Remove a question."""
        self._waiting = [queued for queued in self._waiting if queued.id != name]

    def messages(self) -> list[Message]:
        """Return the questions in the order in which they will be asked."""
        return [queued.message for queued in self._waiting]

    def as_json(self) -> list[dict[str, Any]]:
        """Return what the page shows."""
        return [
            {
                "id": queued.id,
                "text": shorten(question_text(queued.message), _SHOWN_CHARS),
                "images": len(image_urls(queued.message)),
                "files": len(attached_files(queued.message)),
                "held": self.held,
            }
            for queued in self._waiting
        ]

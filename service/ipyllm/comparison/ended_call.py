"""A call that ended in an earlier kernel: what is known of it, in the place of the call itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.runtime.interruptible import InterruptibleEvent

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["EndedCall"]


class EndedCall:
    """As much of a :class:`~ipyllm.pipeline.call.Call` as a comparison needs of one that has ended.

    Parameters
    ----------
    response : ChatResponse

    Examples
    --------
    >>> from ipyllm import ChatResponse
    >>> call = EndedCall(ChatResponse(status="error", error_message="lab/m is gone."))
    >>> call.done.is_set(), str(call.error)
    (True, 'lab/m is gone.')
    """

    def __init__(self, response: ChatResponse) -> None:
        self.response = response
        self.error = (
            None
            if response.error_message is None
            else LLMError(response.error_message, category=response.error_category or "unknown_error")
        )
        self.done = InterruptibleEvent()
        self.done.set()

    def cancel(self) -> None:
        """Do nothing: it has ended."""

    def waiting(self) -> None:
        """Return None: it waits for nothing."""

    async def wait_async(self) -> ChatResponse:
        """Return the response, or raise its error."""
        if self.error is not None:
            raise self.error
        return self.response

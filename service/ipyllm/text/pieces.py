"""Text that arrives in many small pieces, and is kept in about its own size."""

from __future__ import annotations

__all__ = ["TextPieces"]


class TextPieces(list[str]):
    """The pieces of a text: they are appended, and packed now and then.

    A string of a few letters takes some sixty bytes. And thousands of freed ones leave gaps in memory that the text as
    a whole does not fit into, so they are packed into one growing buffer. It is decoded when the text is read: a
    string with a single emoji in it takes four bytes for each character, and would be copied whenever it grows.

    Examples
    --------
    >>> pieces = TextPieces()
    >>> for word in ("So ", "far", " so ", "good."):
    ...     pieces.append(word)
    >>> pieces.pack()
    >>> len(pieces), bool(pieces), pieces.text()
    (0, True, 'So far so good.')
    """

    __slots__ = ("_packed", "_read")

    def __init__(self) -> None:
        super().__init__()
        # What comes before the items: as it was read last, if it was, and else in the buffer. Once something is in the
        # buffer, all of it is.
        self._read: str | None = ""
        self._packed = bytearray()

    def __bool__(self) -> bool:
        return bool(self._read or self._packed) or len(self) > 0

    def pack(self) -> None:
        """Pack the pieces."""
        if len(self):
            if self._read and not self._packed:
                self._packed += self._read.encode("utf-8", "surrogatepass")
            self._read = None
            self._packed += "".join(self).encode("utf-8", "surrogatepass")
            self.clear()

    def peek(self) -> str:
        """Return the whole text so far, and keep it only in the buffer: of one that grows, a copy is soon useless."""
        self.pack()
        return self._read if self._read is not None else self._packed.decode("utf-8", "surrogatepass")

    def text(self) -> str:
        """Return the whole text: the same object until something is appended."""
        if self._packed:
            self.pack()
            if self._read is None:
                self._read = self._packed.decode("utf-8", "surrogatepass")
        elif len(self):
            self._read = "".join((self._read or "", *self))
            self.clear()
        return self._read or ""

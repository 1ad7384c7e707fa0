"""Text that arrives in many small pieces, and is kept in about its own size."""

from __future__ import annotations

__all__ = ["TextPieces"]


class TextPieces(list[str]):
    """The pieces of a text: they are appended, and packed now and then.

    A string of a few letters takes some sixty bytes. And thousands of freed ones leave gaps in memory that the text as
    a whole does not fit into, so they are packed into one growing buffer.

    Examples
    --------
    >>> pieces = TextPieces()
    >>> for word in ("So ", "far", " so ", "good."):
    ...     pieces.append(word)
    >>> pieces.pack()
    >>> len(pieces), bool(pieces), pieces.text()
    (0, True, 'So far so good.')
    """

    __slots__ = ("_begin", "_packed")

    def __init__(self) -> None:
        super().__init__()
        # What comes before the items.
        self._begin = ""
        self._packed = bytearray()

    def __bool__(self) -> bool:
        return bool(self._begin or self._packed) or len(self) > 0

    def pack(self) -> None:
        """Pack the pieces."""
        self._packed += "".join(self).encode("utf-8", "surrogatepass")
        self.clear()

    def text(self) -> str:
        """Return the whole text: the same object until something is appended."""
        if self._packed:
            self.pack()
            self.append(self._packed.decode("utf-8", "surrogatepass"))
            self._packed = bytearray()
        if len(self):
            self._begin = "".join((self._begin, *self))
            self.clear()
        return self._begin

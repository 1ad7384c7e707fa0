"""The error of a template that uses a name which is not defined."""

from __future__ import annotations

__all__ = ["UndefinedNameError"]


class UndefinedNameError(Exception):
    """A template uses a name that is not defined.

    ``kind`` is the type of the value that has no attribute or item of this name, empty for a variable; ``near`` is the
    name that was probably meant.
    """

    def __init__(self, name: str, kind: str, near: str | None) -> None:
        super().__init__(name)
        self.name = name
        self.kind = kind
        self.near = near

    def sentence(self, subject: str, advice: str) -> str:
        """Return the sentence of the error: what is missing, and what was probably meant or else ``advice``."""
        meant = f"did you mean {self.near!r}?" if self.near is not None else ""
        if not self.kind:
            return f"{subject} uses {{{{ {self.name} }}}}, which is not defined; {meant or advice}"
        what = f"{subject} uses {self.name!r} of a {self.kind}, which has no such attribute or item"
        return f"{what}; {meant}" if meant else f"{what}."

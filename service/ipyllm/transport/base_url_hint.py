"""Says what is wrong with an address at which there is no model server, and which one would be right."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ipyllm.transport.address import without_password

__all__ = ["BaseUrlHint", "base_url_hint"]

_PATHS_OF_THE_API: Final = (
    *("/chat/completions", "/completions", "/responses", "/models", "/embeddings", "/chat", "/messages"),
)
_VERSION: Final = re.compile(r"/v\d\w*(?=/|$)")


class BaseUrlHint(NamedTuple):
    """What seems to be wrong with a base URL, and the one that is probably meant."""

    problem: str
    meant: str

    def sentence(self, model: str, host: str, said: str, *, is_certain: bool) -> str:
        """Return the sentence; ``said`` is what the server answered."""
        shown = without_password(self.meant)
        right = f"the server lists its models at {shown}, so" if is_certain else "an address usually ends in /v1:"
        return f"{model} was not found at {host} ({said}): {self.problem}; {right} set base_url to {shown}."


def base_url_hint(base_url: str) -> BaseUrlHint | None:
    """Return what seems to be wrong with a base URL at which nothing was found; None if it looks right.

    Examples
    --------
    >>> base_url_hint("http://host:8000")
    BaseUrlHint(problem='the address has no /v1', meant='http://host:8000/v1')
    >>> base_url_hint("http://host/v1/chat/completions?key=1").meant
    'http://host/v1?key=1'
    >>> base_url_hint("http://host/v1") is None
    True
    """
    root, mark, query = base_url.partition("?")
    ending = next((path for path in _PATHS_OF_THE_API if root.endswith(path)), "")
    meant = root.removesuffix(ending)
    if not _VERSION.search(meant.partition("//")[2]):
        meant += "/v1"
    if meant == root:
        return None
    problem = f"the address ends in {ending}, which ipyllm adds itself" if ending else "the address has no /v1"
    return BaseUrlHint(problem, meant + mark + query)

"""Sandboxed Jinja2 templates for the prompts of cells and experiments.

Only ``{{ expression }}`` and ``{% statement %}`` are special; single braces and ``{#`` are left alone, so JSON, code
and LaTeX need no escaping. A value is inserted once and never expanded again. A template reads the user's values and
does nothing else; ``readable.toml`` says which values, and what of them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.templates.refusal import RefusedError, UndefinedNameError
from ipyllm.text.format import shorten
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SandboxedTemplate", "UndefinedNameError"]

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_MIN_SECRET_CHARS = 8
_MAX_REASON_CHARS = 300
_TOO_DEEP = "is nested too deeply: write it with fewer brackets, loops and macros that call one another."


class SandboxedTemplate:
    """A Jinja2 template that reads the given values, and nothing else of the process.

    It is made for one prompt or one batch of them: the keys that it may not insert are those of the environment when it
    was made.

    Parameters
    ----------
    text : str
        The template. LLMError says why it does not parse.
    subject : str
        Subject of error sentences.
    to_text : callable, optional
        Converts a value to the text that is inserted; by default ``str``.
    advice : str
        Advice for a template that does not parse, besides correcting it.

    Examples
    --------
    >>> SandboxedTemplate("{{ name | upper }}, {{ n + 1 }}").render({"name": "Ada", "n": 1})
    'ADA, 2'
    >>> SandboxedTemplate("{{ os.environ }}").render({"os": os})
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The template may not use os, a module: compute it in a cell and assign the result to a name.
    """

    def __init__(
        self, text: str, *, subject: str = "The template", to_text: Callable[[Any], Any] | None = None, advice: str = ""
    ) -> None:
        from jinja2.exceptions import TemplateSyntaxError
        from jinja2.nodes import Name

        from ipyllm.templates.environment import environment

        self._subject = subject
        self._to_text = to_text
        self._secrets = _secrets_of_environment()
        self._author_wrote_key = self._key_in(text) is not None  # the author may write a key into the template
        ending = f"; {advice}." if advice else "."
        try:
            tree = environment().parse(text)
            self._names = {node.name for node in tree.find_all(Name) if node.ctx == "load"}
            self._template = environment().from_string(tree)
        except TemplateSyntaxError as exc:
            reason = f"line {exc.lineno}: {(exc.message or '').rstrip('.')}"
            raise bad_request(f"{subject} does not parse, {reason}{ending}") from None
        except (RecursionError, MemoryError):
            raise bad_request(f"{subject} {_TOO_DEEP}") from None
        except Exception as exc:  # noqa: BLE001 - Python compiles what Jinja makes of the template
            raise bad_request(f"{subject} does not parse: {str(exc).partition(' (')[0].rstrip('.')}{ending}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with ``values`` filled in.

        Raises
        ------
        UndefinedNameError
            A name is not defined; the caller adds the advice.
        LLMError
            ``bad_request``: the template does what it may not, a value holds a key, or an expression raises.
        """
        from ipyllm.templates.rendering import Rendering

        try:
            filled = Rendering(values, self._to_text).fill_in(self._template, self._names)
        except RefusedError as exc:
            raise bad_request(f"{self._subject} {exc}") from None
        except (LLMError, UndefinedNameError):
            raise
        except RecursionError:
            raise bad_request(f"{self._subject} {_TOO_DEEP}") from None
        except Exception as exc:  # noqa: BLE001 - an expression may fail in any way
            reason = str(exc).rstrip(".") if type(exc).__module__.startswith("jinja2") else _described(exc)
            raise bad_request(f"{self._subject} failed: {reason}.") from None
        key = None if self._author_wrote_key else self._key_in(filled)
        if key is not None:
            raise bad_request(f"{self._subject} may not insert a value that holds {key}: leave it out.")
        return filled

    def _key_in(self, text: str) -> str | None:
        """Describe the key in ``text``, from the environment, the settings or by its format; None if there is none."""
        for name, value in self._secrets:
            if value in text:
                return f"the value of {name}"
        return "a key" if redact(text) != text else None


def _described(error: Exception) -> str:
    text = shorten(" ".join(str(error).split()), _MAX_REASON_CHARS)
    return f"{type(error).__name__}: {text}".rstrip(".: ")


def _secrets_of_environment() -> list[tuple[str, str]]:
    """Return the names and values of the variables that hold secrets."""
    return [
        (name, value)
        for name, value in os.environ.items()
        if len(value) >= _MIN_SECRET_CHARS and _SECRET_NAME.search(name)
    ]

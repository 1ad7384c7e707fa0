"""Lets IPython accept a prompt that ends in ``?``, and a cell magic without a body."""

from __future__ import annotations

import re
import tokenize
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["install", "uninstall"]

_QUESTION = re.compile(r"%llm(?:_explain)?[ \t]+.*\w.*\?\s*$")
_CELL_MAGIC_LINE = re.compile(r"%%llm\w*(?![\w?])[^\n]*")


class QuestionToModel(EscapedCommand):
    """Reads ``%llm what is this?`` as a question to the model, not to IPython's help."""

    priority = 4  # before HelpEnd, which has 5

    @classmethod
    def find(cls, tokens_by_line: Any) -> QuestionToModel | None:
        """Find the first such line outside of strings and comments."""
        for line in tokens_by_line:
            if not line:
                continue
            index = 0
            while index < len(line) - 1 and line[index].type in {tokenize.INDENT, tokenize.DEDENT}:
                index += 1
            first = line[index]
            if first.string == "%" and _QUESTION.match(first.line[first.start[1] :]):
                return cls(first.start)
        return None


def add_empty_body(lines: list[str]) -> list[str]:
    """Give ``%%llm …`` without a body an empty one, so that the magic itself can report what is missing."""
    if lines and _CELL_MAGIC_LINE.match(lines[0]) and not "".join(lines[1:]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


def install(shell: InteractiveShell) -> None:
    """Add both transformers to the shell."""
    uninstall(shell)
    shell.input_transformers_cleanup.append(add_empty_body)
    shell.input_transformer_manager.token_transformers.insert(0, QuestionToModel)


def uninstall(shell: InteractiveShell) -> None:
    """Remove both transformers."""
    # By name, because a reload of the module makes other objects.
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [step for step in cleanup if getattr(step, "__name__", "") != add_empty_body.__name__]
    tokens = shell.input_transformer_manager.token_transformers
    tokens[:] = [step for step in tokens if step.__name__ != QuestionToModel.__name__]

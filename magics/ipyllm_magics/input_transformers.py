"""Lets IPython accept a prompt that ends in ``?`` and a cell magic without a body, and show an answer only once."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tokenize
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand, MagicAssign, TokenTransformBase

if TYPE_CHECKING:
    from types import CodeType

    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["install", "uninstall"]

_ASSIGNMENT: Any = MagicAssign  # which has no types
_QUESTION = re.compile(r"(?:%time[ \t]+)?%llm(?:_explain)?[ \t]+.*\w.*\?\s*$")
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


class AssignedQuestionToModel(TokenTransformBase):
    """Reads ``answer = %llm what is this?`` as a question to the model, too."""

    priority = 4
    assignment: Any  # IPython's transformer of it

    @classmethod
    def find(cls, tokens_by_line: Any) -> AssignedQuestionToModel | None:
        """Find the first assignment of a magic, if it is such a question."""
        for line in tokens_by_line:
            assignment = _ASSIGNMENT.find([line])
            if assignment is not None:
                first = next(token for token in line if token.type not in {tokenize.INDENT, tokenize.DEDENT})
                if not _QUESTION.match(first.line[assignment.start_col :]):
                    return None
                question = cls(first.start)  # where IPython's help starts too, which would otherwise come first
                question.assignment = assignment
                return question
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Transform the assignment as IPython does."""
        transformed: list[str] = self.assignment.transform(lines)
        return transformed


def add_empty_body(lines: list[str]) -> list[str]:
    """Give ``%%llm …`` without a body an empty one, so that the magic itself can report what is missing."""
    if lines and _CELL_MAGIC_LINE.match(lines[0]) and not "".join(lines[1:]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


_TOKEN_TRANSFORMERS = (QuestionToModel, AssignedQuestionToModel)


class DiscardResponses(ast.NodeTransformer):
    """Gives ``%llm …`` as a statement the value None: its answer is in the cell already, so ``Out[n]`` stays away.

    In ``response = %llm …`` the response is kept.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        """Replace ``get_ipython().run_line_magic('llm', …)`` by ``(…, None)[1]``."""
        if _runs_llm(node.value):
            pair = ast.Tuple([node.value, ast.Constant(None)], ast.Load())
            node.value = ast.copy_location(ast.Subscript(pair, ast.Constant(1), ast.Load()), node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Leave functions as they are: the values of their statements are not shown."""
        return node


def _runs_llm(node: ast.expr) -> bool:
    match node:
        case ast.Call(
            ast.Attribute(ast.Call(ast.Name("get_ipython")), "run_line_magic" | "run_cell_magic"),
            [ast.Constant("llm" | "llm_explain"), *_],
        ):
            return True
    return False


def _discard_responses_in_this_cell() -> None:
    """Do what ``DiscardResponses`` does in the running cell, which was transformed before the extension was loaded.

    At the end of the cell, IPython puts back the hook that it had before the cell.
    """
    show = sys.displayhook

    def show_other_values(value: object) -> None:
        frame = inspect.currentframe()
        if frame is None or frame.f_back is None or not _is_llm_alone(frame.f_back.f_code):
            show(value)

    sys.displayhook = show_other_values


def _is_llm_alone(statement: CodeType) -> bool:
    names_of_magics = {("get_ipython", "run_line_magic"), ("get_ipython", "run_cell_magic")}
    return statement.co_names in names_of_magics and not {"llm", "llm_explain"}.isdisjoint(statement.co_consts)


def install(shell: InteractiveShell) -> None:
    """Add the transformers to the shell."""
    uninstall(shell)
    if sys.displayhook is shell.displayhook:  # a cell is running
        _discard_responses_in_this_cell()
    shell.ast_transformers.append(DiscardResponses())
    shell.input_transformers_cleanup.append(add_empty_body)
    shell.input_transformer_manager.token_transformers[:0] = _TOKEN_TRANSFORMERS


def uninstall(shell: InteractiveShell) -> None:
    """Remove the transformers."""
    # By name, because a reload of the module makes other objects.
    shell.ast_transformers[:] = [
        step for step in shell.ast_transformers if type(step).__name__ != DiscardResponses.__name__
    ]
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [step for step in cleanup if getattr(step, "__name__", "") != add_empty_body.__name__]
    tokens = shell.input_transformer_manager.token_transformers
    tokens[:] = [step for step in tokens if step.__name__ not in {kind.__name__ for kind in _TOKEN_TRANSFORMERS}]

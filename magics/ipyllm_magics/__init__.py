"""IPython front end: ``%%llm`` and its family, over the service layer ``ipyllm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Register the magics; nothing heavy is imported before one of them is used."""
    from ipyllm.conversations.notebook import keep_conversations
    from ipyllm_magics import input_transformers
    from ipyllm_magics.commands import code_cells
    from ipyllm_magics.commands.notes import print_information
    from ipyllm_magics.completion import matcher
    from ipyllm_magics.prompt import kernel_context, notebook_context

    kernel_context.adopt_kernel_id(shell)
    keep_conversations(print_information, otherwise=kernel_context.place(shell))
    input_transformers.install(shell)
    matcher.install(shell)
    notebook_context.install(shell)
    shell.register_magics(*_magics_classes())
    code_cells.install(shell, shell.magics_manager.registry["LLMMagics"].code_cells)


def unload(shell: InteractiveShell) -> None:
    """Unregister the magics. Conversations and the ledger stay."""
    from ipyllm_magics import input_transformers
    from ipyllm_magics.commands import code_cells
    from ipyllm_magics.completion import matcher
    from ipyllm_magics.prompt import notebook_context

    input_transformers.uninstall(shell)
    matcher.uninstall(shell)
    notebook_context.uninstall(shell)
    code_cells.uninstall(shell)
    for group in _magics_classes():
        # By name, because a reload of the module makes another class. `%config` would find the old one first.
        shell.configurables[:] = [owner for owner in shell.configurables if type(owner).__name__ != group.__name__]
        for kind in ("line", "cell"):
            for name in group.magics[kind]:
                shell.magics_manager.magics[kind].pop(name, None)


def _magics_classes() -> tuple[type[Magics], ...]:
    from ipyllm_magics.commands.compare import CompareMagics
    from ipyllm_magics.commands.family import LLMFamilyMagics
    from ipyllm_magics.commands.llm import LLMMagics

    return LLMMagics, LLMFamilyMagics, CompareMagics

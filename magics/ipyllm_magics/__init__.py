"""IPython's front end: ``%%llm`` and its family, over the service layer ``ipyllm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Register the magics; nothing heavy is imported before one of them is used."""
    from ipyllm_magics.command_line import completion, syntax
    from ipyllm_magics.prompt import kernel_context, notebook_context

    kernel_context.adopt_kernel_id(shell)
    syntax.install(shell)
    completion.install(shell)
    notebook_context.watch(shell)
    shell.register_magics(*_groups())


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again. Conversations and the ledger stay."""
    from ipyllm_magics.command_line import completion, syntax
    from ipyllm_magics.prompt import notebook_context

    syntax.uninstall(shell)
    completion.uninstall(shell)
    notebook_context.unwatch(shell)
    for group in _groups():
        # By name: after a reload of the module the class is another. `%config` would find the old one first.
        shell.configurables[:] = [one for one in shell.configurables if type(one).__name__ != group.__name__]
        for kind in ("line", "cell"):
            for name in group.magics[kind]:
                shell.magics_manager.magics[kind].pop(name, None)


def _groups() -> tuple[type[Magics], ...]:
    from ipyllm_magics.commands.compare import CompareMagics
    from ipyllm_magics.commands.llm import LLMMagics
    from ipyllm_magics.commands.magics import LLMFamilyMagics

    return LLMMagics, LLMFamilyMagics, CompareMagics

"""``%load_ext ipyllm``: hands the shell to the magics. Only this module and ``widget_classes`` import a front end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics in a shell; IPython calls this for ``%load_ext ipyllm``."""
    from ipyllm_magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics from a shell; IPython calls this for ``%unload_ext ipyllm``."""
    from ipyllm_magics import unload

    unload(shell)

"""Function calling: the user's Python functions as tools of a model.

:mod:`~ipyllm.tools.schema` says what a function is to a model, :mod:`~ipyllm.tools.execute` runs the calls that a
model asks for, and :mod:`~ipyllm.tools.userside` is where the user's code runs: on the user's thread and loop, never
on the service thread.
"""

from ipyllm.tools.execute import ToolResult, execute_all
from ipyllm.tools.schema import Tool, toolbox
from ipyllm.tools.userside import Overran, UserSide
from ipyllm.tools.wake import Signal

__all__ = ["Overran", "Signal", "Tool", "ToolResult", "UserSide", "execute_all", "toolbox"]

"""Function calling: the user's Python functions as tools of a model.

:mod:`~ipyllm.tools.tool_schema` describes functions to a model, :mod:`~ipyllm.tools.execute` runs the calls that a
model asks for, and :mod:`~ipyllm.tools.caller_executor` runs the user's code: on the user's thread and loop, never on
the service thread.
"""

from ipyllm.tools.caller_executor import CallerExecutor, ToolTimeout
from ipyllm.tools.execute import execute_all
from ipyllm.tools.tool_schema import Tool, tools_by_name

__all__ = ["CallerExecutor", "Tool", "ToolTimeout", "execute_all", "tools_by_name"]

"""The output below a widget, for readers without a kernel."""

import subprocess
import sys

SCRIPT = """
import atexit
from IPython.core.interactiveshell import InteractiveShell
from ipyllm_widgets.static_output import StaticContent, StaticOutput

shell = InteractiveShell.instance()

class Kept:
    def __init__(self):
        self.output = StaticOutput(lambda: StaticContent("<b>Hi</b>", "Hi"))
        self.output._shell = shell

    def __del__(self):
        print("published" if self.output.update() else "left")

first, second = Kept(), Kept()
del first
atexit.unregister(shell.atexit_operations)
shell.atexit_operations()
assert shell.history_manager is None
del second
"""


def test_a_widget_that_is_left_to_the_end_of_the_interpreter_prints_no_traceback(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )
    assert ended.stdout.splitlines()[-1] == "left"
    assert "published" in ended.stdout
    assert ended.stderr == ""

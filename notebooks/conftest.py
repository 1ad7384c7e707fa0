"""How the tests run the notebooks: with settings of their own, and patience for the kernels of a busy machine."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from tests.conftest import isolate

_KERNEL_BEGINS_WITHIN_S = 300  # beside browsers; nbval gives up when one reply takes ten
_CELL_ENDS_WITHIN_S = 600  # it may make forty calls
_OUTPUT_COMES_WITHIN_S = 120  # after the cell's end; nbval gives up after five


class PatientKernel(RunningKernel):
    """A kernel with an empty ledger and no settings."""

    def __init__(self, kernel_name, cwd=None, startup_timeout=None):
        self._home = TemporaryDirectory(ignore_cleanup_errors=True)
        with pytest.MonkeyPatch.context() as environment:
            isolate(environment, Path(self._home.name))
            super().__init__(kernel_name, cwd, _KERNEL_BEGINS_WITHIN_S)

    def _ensure_iopub_up(self):
        """Ask each second until the kernel answers on both channels."""
        self.kc.wait_for_ready(timeout=_KERNEL_BEGINS_WITHIN_S)

    def stop(self):
        super().stop()
        self._home.cleanup()


nbval.plugin.RunningKernel = PatientKernel


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_KERNEL_BEGINS_WITHIN_S + _CELL_ENDS_WITHIN_S))
            item.output_timeout = _OUTPUT_COMES_WITHIN_S

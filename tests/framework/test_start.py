"""What has to be imported to begin: the time it takes is that of a few large packages."""

import subprocess
import sys


def _imported(code):
    """Modules that a new process has imported after some code."""
    report = "\nprint(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", "import sys\n" + code + report], check=True, capture_output=True)
    return set(done.stderr.decode().split())


def test_help_of_a_class():
    code = """
from upramp.framework import strun
try:
    strun.main(["calwebb_detector1", "--help"])
except SystemExit:
    pass
"""
    loaded = {name.partition(".")[0] for name in _imported(code)}
    assert "upramp" in loaded
    assert not loaded & {"asdf", "astropy", "crds", "jsonschema", "jwst", "matplotlib", "stdatamodels", "stpipe"}


def test_kernels_import_little_but_numba():
    numba = _imported("import numba")
    kernels = _imported("import upramp.kernels as k; [getattr(k, name) for name in k.__all__]")
    others = {name for name in kernels - numba if name.partition(".")[0] not in sys.stdlib_module_names}
    assert "upramp.kernels.ramp_fit" in others
    assert {name.partition(".")[0] for name in others} <= {"upramp", "numpy"}
    # What numba itself imports only to compile, where it is not needed for what comes from the cache.
    assert "numba.np.arrayobj" not in kernels

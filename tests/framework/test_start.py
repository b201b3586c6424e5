"""How long it takes to begin: CPU time of processes, which does not depend on what else the machine does."""

import resource
import subprocess
import sys


def _cpu_seconds(*arguments, repeats=3):
    """Least CPU time of some runs of Python, children and start included [s]."""
    times = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_of_a_class():
    # The best of a few, with a file system that has seen the modules before.
    assert _cpu_seconds("-m", "upramp.framework.strun", "calwebb_detector1", "--help") < 1.5


def test_kernels_import_little_but_numba():
    numba = _cpu_seconds("-c", "import numba")
    kernels = _cpu_seconds("-c", "import numba, upramp.kernels as k; [getattr(k, name) for name in k.__all__]")
    assert kernels - numba < 0.3

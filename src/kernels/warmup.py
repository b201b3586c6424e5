"""Compile the kernels of the fused schedule ahead of their first use, on two cores.

Compiling is what the first run waits for. It is nearly all Python code under the interpreter's lock, so threads do not
help; a second process (this module, run with the names of some kernels) compiles half of them into the cache on disk,
from which this one loads them. It is started with the interpreter of this process and touches nothing but the cache.
"""

import logging
import subprocess
import sys

from upramp.kernels import fused
from upramp.kernels._cores import available_cores
from upramp.kernels._jit import cache_folder, is_cached
from upramp.kernels._operations import OPERATIONS

__all__ = ["compile_kernels", "kernel_names"]

log = logging.getLogger(__name__)

DRIVER = "driver"
# Seconds of processor time, measured on a busy machine: of the long ones, of any other, and of starting a process.
_SECONDS = {"fit_ramps": 12.5, "detect_jumps": 5.5, "fit_likelihood": 7, DRIVER: 6, "flag_after_jumps": 1}
_OTHER, _START = 0.45, 0.5


def kernel_names():
    """Names of everything that can be compiled ahead."""
    return [*OPERATIONS.names, DRIVER]


def _compile(name):
    if name == DRIVER:
        fused.calibrate_rows.compile(fused.driver_types())
    else:
        OPERATIONS.compile(name)


def _is_missing(name):
    return not is_cached(fused.calibrate_rows if name == DRIVER else OPERATIONS.function(name))


def compile_kernels(names=None, processes=None):
    """Compile what is not in the cache yet.

    Parameters
    ----------
    names : iterable of str, optional
        Some of `kernel_names`; all of them if None.
    processes : int, optional
        At most two are used; by default as many as this process may use cores.

    Returns
    -------
    int
        Number of kernels that were missing. 0 also where there is no folder for compiled kernels: there each process
        compiles for itself, when it needs to.
    """
    if cache_folder() is None:
        return 0
    missing = [name for name in (names or kernel_names()) if _is_missing(name)]
    missing.sort(key=lambda name: -_SECONDS.get(name, _OTHER))
    processes = processes or available_cores()
    shares = [[], []]
    loads = [0, _START]
    for name in missing:
        share = loads.index(min(loads)) if processes > 1 else 0
        shares[share].append(name)
        loads[share] += _SECONDS.get(name, _OTHER)
    worker = None
    if shares[1]:
        command = [sys.executable, "-m", "upramp.kernels.warmup", *shares[1]]
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for name in shares[0]:
            _compile(name)
    finally:
        if worker is not None:
            _, errors = worker.communicate()
    if worker is not None and worker.returncode != 0:
        log.info("The second compiling process failed, this one does its share: %s", errors.decode().strip())
    return len(missing)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _compile(name)

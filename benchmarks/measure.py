"""Times and memory: of a call in this process, and of another process as a whole."""

import os
import platform
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from upramp.kernels._cores import available_cores

ROOT = Path(__file__).resolve().parent.parent
SAMPLING_INTERVAL = 0.01  # s; reading the status of a process takes 30 us
_RESET_PEAK = "5"  # what clear_refs takes to forget the peak of resident memory


@dataclass(frozen=True)
class Finished:
    """A process that ended well: wall time [s], peaks of resident and of anonymous resident memory [bytes]."""

    seconds: float
    peak: int
    peak_anonymous: int


def times(function, repeats, setup=None):
    """Wall times of a function [s], each after a call of ``setup``."""
    found = []
    for _ in range(repeats):
        if setup is not None:
            setup()
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return found


def memory(pid="self"):
    """Fields of the status of a process that are memory, in bytes: VmRSS, VmHWM (peak), RssAnon, ..."""
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.split()[0]) * 1024
    return fields


def peak_growth(function):
    """Call a function. Returns its result, and how far resident memory rose above that before the call [bytes]."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    before = memory()["VmRSS"]
    result = function()
    return result, max(0, memory()["VmHWM"] - before)


def run_process(command, environment, data_limit=None):
    """Run a process and watch its memory.

    Parameters
    ----------
    command : list of str
    environment : dict of str to str
        Added to the environment of this process, less its CRDS settings.
    data_limit : int, optional
        Most private memory it may have [kB]: ``ulimit -d``.

    Returns
    -------
    Finished

    Raises
    ------
    RuntimeError
        It fails; the end of its output is in the message.
    """
    if data_limit is not None:
        command = ["bash", "-c", 'ulimit -d "$0" && exec "$@"', str(data_limit), *command]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=inherited | environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        peaks = {"VmHWM": 0, "RssAnon": 0}
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, stop))
        watcher.start()
        try:
            code = process.wait()
            seconds = time.perf_counter() - start
        finally:
            stop.set()
            watcher.join()
            process.kill()
        if code != 0:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with status {code}:\n{output.read()[-4000:]}")
    return Finished(seconds, peaks["VmHWM"], peaks["RssAnon"])


def _watch(pid, peaks, stop):
    while not stop.wait(SAMPLING_INTERVAL):
        try:
            now = memory(pid)
        except (FileNotFoundError, ProcessLookupError):
            return
        for name, peak in peaks.items():
            peaks[name] = max(peak, now.get(name, 0))


def machine():
    """What the figures depend on, for the report."""
    information = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    total = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": available_cores(),
        "memory_bytes": total * 1024,
        "system": platform.platform(),
        "python": platform.python_version(),
    }

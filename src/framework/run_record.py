"""The record of a run that a program can read: what ran where, for how long, with which memory, and what it counted.

It is kept whatever the level of the log is; its lines are part of the log that goes into the products.
"""

import datetime
import json
import os
import platform
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import upramp
from upramp.kernels._cores import available_cores

__all__ = ["RunRecord", "StepEntry", "peak_memory"]

MEBIBYTE = 1 << 20


def peak_memory():
    """Peak resident memory of this process so far [bytes]; it never goes down."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def utc_now():
    """The present time in UTC, to the millisecond, in the form of ISO 8601."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


@dataclass
class StepEntry:
    """What is recorded of one step.

    Attributes
    ----------
    name : str
        Names from the outermost step down to this one, joined by dots.
    class_name : str
        Empty for a pass that does the work of several steps.
    status : str
        RUNNING, DONE, COMPLETE, SKIPPED or FAILED.
    reason : str or None
        Why it was skipped.
    runs : int
        How often it ran; 0 for a step whose correction was part of a fused pass.
    seconds : float
        Wall time, of all runs together.
    peak_memory : int or None
        Peak resident memory of the process up to the end of the step [bytes].
    counts : dict of str to int
        What the step counted, such as saturated samples.
    """

    name: str
    class_name: str
    status: str = "RUNNING"
    reason: str | None = None
    runs: int = 0
    seconds: float = 0.0
    peak_memory: int | None = None
    counts: dict = field(default_factory=dict)


class RunRecord:
    """Record of one run of an outermost step.

    Parameters
    ----------
    step : Step
        The outermost step.
    arguments : tuple
        What it runs on; the name of the first is kept, without its folder.
    """

    def __init__(self, step, arguments=()):
        self._clock = time.perf_counter()
        first = arguments[0] if arguments else None
        self.name, self.class_name = step.name, f"{type(step).__module__}.{type(step).__qualname__}"
        self.input = Path(first).name if isinstance(first, str | Path) else type(first).__name__ if arguments else None
        self.started, self.ended = utc_now(), None
        self.seconds = None
        self.platform = _platform()
        self.software = _software()
        self.products = []
        self.steps = {}

    def entry(self, step):
        """The entry of a step, made when it is first asked for."""
        name = step.qualified_name
        if name not in self.steps:
            self.steps[name] = StepEntry(name, f"{type(step).__module__}.{type(step).__qualname__}")
        return self.steps[name]

    def finish(self, step, seconds, status=None):
        """Note the end of a run of a step.

        Parameters
        ----------
        step : Step
        seconds : float
        status : str, optional
            SKIPPED or FAILED; else what the step has recorded itself, or DONE.
        """
        entry = self.entry(step)
        entry.runs += 1
        entry.seconds += seconds
        entry.peak_memory = peak_memory()
        entry.status = status or ("DONE" if entry.status == "RUNNING" else entry.status)
        return entry

    def add(self, name, seconds):
        """Note a part of the work that is no step of its own, such as a pass that does the work of several."""
        self.steps[name] = StepEntry(name, "", "DONE", None, 1, seconds, peak_memory())

    def close(self):
        """Note the end of the run."""
        self.ended, self.seconds = utc_now(), time.perf_counter() - self._clock

    def as_dict(self):
        """Everything as plain dictionaries, lists, strings and numbers."""
        own = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        return own | {"steps": [asdict(entry) for entry in self.steps.values()]}

    def save(self, path):
        """Write the record as JSON; the file appears when it is complete.

        Parameters
        ----------
        path : str or Path
        """
        from upramp.models import replacing

        with replacing(path) as handle:
            handle.write((json.dumps(self.as_dict(), indent=1) + "\n").encode())


def _platform():
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": available_cores(),
        "threads": os.environ.get("UPRAMP_THREADS"),
    }


def _software():
    found = {"upramp": upramp.__version__, "python": platform.python_version(), "numpy": np.__version__}
    numba = sys.modules.get("numba")  # a run that compiles nothing need not import it
    return found | ({"numba": numba.__version__} if numba else {})

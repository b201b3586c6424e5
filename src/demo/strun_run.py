"""Running ``strun`` as a user would, in a process of its own, and reading the times from its log."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from upramp.errors import UprampError
from upramp.framework.strun import COMPILE_MESSAGE

__all__ = ["StrunError", "StrunRun", "run_strun"]

_RECORD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - \S+ - [A-Z]+ - (.*)")
_DONE = re.compile(r"Step (\S+) done in ([\d.]+) s")
_LAST_LINES = 8


class StrunError(UprampError, RuntimeError):
    """``strun`` ended with an error; the message holds the end of its log."""


@dataclass(frozen=True)
class StrunRun:
    """One run of ``strun``.

    Attributes
    ----------
    seconds : float
        From the start of the process to its end.
    compiled : bool
        Whether kernels were compiled.
    schedule : str
        ``fused`` or ``stepwise``.
    calibration_seconds : float
        From the choice of the schedule to the end of the pipeline: references are read, products are written.
    step_seconds : dict of str to float
        Time of every step that ran on its own; empty for the fused schedule.
    """

    seconds: float
    compiled: bool
    schedule: str
    calibration_seconds: float
    step_seconds: dict


def run_strun(arguments, crds_path, log_path, on_message=None):
    """Run ``strun`` of this installation of upramp.

    Parameters
    ----------
    arguments : list of str
        What follows ``strun``.
    crds_path : Path
        The CRDS cache; servers and contexts of the caller's environment are left out.
    log_path : Path
        Where everything that is printed goes.
    on_message : callable, optional
        Called with each log message as it comes.

    Returns
    -------
    StrunRun

    Raises
    ------
    StrunError
        The exit status is not 0.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    environment["CRDS_PATH"] = str(crds_path)
    command = [sys.executable, "-m", "upramp.framework.strun", *arguments]
    started = time.perf_counter()
    lines = []
    with (
        Path(log_path).open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        ) as process,
    ):
        for line in process.stdout:
            log.write(line)
            log.flush()
            lines.append(line.rstrip("\n"))
            record = _RECORD.match(line)
            if record and on_message is not None:
                on_message(record[2])
    seconds = time.perf_counter() - started
    if process.returncode:
        end = "\n".join(lines[-_LAST_LINES:])
        raise StrunError(f"strun ended with status {process.returncode}; its log is {log_path}, the end of it:\n{end}")
    return _read_log(lines, seconds)


def _read_log(lines, seconds):
    compiled, schedule, chosen, done, steps = False, "", None, None, {}
    for record in filter(None, map(_RECORD.match, lines)):
        moment, message = datetime.strptime(record[1], "%Y-%m-%d %H:%M:%S,%f"), record[2]
        compiled = compiled or message.startswith(COMPILE_MESSAGE)
        if message.startswith("Schedule: "):
            schedule, chosen = message.split()[1], moment
        elif finished := _DONE.match(message):
            done = moment
            steps[finished[1]] = steps.get(finished[1], 0.0) + float(finished[2])
    if chosen is None or done is None:
        raise StrunError("the log of strun does not say which schedule ran, and how long it took")
    steps.popitem()  # the last to end is the pipeline itself
    return StrunRun(seconds, compiled, schedule, (done - chosen).total_seconds(), steps)

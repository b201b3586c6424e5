"""Several runs on the same input into the same folder at once: every product is whole, and that of one of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upramp import models
from upramp.pipelines import Detector1Pipeline

CODE = """
import sys, time
from pathlib import Path
from upramp.framework.strun import main
import upramp.pipelines.detector1
Path("ready" + sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.001)
sys.exit(main(sys.argv[2:]))
"""


def _together(*commands):
    """Start the commands, let them go at the same moment, and wait; their statuses and messages."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(number), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, command in enumerate(commands)
    ]
    while not all(Path(f"ready{number}").exists() for number in range(len(commands))):
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
    Path("go").touch()
    return [(*process.communicate(timeout=100), process.returncode) for process in processes]


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_the_same_run_at_once(small, schedule):
    # Alone first, which compiles what is not in the cache yet.
    alone = Detector1Pipeline(output_dir="alone", save_results=True, schedule=schedule, steps=small.steps())
    alone.run(str(small.path))
    command = ["calwebb_detector1", str(small.path), f"--schedule={schedule}", "--disable-crds-steppars"]
    for out, _, status in _together(*[[*command, *small.options()]] * (3 if schedule == "fused" else 2)):
        assert status == 0, out
    for suffix in ("rate", "rateints"):
        with models.open(f"x_{suffix}.fits") as found, models.open(f"alone/x_{suffix}.fits") as alone:
            for name in ("data", "err", "dq", "var_poisson", "var_rnoise"):
                np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
            assert found.meta.filename == f"x_{suffix}.fits"
    assert not list(Path().glob(".*"))


def test_different_runs_at_once(small):
    """The last one to end wins, as a whole; a product is never made of two."""
    command = ["calwebb_detector1", str(small.path), "--disable-crds-steppars", *small.options()]
    changed = [*command, "--steps.jump.rejection_threshold=40", "--steps.dark_current.skip=true"]
    choices = []
    for number, changes in enumerate(({}, {"jump": {"rejection_threshold": 40.0}, "dark_current": {"skip": True}})):
        steps = small.steps(**changes)
        Detector1Pipeline(output_dir=f"alone{number}", save_results=True, steps=steps).run(str(small.path))
        with models.open(f"alone{number}/x_rate.fits") as rate:
            choices.append((rate.meta.cal_step.dark_sub, rate.data.tobytes(), rate.err.tobytes()))
    assert choices[0] != choices[1]
    for out, _, status in _together(command, changed, command):
        assert status == 0, out
    with models.open("x_rate.fits") as rate:
        assert (rate.meta.cal_step.dark_sub, rate.data.tobytes(), rate.err.tobytes()) in choices

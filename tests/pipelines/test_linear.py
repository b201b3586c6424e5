"""A linear pipeline of real steps: kill -9 in the middle, resumed in a new process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upramp import models

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
KEYS = ("dq_init", "saturation", "superbias", "linearity", "dark_current", "jump", "ramp_fit")


def _strun(small, *options):
    code = "import sys; from upramp.framework.strun import main; sys.exit(main())"
    own = [f"--steps.{key}.{name}={value}" for key in KEYS for name, value in small.of(key).items()]
    command = [sys.executable, "-c", code, "straight.StraightPipeline", str(small.path), *own, *options]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES), "STPIPE_DISABLE_CRDS_STEPPARS": "true"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def _content(path):
    with models.open(path) as model:
        return {
            name: value.tobytes() if isinstance(value, np.ndarray) else value
            for name, value in model.to_flat_dict().items()
            if name != "meta.date" and not name.startswith("cal_logs")
        } | {"shape": model.shape, "cards": repr(model.extra_fits)}


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """Products of a run that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    done = _strun(small, f"--output_dir={folder}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(("killed_in", "resume"), [("jump", "--start_step=jump"), ("refpix", "--resume=true")])
def test_the_product_is_the_same_to_the_last_bit(small, whole, killed_in, resume):
    # The parent of the shell that runs a hook is the process of the pipeline.
    done = _strun(small, f"--steps.{killed_in}.post_hooks=kill -9 $PPID,")
    assert done.returncode == -signal.SIGKILL
    assert not Path("x_0_straightpipeline.fits").exists()
    done = _strun(small, resume)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Step saturation running" not in done.stderr and f"Step {killed_in} running" in done.stderr
    for name in ("x_0_straightpipeline.fits", "x_1_straightpipeline.fits"):
        assert _content(name) == _content(whole / name)
        with models.open(name) as product:
            assert sum("Step saturation running" in line for line in product.cal_logs["straight"]) == 1


def test_a_changed_reference_is_noticed(small, tmp_path):
    assert _strun(small, "--end_step=dark_current").returncode == 0
    other = tmp_path / "dark.fits"
    with models.open(small.references["dark"]) as dark:
        dark.data[...] += 1
        dark.save(other)
    done = _strun(small, "--start_step=jump", f"--steps.dark_current.override_dark={other}")
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "the state after dark_current is not usable" in text and "dark.content has changed" in text, text
    assert "Traceback" not in done.stderr
    done = _strun(small, "--resume=true", f"--steps.dark_current.override_dark={other}")
    assert done.returncode == 0 and "Step dark_current running" in done.stderr
    assert "Step linearity running" not in done.stderr

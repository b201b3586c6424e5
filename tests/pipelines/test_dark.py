"""calwebb_dark: the head of the chain, ending in a ramp."""

import numpy as np
from astropy.io import fits

from upramp import steps as step_classes
from upramp.framework.strun import main
from upramp.models import RampModel
from upramp.pipelines import DarkPipeline

CLASSES = {
    "dq_init": "DQInitStep",
    "saturation": "SaturationStep",
    "superbias": "SuperBiasStep",
    "refpix": "RefPixStep",
    "linearity": "LinearityStep",
}


def parameters(small):
    return {key: pars for key, pars in small.steps().items() if key in DarkPipeline.step_defs}


def test_steps_one_after_the_other(small):
    result = DarkPipeline(steps=parameters(small)).run(str(small.path))
    ramp = RampModel(small.path)
    for key, name in CLASSES.items():
        ramp = getattr(step_classes, name)(**small.of(key)).run(ramp)
    for name in ("data", "groupdq", "pixeldq"):
        np.testing.assert_array_equal(getattr(result, name), getattr(ramp, name))
    status = result.meta.cal_step
    assert (status.linearity, status.ipc, status.group_scale) == ("COMPLETE", "SKIPPED", "SKIPPED")
    assert status.dark_sub is None and status.jump is None


def test_by_alias(small, workdir):
    options = [f"--steps.{k}.{key}={value}" for k, pars in parameters(small).items() for key, value in pars.items()]
    assert main(["calwebb_dark", str(small.path), f"--output_dir={workdir}", *options]) == 0
    (path,) = workdir.glob("*.fits")
    with fits.open(path) as hdus:
        assert hdus[0].header["DATAMODL"] == "RampModel" and hdus["SCI"].shape == (2, 6, 12, 16)

"""calwebb_detector1 as a part of a pipeline of one's own."""

from pathlib import Path

import numpy as np
import pytest

from upramp import models
from upramp.errors import ReferenceNotFoundError
from upramp.framework import Pipeline, Step
from upramp.pipelines import Detector1Pipeline


class HalveStep(Step):
    """Halve a rate image."""

    class_alias = "halve"

    def process(self, data):
        model = self.prepare_output(data, open_as=models.ImageModel)
        model.data = model.data / 2
        return model


class MinePipeline(Pipeline):
    """Stage 1, and something after it."""

    class_alias = "mine"
    step_defs = {"detector1": Detector1Pipeline, "halve": HalveStep}  # noqa: RUF012

    def process(self, data):
        return self.halve(self.detector1(data))


class DeepPipeline(Pipeline):
    """That in yet another one."""

    step_defs = {"mine": MinePipeline}  # noqa: RUF012

    def process(self, data):
        return self.mine(data)


@pytest.fixture
def alone(small):
    return Detector1Pipeline(steps=small.steps()).run(str(small.path))


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
@pytest.mark.parametrize("inner", [{}, {"save_results": True}, {"output_file": "first.fits", "save_results": True}])
def test_products_of_both(small, alone, schedule, inner):
    steps = {"detector1": {"schedule": schedule, "steps": small.steps(), **inner}}
    result = MinePipeline(save_results=True, output_dir="out", steps=steps).run(str(small.path))
    np.testing.assert_array_equal(result.data, alone.data / 2)
    base = "first" if "output_file" in inner else "x"
    inside = {f"{base}_rate.fits", f"{base}_rateints.fits"} if inner else set()
    assert {path.name for path in Path("out").iterdir()} == {"x_minepipeline.fits", *inside}
    assert result.meta.filename == "x_minepipeline.fits"
    assert result.meta.ref_file.gain.name == alone.meta.ref_file.gain.name
    if inner:
        with models.open(f"out/{base}_rate.fits") as rate:
            np.testing.assert_array_equal(rate.data, alone.data)
            assert "mine" in rate.cal_logs.instance


def test_two_levels_down_on_the_command_line(small, alone):
    from upramp.framework.strun import main

    options = [option.replace("--steps.", "--steps.mine.steps.detector1.steps.") for option in small.options()]
    name = f"{__name__}.DeepPipeline"
    assert main([name, str(small.path), *options, "--steps.mine.steps.detector1.save_results=true"]) == 0
    assert {path.name for path in Path().iterdir()} == {"x_deeppipeline.fits", "x_rate.fits", "x_rateints.fits"}
    with models.open("x_deeppipeline.fits") as product:
        np.testing.assert_array_equal(product.data, alone.data / 2)


def test_references_of_every_level_are_looked_for_at_the_start(small):
    steps = {"mine": {"steps": {"detector1": {"steps": small.steps(jump={"override_gain": "gone.fits"})}}}}
    steps["mine"]["steps"]["detector1"]["steps"]["dq_init"]["override_mask"] = "lost.fits"
    with pytest.raises(ReferenceNotFoundError) as caught:
        DeepPipeline(steps=steps).run(str(small.path))
    assert "gone.fits" in str(caught.value) and "lost.fits" in str(caught.value)
    steps["mine"]["steps"]["detector1"]["skip"] = True
    with pytest.raises(TypeError, match="halve got a|not compatible|ImageModel"):
        DeepPipeline(steps=steps).run(models.RampModel(str(small.path)))


def test_hooks_of_every_kind_leave_the_numbers_alone(small, alone):
    seen = []
    hooks = {"post_hooks": [lambda ramp: seen.append(ramp.shape), "test -s {0}"]}
    result = Detector1Pipeline(steps=small.steps(linearity=hooks, jump=hooks)).run(str(small.path))
    assert seen == [(2, 6, 12, 16)] * 2
    np.testing.assert_array_equal(result.data, alone.data)


def test_a_hook_that_corrects_at_any_point(small, alone):
    def brighter(ramp):
        ramp.data[...] *= 2

    result = Detector1Pipeline(steps=small.steps(gain_scale={"pre_hooks": [brighter]})).run(str(small.path))
    np.testing.assert_array_equal(result.data, 2 * alone.data)

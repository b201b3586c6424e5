"""The examples of the paper of 2015 that described the framework: only the names of imports are changed."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from upramp.framework.strun import main
from upramp.models import ImageModel, RampModel

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OWN_STEPS = {"dq": "dq_init", "bias": "superbias", "reset": "reset", "jump": "jump", "ramp_fit": "ramp_fit"}


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("sloper_pipe", "my_pipeline"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import my_pipeline
    import sloper_pipe

    return sloper_pipe, my_pipeline


@pytest.fixture
def input_file(small):
    shutil.copy(small.path, "input.fits")
    return "input.fits"


def _steps(small):
    return {key: small.of(name) for key, name in OWN_STEPS.items()} | {"ipc": {"skip": True}}


def _options(steps, prefix="--steps"):
    return [f"{prefix}.{step}.{key}={value}" for step, pars in steps.items() for key, value in pars.items()]


def test_a_class_on_the_command_line(small, input_file):
    command = ["upramp.pipelines.SloperPipeline", input_file, "--output_file=myimage.fits", *small.options()]
    assert main(command) == 0
    assert sorted(path.name for path in Path().iterdir()) == [input_file, "myimage_rate.fits", "myimage_rateints.fits"]


def test_a_parameter_file_on_the_command_line(small, input_file):
    shutil.copy(EXAMPLES / "sloper.cfg", "sloper.cfg")
    assert main(["sloper.cfg", input_file, *small.options()]) == 0
    assert {path.name for path in Path().iterdir()} - {input_file, "sloper.cfg"} == {
        "myimage_ramp.fits",
        "myimage_rate.fits",
        "myimage_rateints.fits",
    }


def test_call_with_a_parameter_file(small, input_file):
    from upramp.pipelines import SloperPipeline

    shutil.copy(EXAMPLES / "sloper.cfg", "sloper.cfg")
    rate = SloperPipeline.call("input.fits", config_file="sloper.cfg", steps=small.steps())
    assert Path("myimage_ramp.fits").exists() and rate.meta.filename == "myimage_rate.fits"


def test_the_class_as_it_is_printed(small, input_file, examples):
    sloper_pipe, _ = examples
    rate, rateints = sloper_pipe.SloperPipeline.call(input_file, save_cal=True, steps=_steps(small))
    assert np.isfinite(rate.data).any() and rateints.data.ndim == 3
    with RampModel("input_cal.fits") as saved:
        assert saved.meta.cal_step.jump == "COMPLETE" and saved.data.ndim == 4
    assert any(line.endswith("Starting calwebb_sloper …") for line in rate.cal_logs["SloperPipeline"])


def test_the_class_as_it_is_printed_on_the_command_line(small, input_file, examples):
    arguments = [input_file, "--output_file=myimage.fits", "--save_cal=true", "--output_dir=out"]
    assert main(["sloper_pipe.SloperPipeline", *arguments, *_options(_steps(small))]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "myimage_0_sloperpipeline.fits",
        "myimage_1_sloperpipeline.fits",
        "myimage_cal.fits",
    ]


def test_a_pipeline_that_contains_a_pipeline(small, input_file, examples):
    _, my_pipeline = examples
    flat = ImageModel(np.full((12, 16), 0.5, np.float32))
    flat.save("flat.fits")
    options = ["--steps.sloper.save_cal=true", "--steps.flat.flat=flat.fits", "--steps.flat.level=2"]
    command = ["my_pipeline.MyPipeline", input_file, *options, *_options(_steps(small), "--steps.sloper.steps")]
    assert main(command) == 0
    assert Path("input_cal.fits").exists()
    plain, _ = examples[0].SloperPipeline.call(input_file, steps=_steps(small))
    with ImageModel("input_mypipeline.fits") as product:
        np.testing.assert_array_equal(product.data, plain.data * np.float32(4))
        assert product.meta.wcsinfo.crpix1 == 8.5
        log = product.cal_logs["MyPipeline"]
    assert sum("running with args" in line for line in log) == 9
    assert my_pipeline.MyPipeline().sloper.jump.qualified_name == "MyPipeline.sloper.jump"

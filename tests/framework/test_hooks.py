"""Hooks before and after a step."""

import logging
from pathlib import Path

import numpy as np
import pytest

from upramp.errors import ConfigError, HookError
from upramp.models import ImageModel


@pytest.fixture
def model():
    return ImageModel(np.ones((2, 2), dtype=np.float32))


def test_function_that_changes_in_place(tiny, model):
    assert (tiny.AddStep(post_hooks=["tiny_steps.double"]).run(model).data == 10).all()
    assert (tiny.AddStep(post_hooks=[tiny.double]).run(model).data == 10).all()


def test_returned_value_replaces(tiny, model):
    step = tiny.AddStep(post_hooks=["tiny_steps.replace_by_none_then_copy"])
    assert (step.run(model).data == -1).all()
    step = tiny.AddStep(pre_hooks=["tiny_steps.replace_by_none_then_copy"])
    assert (step.run(model).data == 3).all()
    assert (model.data == 1).all()


def test_step_class_instance_and_call_form(tiny, model):
    for hook in (tiny.AddStep, "tiny_steps.AddStep", tiny.AddStep(), "tiny_steps.AddStep(val=4.0, n=1)"):
        assert (tiny.AddStep(post_hooks=[hook]).run(model).data == 9).all()


def test_hooks_of_sub_steps_run_when_skipped(tiny, model):
    steps = {"one": {"skip": True, "post_hooks": ["tiny_steps.double"]}}
    assert (tiny.TinyPipeline(steps=steps).run(model).data == 6).all()


def test_shell_command(tiny, model, caplog, exposure):
    caplog.set_level(logging.INFO)
    tiny.AddStep(pre_hooks=["echo got {0}"]).run(exposure)
    assert f"STDOUT: got {exposure}" in caplog.text
    tiny.AddStep(post_hooks=["cp {0} copy.fits"]).run(model)
    assert Path("copy.fits").exists()
    assert Path("AddStep.post_hook0.0000.fits").exists()


def test_failing_command(tiny, model):
    with pytest.raises(HookError, match="'exit 3' returned error code 3"):
        tiny.AddStep(post_hooks=["exit 3"]).run(model)


@pytest.mark.parametrize("hook", [5, dict])
def test_not_a_hook(tiny, hook):
    with pytest.raises(ConfigError, match="is not a hook; expected"):
        tiny.AddStep(pre_hooks=[hook])


def test_arguments_must_be_literals(tiny):
    with pytest.raises(ConfigError, match="name=literal"):
        tiny.AddStep(pre_hooks=["tiny_steps.AddStep(val=open('x'))"])

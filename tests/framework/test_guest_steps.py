"""Steps of the reference framework as hooks, and as members of pipelines."""

import numpy as np
import pytest

from upramp.errors import ConfigError
from upramp.framework import Pipeline
from upramp.models import ImageModel

pytest.importorskip("jwst", reason="the peer is not installed")


@pytest.fixture
def guests(tiny):
    import guests

    return guests


@pytest.fixture
def model(workdir):
    image = ImageModel(np.ones((2, 2), dtype=np.float32))
    image.meta.filename = "x_rate.fits"
    return image


def test_hooks(tiny, guests, model, monkeypatch):
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")  # call() of theirs ends the process without CRDS
    forms = {
        guests.RaiseStep: 6,
        guests.RaiseStep(amount=2): 7,
        "guests.RaiseStep": 6,
        "guests.RaiseStep(amount=3)": 8,
        "guests.raised": 6,
    }
    kinds = []  # what the next hook gets
    for hook, expected in forms.items():
        result = tiny.AddStep(post_hooks=[hook, kinds.append]).run(model)
        assert type(result) is ImageModel
        assert (result.data == expected).all(), hook
        assert type(kinds.pop()) is ImageModel
        assert result.meta.cal_step.background == "COMPLETE"
    assert (tiny.AddStep(pre_hooks=[guests.RaiseStep]).run(model).data == 6).all()
    assert (model.data == 1).all()


@pytest.fixture
def pipeline(guests):
    class Two(Pipeline):
        class_alias = "two"
        step_defs = {"one": guests.RaiseStep, "other": guests.RaiseStep}  # noqa: RUF012

        def process(self, image):
            return self.other.run(self.one.run(image))

    return Two


def test_members(pipeline, model, workdir):
    steps = {"one": {"amount": "2.5", "details": True}, "other": {"skip": True}}
    made = pipeline(steps=steps, output_dir="out")
    assert (made.one.amount, made.other.amount) == (2.5, 1)
    result = made.run(model)
    assert type(result) is ImageModel
    assert (result.data == 3.5).all()
    assert [path.name for path in (workdir / "out").iterdir()] == ["x_before.fits"]
    assert made.get_pars()["steps"]["one"]["amount"] == 2.5
    with pytest.raises(ConfigError, match="amount"):
        pipeline(steps={"one": {"amount": -1}})
    with pytest.raises(ConfigError, match="nonsense"):
        pipeline(steps={"one": {"nonsense": 1}})


def test_members_on_models_of_their_own_kind(pipeline, guests, model):
    theirs = guests.to_peer(model)
    result = pipeline().run(theirs)
    assert type(result) is type(theirs)
    assert (result.data == 3).all()
    assert (theirs.data == 1).all()


def test_members_save_as_ours_do(pipeline, model, workdir):
    pipeline(save_results=True, steps={"one": {"save_results": True}}).run(model)
    assert sorted(path.name for path in workdir.glob("*.fits")) == ["x_one.fits", "x_two.fits"]

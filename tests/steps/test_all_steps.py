"""What all steps that correct a ramp do alike."""

import logging

import numpy as np
import pytest

from upramp import steps
from upramp.errors import MissingKeywordError, ReferenceFileError, ReferenceNotFoundError
from upramp.models import Level1bModel, RampModel

NAMES = {
    "dq_init": "DQInitStep",
    "saturation": "SaturationStep",
    "superbias": "SuperBiasStep",
    "refpix": "RefPixStep",
    "linearity": "LinearityStep",
    "dark_current": "DarkCurrentStep",
    "jump": "JumpStep",
}
# The reference without which a step skips itself.
NEEDS = {
    "dq_init": ("mask",),
    "saturation": ("saturation",),
    "ipc": ("ipc",),
    "superbias": ("superbias",),
    "linearity": ("linearity",),
    "dark_current": ("dark",),
    "jump": ("gain", "readnoise"),
}
CLASSES = NAMES | {"ipc": "IPCStep", "ramp_fit": "RampFitStep", "gain_scale": "GainScaleStep"}


def step_class(key):
    return getattr(steps, CLASSES[key])


def status(model, key):
    return model.meta.cal_step["dark_sub" if key == "dark_current" else key]


@pytest.mark.parametrize("key", NAMES)
def test_a_step_by_itself_leaves_the_callers_model_alone(small, ramp, key):
    if key == "refpix":
        ramp.pixeldq[:, :4] |= 2**31  # the window has no reference pixels of its own
    if key == "linearity":
        ramp.data = ramp.data / 3
    data, groupdq, pixeldq = ramp.data.copy(), ramp.groupdq.copy(), ramp.pixeldq.copy()
    result = step_class(key).call(ramp, **small.of(key))
    assert result is not ramp
    np.testing.assert_array_equal(ramp.data, data)
    np.testing.assert_array_equal(ramp.groupdq, groupdq)
    np.testing.assert_array_equal(ramp.pixeldq, pixeldq)
    assert status(ramp, key) is None
    assert status(result, key) == "COMPLETE"
    changed = [
        not np.array_equal(getattr(result, name), getattr(ramp, name)) for name in ("data", "groupdq", "pixeldq")
    ]
    assert any(changed)


@pytest.mark.parametrize("key", NAMES)
def test_a_file_is_opened(small, key):
    result = step_class(key).call(str(small.path), **small.of(key))
    assert isinstance(result, RampModel)
    assert result.data.shape == (2, 6, 12, 16)


@pytest.mark.parametrize(("key", "reftype"), [(key, reftype) for key, types in NEEDS.items() for reftype in types])
def test_without_reference_the_step_is_skipped_and_says_so(small, ramp, caplog, key, reftype):
    caplog.set_level(logging.WARNING, logger="upramp")
    pars = small.of(key) | {f"override_{reftype}": "N/A"}
    result = step_class(key).call(ramp, configure_log=False, **pars)
    assert status(result, key) == "SKIPPED"
    np.testing.assert_array_equal(result.data, ramp.data)
    assert not result.groupdq.any() and not result.pixeldq.any()
    assert f"skipped: No {reftype.upper()} reference file found for this exposure (N/A)" in caplog.text
    assert result.meta.ref_file[reftype].name == "N/A"


@pytest.mark.parametrize("key", [key for key in NEEDS if key != "ipc"])
def test_references_that_cannot_be_had_are_an_error(ramp, key):
    with pytest.raises(ReferenceNotFoundError, match="override_"):
        step_class(key).call(ramp, configure_log=False)


def test_the_wrong_model_is_refused(small):
    with pytest.raises(TypeError, match="should be opened as a RampModel"):
        steps.DQInitStep.call(Level1bModel(small.path), **small.of("dq_init"))


@pytest.mark.parametrize(
    ("key", "path", "keyword"),
    [
        ("saturation", "exposure.nframes", "NFRAMES"),
        ("refpix", "instrument.detector", "DETECTOR"),
        ("refpix", "subarray.xstart", "SUBSTRT1"),
        ("dark_current", "exposure.groupgap", "GROUPGAP"),
        ("jump", "exposure.group_time", "TGROUP"),
        ("ramp_fit", "exposure.frame_time", "TFRAME"),
    ],
)
def test_missing_keywords_are_named(small, ramp, key, path, keyword):
    ramp[f"meta.{path}"] = None
    with pytest.raises((MissingKeywordError, ReferenceFileError), match=keyword):
        step_class(key).call(ramp, **small.of(key))

"""The steps of MIRI: what they record, and what they refuse."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from tests.reference.small_exposure import make_small_exposure

from upramp import steps
from upramp.errors import MissingKeywordError, ReferenceFileError
from upramp.models import DarkMIRIModel, RampModel, ResetModel, RSCDModel

STEPS = {
    "firstframe": "FirstFrameStep",
    "lastframe": "LastFrameStep",
    "reset": "ResetStep",
    "rscd": "RscdStep",
    "dark_current": "DarkCurrentStep",
}


@pytest.fixture(scope="module")
def miri(tmp_path_factory):
    """A small exposure of MIRI; the files are not to be changed."""
    folder = tmp_path_factory.mktemp("miri")
    return make_small_exposure(folder, detector="MIRIMAGE", subarray="SUB64", window=None, ngroups=7)


@pytest.fixture
def exposure(miri):
    """The exposure as a ramp."""
    return RampModel(miri.path)


def changed(model_class, path, folder, **changes):
    """Path of a reference with other values of its metadata."""
    model = model_class(path)
    for name, value in changes.items():
        model[name.replace("__", ".")] = value
    model.save(folder / "changed.fits")
    return str(folder / "changed.fits")


@pytest.mark.parametrize("key", STEPS)
def test_a_step_by_itself_leaves_the_callers_model_alone(miri, exposure, key):
    before = exposure.data.copy()
    result = getattr(steps, STEPS[key]).call(exposure, **miri.of(key))
    assert result.meta.cal_step["dark_sub" if key == "dark_current" else key] == "COMPLETE"
    np.testing.assert_array_equal(exposure.data, before)
    assert not exposure.groupdq.any() and not exposure.pixeldq.any()
    flags_only = key in ("firstframe", "lastframe", "rscd")
    assert result.groupdq.any() == flags_only
    assert np.array_equal(result.data, before) == flags_only


@pytest.mark.parametrize("key", ["firstframe", "lastframe", "reset", "rscd"])
def test_other_instruments_are_skipped(small, ramp, caplog, key):
    caplog.set_level(logging.WARNING, logger="upramp")
    result = getattr(steps, STEPS[key]).call(ramp, configure_log=False, **small.of(key))
    assert result.meta.cal_step[key] == "SKIPPED"
    assert "the exposure is from NIRCAM, DETECTOR NRCBLONG; this step is only for MIRI data" in caplog.text
    assert not result.groupdq.any()


@pytest.mark.parametrize("key", ["reset", "rscd", "dark_current"])
def test_without_reference_the_step_is_skipped_and_says_so(miri, exposure, caplog, key):
    caplog.set_level(logging.WARNING, logger="upramp")
    pars = {name: "N/A" for name in miri.of(key)}
    result = getattr(steps, STEPS[key]).call(exposure, configure_log=False, **pars)
    assert result.meta.cal_step["dark_sub" if key == "dark_current" else key] == "SKIPPED"
    assert "reference file found for this exposure (N/A)" in caplog.text


@pytest.mark.parametrize(("key", "groups", "needed"), [("firstframe", 3, 4), ("lastframe", 2, 3), ("rscd", 2, 3)])
def test_too_few_groups(miri, exposure, caplog, key, groups, needed):
    caplog.set_level(logging.WARNING, logger="upramp")
    short = RampModel(exposure.data[:, :groups].copy())
    short.update(exposure)
    short.meta.exposure.ngroups = groups
    result = getattr(steps, STEPS[key]).call(short, configure_log=False, **miri.of(key))
    assert result.meta.cal_step[key] == "SKIPPED"
    assert f"the exposure has {groups} groups; {needed} are needed" in caplog.text


def test_bright_pixels_keep_their_first_group(exposure):
    exposure.groupdq[0, 2:, 5, 6] = 2
    kept = steps.FirstFrameStep.call(exposure)
    assert (kept.groupdq[0, 0, 5, 6], kept.groupdq[1, 0, 5, 6], kept.pixeldq[5, 6]) == (0, 1, 1 << 28)
    assert (steps.FirstFrameStep.call(exposure, bright_use_group1=False).groupdq[:, 0] & 1).all()


def test_rscd_records_what_it_did(miri, exposure):
    exposure.groupdq[1, 3:, 5, 6] = 2
    exposure.groupdq[0, 1:, 7, 8] = 2
    result = steps.RscdStep.call(exposure, **miri.of("rscd"))
    counted = {name: result.meta.rscd[name] for name in (
        "ngroups_skip_int1", "ngroups_skip_int2p", "keep_groups_saturation_int1", "keep_groups_saturation_int2p",
        "keep_bright_firstgroup_int1", "keep_bright_firstgroup_int2p",
    )}  # fmt: skip
    assert list(counted.values()) == [1, 4, 1, 1, 1, 0]
    assert result.groupdq[1, :, 5, 6].tolist() == [1, 0, 0, 2, 2, 2, 2]
    assert result.groupdq[0, :, 7, 8].tolist() == [0, 2, 2, 2, 2, 2, 2]
    assert result.pixeldq[5, 6] == result.pixeldq[7, 8] == 1 << 28


def test_rscd_of_a_later_segment(miri, exposure):
    exposure.meta.exposure.integration_start, exposure.meta.exposure.nints = 3, 9
    result = steps.RscdStep.call(exposure, **miri.of("rscd"))
    assert (result.groupdq[:, :4] & 1).all() and not result.groupdq[:, 4:].any()
    assert (result.meta.rscd.ngroups_skip_int1, result.meta.rscd.keep_groups_saturation_int1) == (None, None)


@pytest.mark.parametrize(("pattern", "words"), [("SLOWR1", "SLOWR1"), (None, "a pattern that READPATT does not name")])
def test_rscd_without_a_row_for_the_mode(miri, exposure, caplog, pattern, words):
    caplog.set_level(logging.WARNING, logger="upramp")
    exposure.meta.exposure.readpatt = pattern
    result = steps.RscdStep.call(exposure, configure_log=False, **miri.of("rscd"))
    assert result.meta.cal_step.rscd == "SKIPPED"
    assert f"has no row for SUB64 read in {words}" in caplog.text


def test_rscd_reference_of_an_old_kind(miri, exposure, tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    with fits.open(miri.references["rscd"]) as hdus:
        table = fits.BinTableHDU.from_columns(
            [column for column in hdus["RSCD_GROUP_SKIP"].columns if column.name != "group_skip1"],
            name="RSCD_GROUP_SKIP",
        )
        fits.HDUList([hdus[0], table]).writeto(tmp_path / "old.fits")
    assert (RSCDModel(tmp_path / "old.fits").rscd_group_skip_table["group_skip1"] == -1).all()
    result = steps.RscdStep.call(exposure, configure_log=False, override_rscd=str(tmp_path / "old.fits"))
    assert result.meta.rscd.ngroups_skip_int1 == 1
    assert "is of an old kind" in caplog.text


def test_prism_under_its_old_name(miri, exposure):
    exposure.meta.subarray.name = "SUBPRISM"
    assert steps.RscdStep.call(exposure, **miri.of("rscd")).meta.cal_step.rscd == "COMPLETE"


def test_reset_follows_the_number_of_the_integration(miri, exposure):
    reset = np.nan_to_num(ResetModel(miri.references["reset"]).data)
    for start, ramps in ((1, (0, 1)), (2, (1, 1))):
        exposure.meta.exposure.integration_start = start
        result = steps.ResetStep.call(exposure, **miri.of("reset"))
        for i, ramp in enumerate(ramps):
            np.testing.assert_array_equal(result.data[i], exposure.data[i] - reset[ramp])


def test_reset_of_the_shape_of_the_exposure_needs_no_subarray(miri, exposure):
    reference = ResetModel(np.full((1, *exposure.shape[1:]), 0.5, np.float32))
    reference.dq = np.full(exposure.shape[-2:], 1 << 5, np.uint32)
    result = steps.ResetStep.call(exposure, override_reset=reference)
    np.testing.assert_array_equal(result.data, exposure.data - np.float32(0.5))
    assert (result.pixeldq & (1 << 5)).all()
    reference.dq = np.zeros((3, 3), np.uint32)
    with pytest.raises(ReferenceFileError, match=r"DQ array of shape \(3, 3\); expected"):
        steps.ResetStep.call(exposure, override_reset=reference)


def test_firstframe_is_deprecated(exposure):
    with pytest.warns(DeprecationWarning, match="rscd leaves out the first group"):
        steps.FirstFrameStep().process(exposure)


def test_reset_keywords_count_not_the_array(miri, exposure, tmp_path):
    path = changed(ResetModel, miri.references["reset"], tmp_path, meta__exposure__ngroups=2, meta__exposure__nints=1)
    reset = np.nan_to_num(ResetModel(path).data)
    result = steps.ResetStep.call(exposure, override_reset=path)
    np.testing.assert_array_equal(result.data[1, :2], exposure.data[1, :2] - reset[0, :2])
    np.testing.assert_array_equal(result.data[:, 2:], exposure.data[:, 2:])


def test_reset_that_states_more_than_it_has(miri, exposure, tmp_path):
    path = changed(ResetModel, miri.references["reset"], tmp_path, meta__exposure__ngroups=9)
    with pytest.raises(ReferenceFileError, match=r"states NINTS 2 and NGROUPS 9; its SCI array has 2 and 7"):
        steps.ResetStep.call(exposure, override_reset=path)


@pytest.mark.parametrize(("key", "model_class"), [("reset", ResetModel), ("dark_current", DarkMIRIModel)])
def test_references_of_another_shape(miri, exposure, tmp_path, key, model_class):
    model = model_class(data=np.zeros((2, 7, 10, 10), np.float32))
    model.meta.instrument.name = "MIRI"
    model.save(tmp_path / "small.fits")
    reftype = "reset" if key == "reset" else "dark"
    with pytest.raises(ReferenceFileError, match=r"expected \(integrations, groups, 64, 72\)"):
        getattr(steps, STEPS[key]).call(exposure, **{f"override_{reftype}": str(tmp_path / "small.fits")})


def test_dark_of_each_integration(miri, exposure, tmp_path):
    dark = DarkMIRIModel(miri.references["dark"])
    dark.data = np.stack([dark.data[0], dark.data[0] + 100])
    dark.dq[0, 0, 3, 4], dark.dq[1, 0, 5, 6] = 1, 2
    dark.dq_def = None
    dark.save(tmp_path / "dark.fits")
    clean = np.nan_to_num(dark.data)
    for start, ramps in ((1, (0, 1)), (2, (1, 1))):
        exposure.meta.exposure.integration_start = start
        output = str(tmp_path / "used.fits")
        result = steps.DarkCurrentStep.call(exposure, override_dark=str(tmp_path / "dark.fits"), dark_output=output)
        for i, ramp in enumerate(ramps):
            np.testing.assert_array_equal(result.data[i], exposure.data[i] - clean[ramp])
        assert (result.pixeldq[3, 4], result.pixeldq[5, 6]) == (1, 2)
    np.testing.assert_array_equal(DarkMIRIModel(tmp_path / "used.fits").data, dark.data)


def test_a_dark_without_flags_leaves_those_of_the_exposure(miri, exposure):
    dark = DarkMIRIModel(data=DarkMIRIModel(miri.references["dark"]).data)
    dark.meta.instrument.name = "MIRI"
    result = steps.DarkCurrentStep.call(exposure, override_dark=dark)
    np.testing.assert_array_equal(result.pixeldq, exposure.pixeldq)
    assert result.meta.cal_step.dark_sub == "COMPLETE"


def test_averaged_dark_of_a_later_segment_has_all_integrations(miri, exposure, tmp_path):
    one = RampModel(exposure.data[:1].copy())
    one.update(exposure)
    one.meta.exposure.integration_start, one.meta.exposure.nframes = 5, 4
    dark = DarkMIRIModel(data=np.ones((2, 28, 64, 72), np.float32) * np.array([1, 2])[:, None, None, None])
    dark.meta.instrument.name, dark.meta.exposure.nframes, dark.meta.exposure.groupgap = "MIRI", 1, 0
    dark.dq = np.zeros((2, 1, 64, 72), np.uint32)
    dark.save(tmp_path / "dark.fits")
    result = steps.DarkCurrentStep.call(one, override_dark=str(tmp_path / "dark.fits"))
    np.testing.assert_array_equal(result.data, one.data - 2)


def test_side_pixels_of_subarrays_are_not_corrected(exposure, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    result = steps.RefPixStep.call(exposure, configure_log=False)
    assert result.meta.cal_step.refpix == "SKIPPED" and "SUB64 is a subarray" in caplog.text


def test_side_pixels_of_a_full_frame(exposure):
    full = RampModel(np.zeros((1, 3, 1024, 1032), np.float32))
    full.update(exposure)
    full.data[:, 1:, :, 2::4] = 5
    result = steps.RefPixStep.call(full)
    assert result.meta.cal_step.refpix == "COMPLETE"
    assert not result.data.any()


@pytest.mark.parametrize(
    ("key", "path", "keyword"), [("rscd", "exposure.ngroups", "NGROUPS"), ("reset", "exposure.ngroups", "NGROUPS")]
)
def test_missing_keywords_are_named(miri, exposure, key, path, keyword):
    exposure[f"meta.{path}"] = None
    with pytest.raises(MissingKeywordError, match=keyword):
        getattr(steps, STEPS[key]).call(exposure, **miri.of(key))


@pytest.mark.parametrize(
    ("kind", "lamp"), [("MIR_MRS", None), ("NRS_IFU", None), ("NRS_LAMP", "IFU"), ("MIR_IMAGE", None)]
)
def test_rates_of_integral_field_units_have_their_own_model(miri, exposure, kind, lamp):
    exposure.meta.exposure.type = kind
    if lamp is not None:
        exposure.meta.instrument.lamp_mode = lamp
    rate, rateints = steps.RampFitStep.call(exposure, **miri.of("ramp_fit"))
    assert type(rate).__name__ == ("ImageModel" if kind == "MIR_IMAGE" else "IFUImageModel")
    assert type(rateints).__name__ == "CubeModel"

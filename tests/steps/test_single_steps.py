"""What single steps do besides calling their kernel."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from tests.reference.small_exposure import make_small_exposure

from upramp import steps
from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.kernels.snowballs import SnowballParameters, flag_snowballs
from upramp.models import (
    CubeModel,
    DarkModel,
    GainModel,
    ImageModel,
    MaskModel,
    RampFitOutputModel,
    RampModel,
    ReadnoiseModel,
)
from upramp.simulate import Window
from upramp.steps.not_available import BackgroundStep, ResampleStep
from upramp.steps.ramp_step import require


def test_user_supplied_flags_are_added(small, ramp, tmp_path):
    flags = np.zeros((12, 16), np.uint32)
    flags[3, 4], flags[5, 6] = 1, 2**11
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(flags, name="DQ")]).writeto(tmp_path / "mine.fits")
    plain = steps.DQInitStep.call(ramp, **small.of("dq_init"))
    result = steps.DQInitStep.call(ramp, user_supplied_dq=str(tmp_path / "mine.fits"), **small.of("dq_init"))
    np.testing.assert_array_equal(result.pixeldq, plain.pixeldq | flags)
    assert (result.groupdq[:, :, 3, 4] & 1).all()


def test_guide_star_ramps_get_no_flags_from_the_mask(small, ramp, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    ramp.meta.exposure.type = "FGS_ACQ1"
    result = steps.DQInitStep.call(ramp, configure_log=False, **small.of("dq_init"))
    assert result.meta.cal_step.dq_init == "COMPLETE" and "EXP_TYPE is FGS_ACQ1" in caplog.text
    assert not result.pixeldq.any() and not result.groupdq.any()


@pytest.mark.parametrize("shape", [(11, 16), None])
def test_user_supplied_flags_of_another_shape(small, ramp, tmp_path, shape):
    image = None if shape is None else np.zeros(shape, np.uint32)
    fits.PrimaryHDU(image).writeto(tmp_path / "mine.fits")
    with pytest.raises(ReferenceFileError, match=r"mine\.fits.*expected \(12, 16\)"):
        steps.DQInitStep.call(ramp, user_supplied_dq=str(tmp_path / "mine.fits"), **small.of("dq_init"))


@pytest.mark.parametrize(
    ("nframes", "divisor", "reason"),
    [(None, 4, "NFRAMES is not in the header"), (4, None, "FRMDIVSR is not"), (4, 4, "both 4")],
)
def test_group_scale_says_why_not(ramp, caplog, nframes, divisor, reason):
    caplog.set_level(logging.WARNING, logger="upramp")
    ramp.meta.exposure.nframes, ramp.meta.exposure.frame_divisor = nframes, divisor
    result = steps.GroupScaleStep.call(ramp, configure_log=False)
    assert result.meta.cal_step.group_scale == "SKIPPED" and reason in caplog.text
    np.testing.assert_array_equal(result.data, ramp.data)


def test_group_scale(ramp):
    ramp.meta.exposure.nframes, ramp.meta.exposure.frame_divisor = 3, 4
    result = steps.GroupScaleStep.call(ramp)
    assert result.meta.cal_step.group_scale == "COMPLETE"
    np.testing.assert_allclose(result.data, ramp.data * 4 / 3, rtol=2e-7)


def test_saturation_does_without_superbias(small, ramp):
    result = steps.SaturationStep.call(ramp, **small.of("saturation") | {"override_superbias": "N/A"})
    assert result.meta.cal_step.saturation == "COMPLETE"


def test_dark_output_is_the_dark_that_was_subtracted(small, ramp, workdir):
    result = steps.DarkCurrentStep.call(ramp, dark_output="used.fits", **small.of("dark_current"))
    dark = DarkModel(workdir / "used.fits")
    assert dark.data.shape == (6, 12, 16)
    np.testing.assert_allclose(ramp.data - result.data, np.broadcast_to(dark.data, ramp.shape), atol=4e-3)
    assert np.abs(dark.data).max() > 0


def test_average_dark_current(small, ramp):
    result = steps.DarkCurrentStep.call(ramp, average_dark_current=0.25, **small.of("dark_current"))
    assert result.average_dark_current.shape == (12, 16)
    assert (result.average_dark_current == np.float32(0.25)).all()
    assert (steps.DarkCurrentStep.call(ramp, **small.of("dark_current")).average_dark_current == 0).all()


def test_average_dark_current_of_each_pixel(small, ramp, tmp_path):
    """An image of averages in the reference replaces only one that the ramp has already (as in the peer)."""
    dark = DarkModel(small.references["dark"])
    dark.average_dark_current = np.full((12, 16), 0.5, np.float32)
    dark.meta.exposure.average_dark_current = 0.25
    dark.save(tmp_path / "dark.fits")
    override = {"override_dark": str(tmp_path / "dark.fits")}
    assert not steps.DarkCurrentStep.call(ramp, **override).has_array("average_dark_current")
    ramp.average_dark_current = np.zeros((12, 16), np.float32)
    assert (steps.DarkCurrentStep.call(ramp, **override).average_dark_current == np.float32(0.5)).all()
    override["average_dark_current"] = 0.125
    assert (steps.DarkCurrentStep.call(ramp, **override).average_dark_current == np.float32(0.125)).all()


def test_dark_output_of_a_dark_that_fits_has_all_its_groups(small, ramp, workdir):
    """A dark that is averaged has the groups of the exposure; standard flags need no table."""
    ngroups = ramp.shape[1]
    for nframes, expected in ((1, DarkModel(small.references["dark"]).shape[0]), (2, 2)):
        one = RampModel(ramp.data[:, :2].copy())
        one.update(ramp)
        one.meta.exposure.nframes, one.meta.exposure.ngroups = nframes, 2
        steps.DarkCurrentStep.call(one, dark_output="used.fits", output_dir="out", **small.of("dark_current"))
        with fits.open(workdir / "out" / "used.fits") as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "DQ"]
            assert hdus["SCI"].shape[0] == hdus[0].header["NGROUPS"] == expected
            assert hdus[0].header["NFRAMES"] == nframes
    assert ngroups > 2


def test_a_zeroframe_without_its_keyword_stays_as_it_is(small, ramp):
    ramp.zeroframe = ramp.data[:, 0].copy()
    for keyword in (None, False, True):
        ramp.meta.exposure.zero_frame = keyword
        result = steps.SuperBiasStep.call(ramp, **small.of("superbias"))
        assert np.array_equal(result.zeroframe, ramp.zeroframe) == (not keyword)


def test_dark_of_longer_groups_is_not_for_this_exposure(small, ramp, tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    dark = DarkModel(small.references["dark"])
    dark.meta.exposure.nframes = 8
    dark.save(tmp_path / "dark.fits")
    result = steps.DarkCurrentStep.call(ramp, override_dark=str(tmp_path / "dark.fits"), configure_log=False)
    assert result.meta.cal_step.dark_sub == "SKIPPED"
    assert "the dark has NFRAMES 8 and GROUPGAP 0, more than the exposure (1 and 0)" in caplog.text
    np.testing.assert_array_equal(result.data, ramp.data)


@pytest.mark.parametrize("shape", [(3, 4), (2, 2), (3, 3, 5, 5)])
def test_ipc_kernel_of_no_use(ramp, tmp_path, shape):
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones(shape, np.float32), name="SCI")])
    hdus[0].header["DATAMODL"] = "IPCModel"
    hdus.writeto(tmp_path / "ipc.fits")
    with pytest.raises(ReferenceFileError, match="IPC reference"):
        steps.IPCStep.call(ramp, override_ipc=str(tmp_path / "ipc.fits"))


@pytest.mark.parametrize(("nframes", "ngroups", "differs"), [(4, 6, True), (1, 6, False), (4, 1, False)])
def test_inverse_coefficients_matter_for_averaged_groups(ramp, small, tmp_path, nframes, ngroups, differs):
    short = RampModel(ramp.data[:, :ngroups].copy())
    short.update(ramp)
    short.meta.exposure.nframes = nframes
    with fits.open(small.references["linearity"]) as hdus:
        hdus.append(fits.ImageHDU(hdus["COEFFS"].data * [[[1]], [[1]], [[-1]], [[0]], [[0]]], name="INV_COEFFS"))
        hdus["INV_COEFFS"].data = hdus["INV_COEFFS"].data.astype(np.float32)
        hdus.writeto(tmp_path / "linearity.fits")
    plain = steps.LinearityStep.call(short, **small.of("linearity"))
    found = steps.LinearityStep.call(short, override_linearity=str(tmp_path / "linearity.fits"))
    assert found.meta.cal_step.linearity == "COMPLETE"
    assert (found.data != plain.data).any() == differs
    np.testing.assert_allclose(found.data, plain.data, rtol=0.02)


def test_jump_needs_three_groups(ramp, small, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    short = RampModel(ramp.data[:, :2].copy())
    short.update(ramp)
    result = steps.JumpStep.call(short, configure_log=False, **small.of("jump"))
    assert result.meta.cal_step.jump == "SKIPPED"
    assert "the exposure has 2 groups; 3 are needed" in caplog.text


def test_jump_counts_primary_cosmic_rays(ramp, small):
    ramp.data = np.broadcast_to(1000 + 10 * np.arange(6, dtype=np.float32)[:, None, None], ramp.shape).copy()
    ramp.data[0, 3:, 5, 5] += 5000
    result = steps.JumpStep.call(ramp, **small.of("jump"))
    assert (result.groupdq[0, 3, 5, 5], result.groupdq[1, 3, 5, 5]) == (4, 0)
    seconds = ramp.meta.exposure.group_time * 10 * 12 * 16
    assert result.meta.exposure.primary_cosmic_rays == pytest.approx(1000 / seconds)


def test_ramp_fit_gives_two_models(ramp, small):
    rate, rateints = steps.RampFitStep.call(ramp, **small.of("ramp_fit"))
    assert isinstance(rate, ImageModel) and isinstance(rateints, CubeModel)
    assert rate.data.shape == (12, 16) and rateints.data.shape == (2, 12, 16)
    assert rate.meta.bunit_data == rateints.meta.bunit_err == "DN/s"
    assert rate.meta.cal_step.ramp_fit == "COMPLETE"
    np.testing.assert_array_equal(rateints.int_times, ramp.int_times)
    assert not ramp.groupdq.any()


@pytest.mark.parametrize("reftype", ["gain", "readnoise"])
def test_ramp_fit_without_reference(ramp, small, reftype):
    result, nothing = steps.RampFitStep.call(ramp, **small.of("ramp_fit") | {f"override_{reftype}": "N/A"})
    assert nothing is None
    assert isinstance(result, RampModel) and result.meta.cal_step.ramp_fit == "SKIPPED"


def test_gain_scale(small, ramp):
    rate, _ = steps.RampFitStep.call(ramp, **small.of("ramp_fit"))
    unscaled = steps.GainScaleStep.call(rate, **small.of("gain_scale"))
    assert unscaled.meta.cal_step.gain_scale == "SKIPPED"
    rate.meta.exposure.gain_factor = 2.0
    scaled = steps.GainScaleStep.call(rate, **small.of("gain_scale"))
    np.testing.assert_array_equal(scaled.data, 2 * rate.data)
    np.testing.assert_array_equal(scaled.err, 2 * rate.err)
    np.testing.assert_array_equal(scaled.var_poisson, 4 * rate.var_poisson)
    np.testing.assert_array_equal(scaled.dq, rate.dq)


@pytest.mark.parametrize(("xstart", "ystart"), [(2040, 945), (945, 2038), (0, 945)])
def test_refpix_of_a_subarray_that_is_not_on_the_detector(ramp, caplog, xstart, ystart):
    caplog.set_level(logging.WARNING, logger="upramp")
    ramp.meta.subarray.xstart, ramp.meta.subarray.ystart = xstart, ystart
    result = steps.RefPixStep.call(ramp, configure_log=False)
    assert result.meta.cal_step.refpix == "SKIPPED"
    assert f"it covers columns {xstart} to {xstart + 15} and rows {ystart} to {ystart + 11}, of 2048" in caplog.text
    np.testing.assert_array_equal(result.data, ramp.data)


@pytest.mark.parametrize(
    ("xstart", "ystart", "told"), [(4, 900, False), (5, 900, True), (900, 2033, True), (900, 2034, False)]
)
def test_refpix_tells_that_there_are_no_reference_pixels(ramp, caplog, xstart, ystart, told):
    caplog.set_level("INFO")
    ramp.meta.subarray.xstart, ramp.meta.subarray.ystart = xstart, ystart
    ramp.pixeldq[:] = 0
    result = steps.RefPixStep.call(ramp, configure_log=False)
    assert ("none of the reference pixels" in caplog.text) == told
    assert result.meta.cal_step.refpix == "COMPLETE"
    np.testing.assert_array_equal(result.data, ramp.data)


def test_refpix_of_an_unknown_detector(ramp):
    ramp.meta.instrument.detector = "MULTIPLE"
    with pytest.raises(UnsupportedModeError, match="DETECTOR is MULTIPLE; refpix knows NRCA1"):
        steps.RefPixStep.call(ramp)


def test_steps_that_are_not_there(ramp):
    for step_class in (BackgroundStep, ResampleStep):
        step = step_class()
        assert step.skip and step.wanted_reference_types() == []
    with pytest.raises(UnsupportedModeError, match="BackgroundStep: this step is not implemented yet"):
        BackgroundStep.call(ramp)


def test_require_names_every_missing_keyword(ramp):
    ramp.meta.exposure.nframes = None
    with pytest.raises(Exception, match=r"x_uncal\.fits lacks NFRAMES \(meta\.exposure\.nframes\), TGR") as raised:
        ramp.meta.exposure.group_time = None
        require(ramp, NFRAMES="meta.exposure.nframes", TGROUP="meta.exposure.group_time")
    assert type(raised.value).__name__ == "MissingKeywordError"


def test_jump_finds_snowballs(tmp_path):
    small = make_small_exposure(tmp_path, window=Window(945, 945, 64, 48), snowballs=2, snowball_radius=3.0)
    ramp = RampModel(small.path)
    for name in ("DQInitStep", "SaturationStep", "SuperBiasStep", "LinearityStep", "DarkCurrentStep"):
        step = getattr(steps, name)
        ramp = step.call(ramp, **small.of(step.class_alias))
    before = ramp.groupdq.copy()
    plain = steps.JumpStep.call(ramp, **small.of("jump"))
    found = steps.JumpStep.call(ramp, expand_large_events=True, edge_size=5, min_sat_area=4.0, **small.of("jump"))
    np.testing.assert_array_equal(ramp.groupdq, before)
    assert found.meta.exposure.extended_emission_events > plain.meta.exposure.extended_emission_events == 0
    assert found.meta.exposure.primary_cosmic_rays == plain.meta.exposure.primary_cosmic_rays
    parameters = SnowballParameters(edge_size=5, min_sat_area=4.0)
    expected = flag_snowballs(plain.groupdq, group_time=ramp.meta.exposure.group_time, parameters=parameters)
    np.testing.assert_array_equal(found.groupdq, expected.groupdq)


def test_jump_finds_showers(tmp_path):
    """As MIRI ramps have them; snowballs, looked for as well, are not counted."""
    small = make_small_exposure(tmp_path, nints=2, ngroups=12, cosmic_ray_rate=0.0)
    ramp = RampModel(small.path)
    ramp.meta.exposure.group_time = 20.0
    data = np.random.default_rng(0).normal(50, 2, ramp.shape).cumsum(axis=1)
    data[1, 5:, 3:10, 4:12] += 25
    ramp.data = data.astype(np.float32)
    pars = {"extend_min_area": 20, "time_masked_after_shower": 0.0} | small.of("jump")
    plain = steps.JumpStep.call(ramp, **pars)
    found = steps.JumpStep.call(ramp, find_showers=True, expand_large_events=True, **pars)
    added = (found.groupdq & ~plain.groupdq) & 4
    assert added[1, 5].sum() > 0 and not added[0].any() and not added[1, 6:].any()
    exposure = found.meta.exposure
    pixel_seconds = exposure.group_time * (2 * 12 - 2) * 12 * 16
    assert exposure.extended_emission_events == pytest.approx(1e6 / pixel_seconds)


def test_likelihood_fit(ramp, small, workdir, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    pars = small.of("ramp_fit") | {"algorithm": "LIKELY", "configure_log": False}
    rate, rateints = steps.RampFitStep.call(ramp, save_opt=True, **pars)
    assert isinstance(rate, ImageModel) and isinstance(rateints, CubeModel)
    assert rate.meta.cal_step.ramp_fit == "COMPLETE" and "upramp.steps" not in caplog.text
    plain, _ = steps.RampFitStep.call(ramp, **small.of("ramp_fit"))
    assert not np.array_equal(rate.data, plain.data)
    assert [path.name for path in workdir.iterdir()] == ["x_likely_chisq.fits"]
    chisq = ImageModel(workdir / "x_likely_chisq.fits")
    assert chisq.data.shape == rate.data.shape and chisq.meta.cal_step.ramp_fit is None
    np.testing.assert_array_equal(np.isnan(chisq.data), np.isnan(rate.data))
    assert not ramp.groupdq.any()


def test_likelihood_fit_needs_four_groups(ramp, small, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    short = RampModel(ramp.data[:, :3].copy())
    short.update(ramp)
    rate, _ = steps.RampFitStep.call(short, algorithm="LIKELY", configure_log=False, **small.of("ramp_fit"))
    assert "3 groups are too few for the likelihood fit: using OLS_C" in caplog.text
    plain, _ = steps.RampFitStep.call(short, **small.of("ramp_fit"))
    np.testing.assert_array_equal(rate.data, plain.data)


def test_uneven_groups_are_fitted_by_likelihood(ramp, small, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    frame_time = ramp.meta.exposure.frame_time
    even, _ = steps.RampFitStep.call(ramp, algorithm="LIKELY", **small.of("ramp_fit"))
    ramp.meta.exposure.read_times = [[(k + 1) * frame_time] for k in range(6)]
    rate, _ = steps.RampFitStep.call(ramp, configure_log=False, **small.of("ramp_fit"))
    assert "not evenly spaced: using LIKELY" in caplog.text
    np.testing.assert_array_equal(rate.data, even.data)


def test_fit_of_every_segment_is_saved(ramp, small, workdir):
    ramp.groupdq[0, 3, 5, 5] = 4
    ramp.groupdq[1, :, 6, 6] = 2
    pars = small.of("ramp_fit")
    rate, rateints = steps.RampFitStep.call(ramp, save_opt=True, opt_name="mine.fits", **pars)
    assert [path.name for path in workdir.iterdir()] == ["mine_fitopt.fits"]
    details = RampFitOutputModel(workdir / "mine_fitopt.fits")
    assert details.slope.shape == (2, 2, 12, 16) and details.crmag.shape == (2, 1, 12, 16)
    np.testing.assert_array_equal(details.slope[:, 0, 0, 0], rateints.data[:, 0, 0])
    assert details.crmag[0, 0, 5, 5] == ramp.data[0, 3, 5, 5] - ramp.data[0, 2, 5, 5]
    assert (details.weights[1, :, 6, 6] == 0).all() and details.pedestal[1, 6, 6] == 0
    assert details.meta.cal_step.ramp_fit is None and rate.meta.cal_step.ramp_fit == "COMPLETE"


def test_a_skipped_saturation_names_the_superbias_it_looked_up(ramp, small):
    pars = small.of("saturation") | {"override_saturation": "N/A"}
    result = steps.SaturationStep.call(ramp, **pars)
    assert result.meta.cal_step.saturation == "SKIPPED"
    assert result.meta.ref_file.superbias.name == small.of("saturation")["override_superbias"]


def test_details_of_the_only_group_after_a_jump(workdir):
    """The fit clears the jump of a first group that was not the first; its segment is saved all the same."""
    ramp = RampModel(np.tile(1000 + 100 * np.arange(5, dtype=np.float32)[:, None, None], (1, 1, 1, 2)))
    ramp.groupdq = np.array([[1, 1], [1, 1], [4, 0], [2, 0], [2, 0]], np.uint8)[None, :, None]
    ramp.meta.filename, ramp.meta.instrument = "x_ramp.fits", {"name": "MIRI", "detector": "MIRIMAGE"}
    ramp.meta.exposure = {"nframes": 1, "groupgap": 0, "group_time": 10.0, "frame_time": 10.0, "readpatt": "FASTR1"}
    gain, noise = GainModel(np.full((1, 2), 2.0)), ReadnoiseModel(np.full((1, 2), 10.0))
    for model in (ramp, gain, noise):
        model.meta.subarray = {"name": "GENERIC", "xstart": 1, "ystart": 1, "xsize": 2, "ysize": 1}
    _, rateints = steps.RampFitStep(override_gain=gain, override_readnoise=noise, save_opt=True).run(ramp)
    assert rateints.data.ravel().tolist() == [120.0, 10.0]
    np.testing.assert_array_equal(RampFitOutputModel("x_fitopt.fits").slope[0, 0], rateints.data[0])


def test_flags_that_are_not_there_or_have_another_shape(caplog):
    mask = MaskModel(np.zeros((3, 4), np.uint32))
    mask.dq[1, 1] = 1
    ramp = RampModel()
    ramp.data = np.ones((1, 2, 3, 4))
    for model in (ramp, mask):
        model.meta.subarray.xstart = model.meta.subarray.ystart = 1
        model.meta.subarray.xsize, model.meta.subarray.ysize = 4, 3
    assert ramp.pixeldq is None
    for wrong in (False, True):
        if wrong:
            ramp.pixeldq, ramp.groupdq = np.ones((2, 2)), np.ones((1, 1, 1, 1))
        caplog.clear()
        with caplog.at_level("INFO"):
            result = steps.DQInitStep(override_mask=mask).run(ramp)
        assert "Setting input pixel DQ to default array" in caplog.text
        assert "Setting input group DQ to default array" in caplog.text
        assert result.pixeldq.tolist() == [[0] * 4, [0, 1, 0, 0], [0] * 4]
        assert result.groupdq.sum() == 2

"""Steps that are off by default."""

import logging
from typing import ClassVar

import asdf
import numpy as np
import pytest

from upramp import steps
from upramp.errors import ConfigError, FileFormatError, ReferenceFileError
from upramp.framework import Pipeline
from upramp.kernels import flag_charge_migration
from upramp.models import CubeModel, EmiModel, ImageModel, PictureFrameModel, RampModel
from upramp.simulate import SimulationConfig, make_references, simulate_exposure, write_exposure


def shortened(ramp, ngroups):
    """The first groups of a ramp."""
    short = RampModel(ramp.data[:, :ngroups].copy())
    short.update(ramp)
    short.meta.exposure.ngroups = ngroups
    return short


def test_charge_migration(ramp):
    before = ramp.groupdq.copy()
    threshold = float(np.median(ramp.data))
    result = steps.ChargeMigrationStep.call(ramp, signal_threshold=threshold)
    assert result.meta.cal_step.charge_migration == "COMPLETE"
    np.testing.assert_array_equal(result.groupdq, flag_charge_migration(ramp.data, before, threshold))
    np.testing.assert_array_equal(ramp.groupdq, before)
    np.testing.assert_array_equal(result.data, ramp.data)
    assert (result.groupdq == 129).any()


def test_charge_migration_needs_three_groups(ramp, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    short = shortened(ramp, 2)
    result = steps.ChargeMigrationStep.call(short, signal_threshold=0.0, configure_log=False)
    assert result.meta.cal_step.charge_migration == "SKIPPED"
    assert "the exposure has 2 groups; 3 are needed" in caplog.text
    assert not result.groupdq.any()


@pytest.fixture(scope="module")
def miri(tmp_path_factory):
    """A small exposure of MIRI with interference, and its references by type."""
    folder = tmp_path_factory.mktemp("miri")
    config = SimulationConfig(detector="MIRIMAGE", subarray="SUB64", nints=2, ngroups=12, emi=10.0, star_count=0)
    references = make_references(config, folder)
    return write_exposure(simulate_exposure(config), folder / "x_uncal.fits"), references


def left(ramp, frequency=390.625):
    """Amplitude of the wave in what the lines of SUB64 leave [DN]."""
    frames = np.arange(ramp.shape[1])[:, None, None] * 8512 + 8512 * 13 * np.arange(ramp.shape[0])[:, None, None, None]
    clocks = frames + np.arange(64)[:, None] * 28 + np.arange(72) // 4
    residual = ramp.data - ramp.data.mean(axis=1, keepdims=True)
    return 2 * abs(np.mean(residual * np.exp(2j * np.pi * clocks * 1e-5 * frequency)))


@pytest.mark.parametrize(
    "changes",
    [{}, {"fit_ints_separately": True}, {"algorithm": "sequential"}, {"onthefly_corr_freq": [390.625]}],
    ids=["joint", "separately", "sequential", "on the fly"],
)
def test_emicorr_leaves_little(miri, changes, workdir):
    path, references = miri
    ramp = RampModel(path)
    result = steps.EmiCorrStep.call(ramp, override_emicorr=str(references["emicorr"]), **changes)
    assert result.meta.cal_step.emicorr == "COMPLETE"
    used = "N/A" if "onthefly_corr_freq" in changes else str(references["emicorr"].name)
    assert (result.meta.ref_file.emicorr.name or "N/A").endswith(used)
    assert left(ramp) > 9 and left(result) < 0.7
    assert not list(workdir.iterdir())


def test_emicorr_saves_what_it_measures(miri, workdir):
    path, _ = miri
    steps.EmiCorrStep.call(str(path), onthefly_corr_freq=[390.625], save_intermediate_results=True, nbins=50)
    assert [one.name for one in workdir.iterdir()] == ["x_emi_ref_waves.asdf"]
    model = EmiModel("x_emi_ref_waves.asdf")
    assert model.frequencies["390.625"]["phase_amplitudes"].shape == (50,)
    assert model.subarray_cases["SUB64"]["freqs"] == {"FASTR1": ["390.625"]}


def test_emicorr_takes_a_model_and_the_old_parameter(miri, workdir):
    path, references = miri
    expected = steps.EmiCorrStep.call(str(path), override_emicorr=str(references["emicorr"])).data
    model = EmiModel(references["emicorr"])
    model.save("copied.asdf")
    np.testing.assert_array_equal(steps.EmiCorrStep.call(str(path), override_emicorr=model).data, expected)
    with pytest.warns(DeprecationWarning, match="override_emicorr"):
        result = steps.EmiCorrStep.call(str(path), user_supplied_reffile="copied.asdf", configure_log=False)
    np.testing.assert_array_equal(result.data, expected)
    assert result.meta.ref_file.emicorr.name is None


def _without_reference(ramp):
    return {"override_emicorr": "N/A"}, "No EMICORR reference file found"


def _of_niriss(ramp):
    ramp.meta.instrument.name = "NIRISS"
    return {}, "the exposure is from NIRISS"


def _of_another_pattern(ramp):
    ramp.meta.exposure.readpatt = "ANY"
    return {}, "READPATT is ANY"


def _of_another_subarray(ramp):
    ramp.meta.subarray.name = "MASK1550"
    return {}, "has no frequencies for MASK1550 read in FASTR1"


def _of_a_subarray_without_clocks(ramp):
    ramp.meta.subarray.name = "SUBPRISM"
    return {"onthefly_corr_freq": [10.0]}, "the table of this step has no frequencies for SUBPRISM"


@pytest.mark.parametrize(
    "change",
    [_without_reference, _of_niriss, _of_another_pattern, _of_another_subarray, _of_a_subarray_without_clocks],
)
def test_emicorr_says_why_not(miri, change, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    path, references = miri
    ramp = RampModel(path)
    pars, reason = change(ramp)
    pars = {"override_emicorr": str(references["emicorr"])} | pars
    result = steps.EmiCorrStep.call(ramp, configure_log=False, **pars)
    assert result.meta.cal_step.emicorr == "SKIPPED"
    assert reason in caplog.text
    np.testing.assert_array_equal(result.data, ramp.data)


def test_emicorr_needs_three_groups(miri, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    path, references = miri
    short = shortened(RampModel(path), 2)
    result = steps.EmiCorrStep.call(short, override_emicorr=str(references["emicorr"]), configure_log=False)
    assert result.meta.cal_step.emicorr == "SKIPPED" and "2 groups; 3 are needed" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "is not an ASDF file"),
        (b"#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n--- {meta: {}}\n...\n", "has no freq"),
    ],
)
def test_emicorr_reference_of_no_use(miri, tmp_path, content, message):
    path = tmp_path / "bad.asdf"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        steps.EmiCorrStep.call(str(miri[0]), override_emicorr=str(path))


def test_emicorr_reference_without_a_wave(miri):
    model = EmiModel(miri[1]["emicorr"])
    model.frequencies = {"Hz10": {"frequency": 10.0, "phase_amplitudes": np.ones(5)}}
    with pytest.raises(ReferenceFileError, match="lists Hz390 for SUB64"):
        steps.EmiCorrStep.call(str(miri[0]), override_emicorr=model)


class CleanAlone(Pipeline):
    """clean_flicker_noise of a ramp that no other step has seen, with references given to another step."""

    step_defs: ClassVar = {"clean_flicker_noise": steps.CleanFlickerNoiseStep, "ramp_fit": steps.RampFitStep}

    def process(self, ramp):
        return self.clean_flicker_noise.run(ramp)


def test_flicker_noise_of_a_ramp_without_flags(miri, workdir):
    path, references = miri
    given = {f"override_{name}": str(references[name]) for name in ("gain", "readnoise")}
    wanted = {"clean_flicker_noise": {"skip": False, "save_mask": True}, "ramp_fit": given}
    cleaned = CleanAlone.call(RampModel(path), steps=wanted)
    assert cleaned.meta.cal_step.clean_flicker_noise == "COMPLETE"
    mask = ImageModel("x_mask.fits")
    assert 0 < mask.data.mean() < 1
    assert mask.meta.cal_step.ramp_fit == "COMPLETE"
    assert (mask.meta.ref_file.gain.name, mask.meta.ref_file.readnoise.name) == tuple(
        str(references[name]) for name in ("gain", "readnoise")
    )


def test_everything_goes_back_if_a_fit_of_frequencies_fails(workdir):
    rng = np.random.default_rng(4)
    rates = CubeModel(rng.normal(0, 5, (2, 64, 2048)).astype(np.float32))
    rates.meta.instrument.name, rates.meta.instrument.detector = "NIRSPEC", "NRS1"
    rates.meta.exposure.type, rates.meta.subarray.name = "NRS_FIXEDSLIT", "SUBS200A1"
    rates.meta.subarray.slowaxis, rates.meta.filename = 1, "x_rateints.fits"
    # What remains in the second image is an outlier between two pixels, which go with it.
    mask = np.ones(rates.shape, np.float32)
    mask[1] = 0
    mask[1, 30, 99:102] = 1
    rates.data[1, 30, 99:102] = 0, 50, 0
    before = rates.data.copy()
    pars = {"fit_method": "fft", "background_method": None, "n_sigma": 0.0, "configure_log": False}
    CubeModel(mask).save("mask.fits")
    failed = steps.CleanFlickerNoiseStep.call(rates, user_mask="mask.fits", **pars)
    assert failed.meta.cal_step.clean_flicker_noise == "FAILED"
    np.testing.assert_array_equal(failed.data, before)
    mask[1] = 1
    CubeModel(mask).save("mask.fits")
    cleaned = steps.CleanFlickerNoiseStep.call(rates, user_mask="mask.fits", save_noise=True, **pars)
    assert cleaned.meta.cal_step.clean_flicker_noise == "COMPLETE"
    noise = CubeModel("x_flicker_noise.fits").data
    np.testing.assert_array_equal(noise, cleaned.data - before)
    assert all(0.1 < image.std() < 5 for image in noise)


def test_persistence_goes_on_in_the_next_exposure(ramp, workdir):
    ramp.groupdq[1, 3:, 5, 6] = 2
    pars = {"persistence_time": 10000, "configure_log": False}
    first = steps.PersistenceStep.call(ramp, save_persistence="trail.fits", **pars)
    assert first.meta.cal_step.persistence == "COMPLETE"
    assert (first.groupdq[1, 3:, 5, 6] == 34).all() and (first.groupdq & 32).sum() == 32 * (ramp.shape[1] - 3)
    assert [path.name for path in workdir.iterdir()] == ["trail.asdf"]
    ramp.groupdq[:] = 0
    later = ramp.int_times.copy()
    later["int_start_MJD_UTC"] += 0.01
    ramp.int_times = later
    pars["persistence_array_file"] = "trail.asdf"
    second = steps.PersistenceStep.call(ramp, persistence_dnu=True, save_persistence="trail.asdf", **pars)
    assert (second.groupdq[:, :, 5, 6] == 33).all() and (second.groupdq != 0).sum() == ramp.shape[0] * ramp.shape[1]
    other = steps.PersistenceStep.call(ramp, **pars | {"persistence_time": 9000})
    assert not other.groupdq.any()
    ramp.meta.instrument.detector = "NRCA1"
    assert not steps.PersistenceStep.call(ramp, **pars).groupdq.any()


def test_persistence_of_what_came_later_is_forgotten(ramp, workdir, caplog):
    caplog.set_level(logging.INFO, logger="upramp")
    detector = ramp.meta.instrument.detector
    tree = {detector: {"rows": [3], "cols": [4], "vals": [1e12], "pers_time": 9}}
    asdf.AsdfFile(tree).write_to("later.asdf")
    pars = {"persistence_array_file": "later.asdf", "configure_log": False}
    result = steps.PersistenceStep.call(ramp, persistence_time=9, **pars)
    assert "Backwards flagging found. 1 pixels" in caplog.text and not result.groupdq.any()
    steps.PersistenceStep.call(ramp, persistence_time=8, **pars)
    assert "does not equal persistence_time" in caplog.text


def test_persistence_file_of_another_subarray(ramp, workdir):
    ramp.groupdq[0, 0, 11, 15] = 2
    steps.PersistenceStep.call(ramp, persistence_time=9, save_persistence="trail.asdf")
    asdf.AsdfFile(
        {ramp.meta.instrument.detector: {"rows": [3], "cols": [16], "vals": [1e12], "pers_time": 9}}
    ).write_to("large.asdf")
    with pytest.raises(ConfigError, match="column 16 of NRC.*12 rows and 16 columns"):
        steps.PersistenceStep.call(ramp, persistence_time=9, persistence_array_file="large.asdf")


@pytest.mark.parametrize("seconds", [None, 0, -5])
def test_persistence_without_a_time_fails(ramp, seconds, caplog):
    caplog.set_level(logging.WARNING, logger="upramp")
    ramp.groupdq[0, 2:, 3, 3] = 2
    result = steps.PersistenceStep.call(ramp, persistence_time=seconds, configure_log=False)
    assert result.meta.cal_step.persistence == "FAILED" and "expected a positive number of seconds" in caplog.text
    np.testing.assert_array_equal(result.groupdq, ramp.groupdq)


def test_picture_frame_without_background_shows_its_mask(workdir, caplog):
    """The mask says why nothing could be done."""
    caplog.set_level(logging.WARNING, logger="upramp")
    image = ImageModel(np.full((2048, 2048), np.nan, np.float32))
    pattern = PictureFrameModel(np.ones((2048, 2048), np.float32))
    for model in (image, pattern):
        model.meta.instrument = {"name": "NIRSPEC", "detector": "NRS1"}
    image.meta.filename, image.meta.exposure.type = "x_rate.fits", "NRS_FIXEDSLIT"
    image.meta.subarray = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}
    options = {"override_pictureframe": pattern, "mask_science_regions": False, "configure_log": False}
    result = steps.PictureFrameStep.call(image, save_mask=True, save_correction=True, **options)
    assert result.meta.cal_step.picture_frame == "SKIPPED" and "no pixel of the background" in caplog.text
    assert [path.name for path in workdir.iterdir()] == ["x_pctfrm_mask.fits"]
    assert not ImageModel("x_pctfrm_mask.fits").data.any()

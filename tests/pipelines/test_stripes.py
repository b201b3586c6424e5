"""Striped readouts: both kinds through the pipeline and step by step, with references of the full frame."""

import numpy as np
import pytest
from astropy.io import fits
from tests.reference.small_exposure import SmallExposure

from upramp import models
from upramp.errors import UnsupportedModeError
from upramp.kernels.stripes import StripePattern
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import SimulationConfig, Window, make_references, simulate_exposure, write_exposure, write_truth
from upramp.steps import DQInitStep, LinearityStep, RefPixStep, SaturationStep, SuperBiasStep

# Two interleaved stripes; and four positions with two repeats each, of which one set is the second integration.
KINDS = {
    "substripes": (Window(1001, 1, 64, 12), StripePattern(1, 165, 5, 20, 1, 1), 2),
    "superstripes": (Window(1001, 1, 64, 10), StripePattern(1, 165, 4, 0, 1, 0, 4, 4), 8),
}


@pytest.fixture(scope="module")
def exposures(tmp_path_factory):
    """An exposure of each kind from one detector: `SmallExposure` by name."""
    folder, made = tmp_path_factory.mktemp("stripes"), {}
    for name, (window, stripes, nints) in KINDS.items():
        config = SimulationConfig(
            "NRCB2", "GENERIC", window, stripes, nints=nints, ngroups=6, star_flux=(5e3, 2e5), star_count=8,
            cosmic_ray_rate=1e-2,
        )  # fmt: skip
        exposure = simulate_exposure(config)
        path = write_exposure(exposure, folder / f"{name}_uncal.fits")
        write_truth(exposure, folder / f"{name}_truth.fits")
        if not made:
            references = make_references(config, folder / "references", full_frame=True)
        else:
            own = make_references(config, folder / name)
            references = references | {"dark": own["dark"]}
        made[name] = SmallExposure(config, path, references)
    return made


def run(exposure, **pars):
    """The rates of a run in memory."""
    return Detector1Pipeline(steps=exposure.steps(), **pars).run(str(exposure.path))


@pytest.mark.parametrize("name", KINDS)
def test_rates_are_those_of_the_sky(exposures, name):
    rate = run(exposures[name])
    truth = fits.getdata(exposures[name].path.with_name(f"{name}_truth.fits"), "RATE")
    assert rate.data.shape == truth.shape == ((12, 64) if name == "substripes" else (16, 64))
    good = (rate.dq == 0) & (truth > 0)
    assert good.mean() > 0.6
    pulls = (rate.data - truth)[good] / rate.err[good]
    assert abs(np.median(pulls)) < 0.4 and np.median(np.abs(pulls)) < 1.2


@pytest.mark.parametrize("name", KINDS)
def test_threads_and_schedules_agree_bit_by_bit(exposures, name, monkeypatch):
    results = []
    for threads, schedule in ((1, "auto"), (2, "auto"), (2, "stepwise")):
        monkeypatch.setenv("UPRAMP_THREADS", str(threads))
        rate = run(exposures[name], schedule=schedule)
        results.append([rate[key].tobytes() for key in ("data", "err", "dq", "var_poisson", "var_rnoise")])
    assert results[0] == results[1] == results[2]


def test_superstripes_are_not_fused(exposures):
    with pytest.raises(UnsupportedModeError, match="superstripe readout are put together by refpix"):
        run(exposures["superstripes"], schedule="fused")


def test_stripes_are_put_together_step_by_step(exposures, workdir):
    """Steps one by one, through files, as the pipeline does it; the keywords are then those of an ordinary ramp."""
    exposure = exposures["superstripes"]
    ramp = DQInitStep.call(str(exposure.path), save_results=True, **exposure.of("dq_init"))
    assert isinstance(ramp, models.SuperstripeRampModel) and ramp.pixeldq.shape == (4, 10, 64)
    saved = workdir / "superstripes_dqinitstep.fits"
    with models.open(saved) as again:
        assert isinstance(again, models.SuperstripeRampModel)
        np.testing.assert_array_equal(again.pixeldq, ramp.pixeldq)
    with pytest.raises(
        UnsupportedModeError, match=r"SSTR_NST 4\) whose stripes are still apart; .* comes after refpix"
    ):
        LinearityStep.call(str(saved), **exposure.of("linearity"))
    ramp = SaturationStep.call(str(saved), **exposure.of("saturation"))
    before = SuperBiasStep.call(ramp, **exposure.of("superbias"))
    values, dtype = before.data.copy(), before.groupdq.dtype
    ramp = RefPixStep.call(before)
    np.testing.assert_array_equal(before.data, values)
    assert type(ramp) is models.RampModel and ramp.data.shape == (2, 12, 16, 64) and ramp.groupdq.dtype == dtype
    meta = ramp.meta
    assert (meta.exposure.nints, meta.exposure.ngroups, meta.subarray.ystart) == (2, 12, 167)
    assert meta.subarray.num_superstripe is None and meta.subarray.multistripe_reads1 is None
    assert len(meta.exposure.read_times) == 12 and len(ramp.int_times) == 2 and len(ramp.int_times_stripe) == 8
    assert list(ramp.int_times_stripe["stripe_number"]) == [1, 2, 3, 4] * 2
    # The line of a stripe lies where it came from: bad pixels of the mask are where they are on the detector.
    mask = fits.getdata(exposure.references["mask"], "DQ")[166:182, 1000:1064]
    np.testing.assert_array_equal((mask & 1) != 0, (ramp.pixeldq & 1) != 0)


def test_flags_of_the_user_have_the_shape_of_the_stripes(exposures, tmp_path):
    exposure = exposures["superstripes"]
    flags = np.zeros((4, 10, 64), np.uint32)
    flags[2, 3, 4] = 1
    fits.writeto(tmp_path / "user.fits", flags)
    plain = DQInitStep.call(str(exposure.path), **exposure.of("dq_init"))
    ramp = DQInitStep.call(str(exposure.path), user_supplied_dq=str(tmp_path / "user.fits"), **exposure.of("dq_init"))
    np.testing.assert_array_equal(ramp.pixeldq, plain.pixeldq | flags)
    assert ramp.groupdq[2::4, :, 3, 4].all() and np.array_equal(ramp.groupdq[::4], plain.groupdq[::4])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("substripes", {"MSTR_RD2": 4}, r"the stripes have 15 lines, but the exposure has 12 .*MSTR_RD2 4"),
        ("substripes", {"MSTR_RD2": 0}, "MSTR_RD2 of at least 1"),
        ("substripes", {"MSTR_SK1": 2040}, r"cover lines 1 to 2071, the detector has 2048: .*SUBSTRT1 or SUBSTRT2"),
        ("substripes", {"MSTR_SK2": None, "SLOWAXIS": None}, "lacks MSTR_SK2, SLOWAXIS"),
        ("superstripes", {"MSTR_RD1": None}, "lacks MSTR_RD1"),
        ("superstripes", {"SSTR_NST": 3}, r"8 integrations; expected a multiple of the 3 positions .*SSTR_NST"),
    ],
)
def test_keywords_that_contradict_each_other(exposures, tmp_path, name, changes, message):
    """An error before any work; nothing is written."""
    path = tmp_path / "bad_uncal.fits"
    with fits.open(exposures[name].path) as hdus:
        del hdus["ASDF"]
        for keyword, value in changes.items():
            if value is None:
                del hdus[0].header[keyword]
            else:
                hdus[0].header[keyword] = value
        hdus.writeto(path)
    with pytest.raises(ValueError, match=message):
        Detector1Pipeline(steps=exposures[name].steps(), save_results=True, output_dir=str(tmp_path)).run(str(path))
    assert [found.name for found in tmp_path.glob("*.fits")] == ["bad_uncal.fits"]


def test_refpix_cannot_be_left_out(exposures):
    exposure = exposures["superstripes"]
    with pytest.raises(UnsupportedModeError, match="refpix cannot be skipped"):
        Detector1Pipeline(steps=exposure.steps(refpix={"skip": True})).run(str(exposure.path))

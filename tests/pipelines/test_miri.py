"""The MIRI chain: its order, its schedules, what is recorded."""

import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.pipelines.test_detector1 import assert_same_bits
from tests.reference.small_exposure import make_small_exposure

from upramp.errors import ReferenceNotFoundError, UnsupportedModeError
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import SimulationConfig, make_references


@pytest.fixture(scope="module")
def miri(tmp_path_factory):
    """A small exposure; the files are not to be changed."""
    folder = tmp_path_factory.mktemp("miri")
    return make_small_exposure(folder, detector="MIRIMAGE", subarray="SUB64", window=None, ngroups=8)


@pytest.fixture
def run(miri, workdir, caplog):
    """Run the pipeline with the references of the small exposure; the log is in ``caplog``."""

    def run(steps=None, **pars):
        caplog.set_level(logging.INFO, logger="upramp")
        pars = {"steps": miri.steps(**(steps or {})), "save_results": True, "configure_log": False} | pars
        return Detector1Pipeline.call(str(miri.path), **pars)

    return run


@pytest.mark.parametrize("steps", [{}, {"firstframe": {"skip": False}}, {"lastframe": {"skip": True}}])
def test_schedules_agree_bit_by_bit(run, caplog, steps):
    for schedule in ("fused", "stepwise"):
        run(steps, schedule=schedule, output_dir=schedule, save_calibrated_ramp=True)
    assert "Starting again" not in caplog.text
    for name in ("x_rate.fits", "x_rateints.fits", "x_ramp.fits"):
        assert_same_bits(Path("fused", name), Path("stepwise", name))
        headers = [fits.getheader(Path(schedule, name)) for schedule in ("fused", "stepwise")]
        cards = [[str(card) for card in header.cards if card.keyword != "DATE"] for header in headers]
        assert cards[0] == cards[1]


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_status_of_every_step_is_recorded(run, schedule):
    run(schedule=schedule)
    header = fits.getheader("x_rate.fits")
    skipped = {"S_MIREMI", "S_IPC", "S_FRSTFR", "S_REFPIX", "S_CHGMIG", "S_PERSIS"}
    complete = {"S_DQINIT", "S_SATURA", "S_LASTFR", "S_RESET", "S_LINEAR", "S_RSCD", "S_DARK", "S_JUMP", "S_RAMP"}
    assert {key: header.get(key) for key in skipped} == dict.fromkeys(skipped, "SKIPPED")
    assert {key: header.get(key) for key in complete} == dict.fromkeys(complete, "COMPLETE")
    assert "S_SUPERB" not in header
    assert (header["INT1SKIP"], header["INT2SKIP"]) == (1, 4)


def test_rate_is_that_of_the_sky(run):
    rate = run({"dq_init": {}})
    good = rate.dq == 0
    pull = (rate.data - 5.0)[good] / rate.err[good]
    assert good.sum() > 2000
    # What is left of the drifts of the amplifiers widens the pulls.
    assert abs(np.median(pull)) < 1.5


def test_stepwise_reasons_that_are_left(run, caplog):
    run({"rscd": {"save_results": True}})
    assert "Schedule: stepwise (the result of rscd is to be saved)" in caplog.text


def test_emicorr_looks_at_whole_frames(run, caplog, tmp_path):
    config = SimulationConfig(detector="MIRIMAGE", subarray="SUB64", emi=5.0)
    reference = make_references(config, tmp_path)["emicorr"]
    run({"emicorr": {"skip": False, "override_emicorr": str(reference)}})
    assert "Schedule: stepwise (emicorr looks at whole frames)" in caplog.text
    header = fits.getheader("x_rate.fits")
    assert header["S_MIREMI"] == "COMPLETE" and header["R_MIREMI"].endswith(reference.name)
    with pytest.raises(UnsupportedModeError, match="emicorr looks at whole frames"):
        run({"emicorr": {"skip": False, "override_emicorr": str(reference)}}, schedule="fused")


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_missing_reference_is_an_error_with_advice(miri, workdir, schedule):
    steps = miri.steps()
    del steps["reset"], steps["rscd"], steps["linearity"]
    with pytest.raises(ReferenceNotFoundError, match=r"(?s)linearity: .*reset: .*rscd: .*override_"):
        Detector1Pipeline.call(str(miri.path), steps=steps, schedule=schedule, save_results=True, configure_log=False)
    assert list(workdir.iterdir()) == []

"""IRS2 readouts in both schedules; against the peer they are compared in tests/parity."""

import numpy as np
import pytest
from astropy.io import fits
from tests.reference.small_exposure import OVERRIDES, SmallExposure

from benchmarks.measure import run_process
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import SimulationConfig, make_references, simulate_exposure, write_exposure


@pytest.fixture(scope="module")
def readout(tmp_path_factory):
    """Two integrations of three groups of NRS2, with a reference pixel that is a little too high."""
    folder = tmp_path_factory.mktemp("irs2")
    config = SimulationConfig(
        detector="NRS2", subarray="FULL", readpatt="NRSIRS2RAPID", ngroups=3, star_count=20, star_flux=(5e5, 2e7)
    )
    references = make_references(config, folder, dark_groups=3)
    path = write_exposure(simulate_exposure(config), folder / "x_uncal.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["SCI"].data[..., 2530:2532, :] += 8
    return SmallExposure(config, path, references)


def steps_of(readout, **parameters):
    assert "refpix" not in OVERRIDES
    return readout.steps(refpix={"override_refpix": str(readout.references["refpix"])} | parameters)


@pytest.mark.parametrize("means", [False, True])
def test_schedules_and_threads_agree_bit_by_bit(readout, workdir, monkeypatch, means):
    results = {}
    for name, schedule, threads in (("fused", "fused", "2"), ("alone", "fused", "1"), ("stepwise", "stepwise", "2")):
        monkeypatch.setenv("UPRAMP_THREADS", threads)
        (workdir / name).mkdir()
        pipeline = Detector1Pipeline(
            schedule=schedule,
            steps=steps_of(readout, irs2_mean_subtraction=means),
            save_results=True,
            output_dir=str(workdir / name),
        )
        pipeline.run(str(readout.path))
        results[name] = {}
        for kind in ("rate", "rateints"):
            with fits.open(workdir / name / f"x_{kind}.fits") as hdus:
                assert hdus[0].header["S_REFPIX"] == "COMPLETE"
                results[name] |= {(kind, hdu.name): np.array(hdu.data) for hdu in hdus[1:] if hdu.name != "ASDF"}
        assert sorted(path.name for path in (workdir / name).iterdir()) == ["x_rate.fits", "x_rateints.fits"]
    assert results["fused"]["rateints", "SCI"].shape == (2, 2048, 2048)
    assert np.isfinite(results["fused"]["rate", "SCI"]).mean() > 0.99
    for other in ("alone", "stepwise"):
        assert results[other].keys() == results["fused"].keys()
        for key, expected in results["fused"].items():
            assert results[other][key].tobytes() == expected.tobytes(), (other, key)


def test_private_memory_of_a_process_is_bounded(readout, workdir):
    options = [f"--steps.refpix.override_refpix={readout.references['refpix']}", f"--output_dir={workdir}"]
    command = ["strun", "calwebb_detector1", str(readout.path), "--disable-crds-steppars", "--threads=2"]
    finished = run_process([*command, *readout.options(), *options], {})
    assert finished.peak_anonymous < 4.5e8  # corrected samples alone are 1e8

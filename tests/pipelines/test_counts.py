"""The counts in the record of a run: the same in both schedules, and those of the ramp that is fitted."""

import numpy as np
import pytest
from tests.reference.small_exposure import make_small_exposure

from upramp.models import ImageModel, RampModel
from upramp.pipelines import Detector1Pipeline


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """Stars that saturate."""
    return make_small_exposure(tmp_path_factory.mktemp("bright"), star_flux=(2e7, 5e8), star_count=8)


@pytest.mark.parametrize("jump", [{}, {"expand_large_events": True}])
def test_counts_are_those_of_the_ramp(bright, jump):
    found = {}
    for schedule in ("fused", "stepwise"):
        pipe = Detector1Pipeline(
            schedule=schedule, save_results=True, save_calibrated_ramp=True, steps=bright.steps(jump=jump)
        )
        pipe.run(str(bright.path))
        found[schedule] = pipe.run_record.steps["Detector1Pipeline.ramp_fit"].counts
    with RampModel("x_ramp.fits") as ramp:
        expected = {
            "saturated_samples": np.count_nonzero(ramp.groupdq & 2),
            "jump_samples": np.count_nonzero(ramp.groupdq & 4),
        }
    assert found == {"fused": expected, "stepwise": expected}
    assert expected["jump_samples"] > 0 and expected["saturated_samples"] > 0
    steps = pipe.run_record.steps
    assert steps["Detector1Pipeline.jump"].counts == {"jump_samples": expected["jump_samples"]}
    assert steps["Detector1Pipeline.saturation"].counts["saturated_samples"] <= expected["saturated_samples"]


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_log_and_record_of_the_pipeline(small, schedule):
    pipe = Detector1Pipeline(schedule=schedule, save_results=True, steps=small.steps())
    pipe.run(str(small.path))
    record = pipe.run_record.as_dict()
    assert sorted(record["products"]) == ["x_rate.fits", "x_rateints.fits"]
    status = {entry["name"].rpartition(".")[2]: entry["status"] for entry in record["steps"]}
    assert status["linearity"] == status["jump"] == status["ramp_fit"] == "COMPLETE"
    assert status["ipc"] == "SKIPPED"
    assert (status.get("fused pass") == "DONE") == (schedule == "fused")
    with ImageModel("x_rate.fits") as model:
        assert any("Step ramp_fit counted saturated_samples: " in line for line in model.cal_logs["calwebb_detector1"])


def test_every_product_has_the_log(small):
    from upramp import models

    for schedule in ("fused", "stepwise"):
        pipe = Detector1Pipeline(
            schedule=schedule, save_results=True, save_calibrated_ramp=True, output_dir=schedule, steps=small.steps()
        )
        pipe.run(str(small.path))
        for suffix in ("rate", "rateints", "ramp"):
            with models.open(f"{schedule}/x_{suffix}.fits") as model:
                assert any("Run of upramp.pipelines" in line for line in model.cal_logs["calwebb_detector1"])

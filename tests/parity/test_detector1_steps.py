"""Every step after the other, in memory, from the same raw file: the arrays after each against the peer's.

Flags and status are identical throughout, and up to superbias so are the samples. From refpix on samples may differ
by the rounding of float32: the peer stores intermediate values of the first group, and of single-amplifier subarrays,
in float32, where we calculate in float64 (docs/deviations.md).
"""

import numpy as np
import pytest
from tests.reference.agreement import relative_difference

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

RUNS = (
    "sub160", "grouped", "one-group", "two-groups", "divisor", "stripe4", "stripe1", "corner", "series", "parameters",
    "unsuppressed", "two-unsuppressed", "pixelwise",
)  # fmt: skip
BEFORE_REFPIX = ("group_scale", "dq_init", "saturation", "ipc", "superbias")
RAMP_STEPS = (*BEFORE_REFPIX, "refpix", "linearity", "dark_current", "jump")
RATE_STEPS = ("ramp_fit", "gain_scale")
EPSILON = np.finfo(np.float32).eps


def results(runs, package, run):
    """Step -> arrays by name."""
    found = {}
    for path in sorted(runs.result(package, f"{run}-steps").glob("*.npz")):
        with np.load(path) as arrays:
            found[path.stem[3:]] = {name: arrays[name] for name in arrays.files}
    return found


@pytest.fixture(scope="module", params=RUNS)
def pair(request, small_runs):
    """The peer's results and ours, by step."""
    return results(small_runs, "jwst", request.param), results(small_runs, "upramp", request.param)


def test_same_steps_status_and_flags(pair):
    theirs, ours = pair
    assert list(ours) == list(theirs) and len(ours) == len(RAMP_STEPS) + len(RATE_STEPS)
    for step in theirs:
        assert ours[step].keys() == theirs[step].keys(), step
        for name, expected in theirs[step].items():
            if expected.dtype.kind == "f":
                assert ours[step][name].dtype == expected.dtype, (step, name)
                np.testing.assert_array_equal(np.isnan(ours[step][name]), np.isnan(expected), f"{step} {name}")
            else:
                np.testing.assert_array_equal(ours[step][name], expected, f"{step} {name}")


def test_samples_are_those_of_the_peer(pair):
    theirs, ours = pair
    for step in BEFORE_REFPIX:
        for name in ("data", "zeroframe", "average_dark_current"):
            if name in theirs[step]:
                np.testing.assert_array_equal(ours[step][name], theirs[step][name], f"{step} {name}")
    for name in ("data", "zeroframe"):
        if name not in theirs["superbias"]:
            continue
        # Rounding is that of the largest value on the way: samples before refpix, what that subtracts, and later.
        before = theirs["superbias"][name]
        level = np.maximum(np.nan_to_num(np.abs(before)), np.nanmax(np.abs(theirs["refpix"][name] - before)))
        for step in RAMP_STEPS[len(BEFORE_REFPIX) :]:
            expected, found = theirs[step][name], ours[step][name]
            level = np.maximum(level, np.nan_to_num(np.abs(expected)))
            excess = np.abs(found.astype(np.float64) - expected) - 2 * EPSILON * level
            assert np.nanmax(excess, initial=0) <= 0, (step, name)


def test_rates_are_those_of_the_peer(pair):
    """Within 1e-5 of the value or the error."""
    theirs, ours = pair
    for step in RATE_STEPS:
        for index in ("", "1"):
            error = theirs[step][f"err{index}"]
            for name in ("data", "err", "var_poisson", "var_rnoise"):
                expected, found = theirs[step][name + index], ours[step][name + index]
                difference = relative_difference(expected, found, error, variance=name.startswith("var"))
                assert (difference > 1e-5).mean() <= 1e-5, (step, name + index)
                assert difference.max() <= 1e-3, (step, name + index)


def test_the_runs_exercise_what_they_are_for(small_runs):
    """The parameters and defects that the runs are about have an effect."""
    sub160, changed = (results(small_runs, "upramp", name) for name in ("sub160", "parameters"))
    for step in ("dq_init", "saturation", "jump"):
        assert (sub160[step]["groupdq"] != changed[step]["groupdq"]).any()
    assert (changed["dark_current"]["average_dark_current"] == 0.5).all()
    assert (sub160["saturation"]["groupdq"] & 2).any()
    assert (sub160["jump"]["groupdq"] & 4).any()
    corner, pixelwise = (results(small_runs, "upramp", name)["ipc"] for name in ("corner", "pixelwise"))
    assert corner["status"] == pixelwise["status"] == "COMPLETE"
    assert (corner["data"] != pixelwise["data"]).any()
    scaled = results(small_runs, "upramp", "divisor")["group_scale"]
    assert scaled["status"] == "COMPLETE"
    grouped, kept = (results(small_runs, "upramp", name)["ramp_fit"] for name in ("grouped", "unsuppressed"))
    assert np.isfinite(kept["data"]).sum() > np.isfinite(grouped["data"]).sum()
    assert results(small_runs, "upramp", "two-groups")["jump"]["status"] == "SKIPPED"

"""Slopes and jumps of simulated ramps with known truth: what docs/statistics.md promises, with fewer ramps."""

import numpy as np
import pytest

from benchmarks.ramp_statistics import JUMP_METHODS, SLOPE_METHODS, Detector, jump_quality, slope_quality

COUNT = 20_000
SIGMAS = 5  # of the statistics of so many ramps; what is added beside them is what the methods are known for

# Largest bias [scatter], width of the pulls, least efficiency.
PROMISES = {
    "least squares": (0.02, (0.94, 1.04), 0.97),
    "likelihood": (0.005, (0.97, 1.02), 0.98),
    "Casertano": (0.02, (0.97, 1.02), 0.97),
}


@pytest.mark.parametrize("charge", [0.1, 3, 10, 100, 9000])
@pytest.mark.parametrize("method", SLOPE_METHODS)
def test_slopes(method, charge):
    bias, (narrow, wide), efficiency = PROMISES[method]
    quality = slope_quality(method, charge, COUNT, seed=2)
    assert abs(quality.bias) < (bias + SIGMAS / np.sqrt(COUNT)) * quality.scatter
    # The width of a normal distribution from two of its quantiles is known to 0.93 / sqrt(n).
    assert narrow - SIGMAS * 0.93 / np.sqrt(COUNT) < quality.pull_scatter < wide + SIGMAS * 0.93 / np.sqrt(COUNT)
    variance_error = SIGMAS * np.sqrt(2 / COUNT)
    assert efficiency - variance_error < quality.efficiency < 1 + variance_error + 2 * bias


def test_the_bound_is_that_of_photons_or_of_read_noise():
    bright, faint = Detector(read_noise=1e-3), Detector()
    np.testing.assert_allclose(bright.cramer_rao(1e6), 1e6 / 9, rtol=1e-5)
    np.testing.assert_allclose(faint.cramer_rao(1e-9), 12 * 12.0**2 / (10**3 - 10), rtol=1e-2)


# Rates of false alarms per difference that must not be exceeded.
ALARMS = {"two-point differences": 5e-4, "likelihood": 2e-5, "Casertano": 5e-5}


@pytest.mark.parametrize("charge", [1, 100, 5000])
@pytest.mark.parametrize("method", JUMP_METHODS)
def test_false_alarms(method, charge):
    quality = jump_quality(method, charge, 0, 5, COUNT, seed=3)
    expected = ALARMS[method] * quality.n_differences
    assert quality.false_alarms * quality.n_differences <= expected + SIGMAS * np.sqrt(expected)


@pytest.mark.parametrize(("method", "faint", "bright"), [
    ("two-point differences", 0.60, 0.82), ("likelihood", 0.82, 0.57), ("Casertano", 0.21, 0.67),
])  # fmt: skip
def test_completeness(method, faint, bright):
    """Of hits of 5 sigma in the middle of a ramp; those of 12 sigma are always found."""
    for charge, expected in ((1, faint), (5000, bright)):
        found = jump_quality(method, charge, 5, 5, 4000, seed=4).completeness
        assert abs(found - expected) < 0.03 + SIGMAS * np.sqrt(expected * (1 - expected) / 4000)
        assert jump_quality(method, charge, 12, 5, 4000, seed=5).completeness > 0.995


@pytest.mark.parametrize("method", ["two-point differences", "likelihood"])
def test_completeness_in_every_group(method):
    """Photon noise rules: the group of the hit makes no difference."""
    found = [jump_quality(method, 5000, 5, group, 4000, seed=6).completeness for group in range(1, 10)]
    assert np.ptp(found) < 2 * SIGMAS * np.sqrt(0.25 / 4000)


def test_the_report_is_made_anew(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.statistics import main

    main(["--ramps", "300", "--output", str(tmp_path)])
    page = (tmp_path / "statistics.md").read_text()
    assert "300 ramps for every point" in page and "{" not in page
    pictures = sorted((tmp_path / "statistics").iterdir())
    assert [path.name for path in pictures] == ["efficiency.png", "jumps.png", "slopes.png"]
    assert all(path.stat().st_size < 100_000 for path in pictures)

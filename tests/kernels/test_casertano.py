"""Slopes of ramps of uneven resultants."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import casertano as naive

from upramp.errors import ShapeError
from upramp.kernels import casertano
from upramp.kernels.casertano import fit_ramps_casertano

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
PATTERNS = {
    "uneven": [[1], [2, 3], [4, 5, 6], [7, 8, 9, 10], [11, 12], [13]],
    "single": [[read] for read in range(1, 11)],
    "gaps": [list(range(1 + 6 * k, 5 + 6 * k)) for k in range(9)],
    "two": [[1, 2], [5]],
}


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["id"].startswith("CAS")], ids=lambda v: v["id"])
def test_vector(vector):
    p, expected = vector["params"], vector["expected"]
    fit = fit_ramps_casertano(
        np.array(vector["resultants"], np.float32),
        np.array(vector["dq"]),
        p["read_noise"],
        read_time=p["read_time"],
        read_pattern=p["read_pattern"],
        detect_jumps=p["use_jump"],
    )
    for name in ("slope", "var_read", "var_poisson", "var_total"):
        np.testing.assert_allclose(getattr(fit, name), expected[name], rtol=2e-4)
    np.testing.assert_array_equal(fit.dq, expected["dq"])


def exposure(seed, pattern, n_pixels=600, flags=0.05, hits=0.01):
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.3, 5.0, 100.0, 3000.0], n_pixels)
    reads = rng.poisson(np.broadcast_to(rate * 3, (pattern[-1][-1], n_pixels))).cumsum(axis=0)
    y = np.array([reads[np.array(one) - 1].mean(axis=0) for one in pattern])
    y += rng.normal(0, 6, y.shape) / np.sqrt([[len(one)] for one in pattern])
    y += ((rng.random(y.shape) < hits) * rng.uniform(20, 2000, y.shape)).cumsum(axis=0)
    dq = (rng.random(y.shape) < flags) * rng.choice([1, 2, 64, 2**20], y.shape)
    return y.astype(np.float32), dq.astype(np.uint32), rng.uniform(4, 9, n_pixels).astype(np.float32)


@pytest.mark.parametrize("name", PATTERNS)
def test_every_ramp_equals_plain_numpy(name):
    pattern = PATTERNS[name]
    y, dq, noise = exposure(1, pattern)
    fit = fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=pattern)
    times = [3.0 * np.array(one) for one in pattern]
    for x in range(y.shape[1]):
        expected = naive.fit_ramp(y[:, x], dq[:, x], float(noise[x]), times)
        found = fit.slope[x], fit.var_read[x], fit.var_poisson[x]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_array_equal(fit.dq, dq)


def test_jumps_are_found_and_fitted_around():
    pattern = PATTERNS["gaps"]
    t = np.array([np.mean(one) for one in pattern]) * 3.0
    y = np.repeat((50 * t)[:, np.newaxis], 9, axis=1)
    for x in range(1, 9):
        y[x:, x] += 5000
    fit = fit_ramps_casertano(y.astype(np.float32), np.zeros(y.shape, int), 5.0, read_time=3.0, read_pattern=pattern,
                              detect_jumps=True)  # fmt: skip
    np.testing.assert_allclose(fit.slope, 50, rtol=1e-5)
    assert not fit.dq[:, 0].any()
    for x in range(1, 9):
        np.testing.assert_array_equal(np.flatnonzero(fit.dq[:, x]), [x - 1, x])


def test_nothing_to_fit_gives_zero():
    pattern = PATTERNS["uneven"]
    y = np.full((6, 5), 100.0, np.float32) * np.arange(6)[:, np.newaxis]
    dq = np.zeros(y.shape, np.uint8)
    dq[:, 0] = 2
    dq[::2, 1] = 1
    y[2, 2] = np.nan
    y[:, 3] = np.inf
    noise = np.array([5, 5, 5, 5, 0], np.float32)
    for detect in (False, True):
        fit = fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=pattern, detect_jumps=detect)
        for plane in fit[:4]:
            np.testing.assert_array_equal(plane, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-2000, 2000))
def test_a_pedestal_changes_nothing(seed, pedestal):
    pattern = PATTERNS["single"]
    y, dq, noise = exposure(seed, pattern, 60)
    y = np.round(y)
    first, second = (
        fit_ramps_casertano(data, dq, noise, read_time=3.0, read_pattern=pattern, detect_jumps=True)
        for data in (y, y + np.float32(pedestal))
    )
    np.testing.assert_array_equal(first.dq, second.dq)
    np.testing.assert_allclose(first.slope, second.slope, rtol=1e-4, atol=1e-5)


def test_threads_shapes_and_inputs():
    pattern = PATTERNS["gaps"]
    y, dq, noise = exposure(2, pattern, 2 * casertano._BLOCK + 300)
    for array in (y, dq, noise):
        array.flags.writeable = False
    options = {"read_time": 3.0, "read_pattern": pattern, "detect_jumps": True}
    one = fit_ramps_casertano(y, dq, noise, **options, threads=1)
    two = fit_ramps_casertano(y, dq, noise, **options, threads=2)
    shape = (9, 4, y.shape[1] // 4)
    image = fit_ramps_casertano(y.reshape(shape), dq.reshape(shape), noise.reshape(shape[1:]), **options)
    for a, b, c in zip(one, two, image, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c.reshape(a.shape))
    assert image.slope.shape == shape[1:] and image.dq.shape == shape
    assert (one.dq != dq).any()
    assert len(casertano._fit_block.signatures) == 1


def test_errors():
    pattern = PATTERNS["uneven"]
    y, dq, noise = exposure(3, pattern)
    with pytest.raises(ShapeError, match="read_pattern has 5 resultants"):
        fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=pattern[1:])
    with pytest.raises(ShapeError, match="dq has shape"):
        fit_ramps_casertano(y, dq[:, 1:], noise, read_time=3.0, read_pattern=pattern)
    with pytest.raises(ShapeError, match="read_noise has shape"):
        fit_ramps_casertano(y, dq, noise[1:], read_time=3.0, read_pattern=pattern)
    with pytest.raises(ShapeError, match="not increasing"):
        fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=pattern[::-1])
    for wrong in (None, 6, [*pattern[:-1], [None]], [*pattern[:-1], []]):
        with pytest.raises(ShapeError, match="read_pattern.*expected all reads of every group"):
            fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=wrong)

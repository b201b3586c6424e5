"""Slopes and jumps by likelihood."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import likelihood as naive
from tests.reference.tiling import regions

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import likelihood
from upramp.kernels.likelihood import detect_jumps_likelihood, fit_ramps_likelihood
from upramp.kernels.likelihood_model import even_read_times, readout_table, split_first_group

DNU, SAT, JUMP = 1, 2, 4
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
NAMES = ("slope", "err", "var_poisson", "var_rnoise")
UNEVEN = [[1.0], [2.0, 3.0], [5.0, 6.0, 7.0], [8.0], [11.0, 12.0], [13.0, 14.0, 15.0, 16.0], [18.0]]


def numbers(values, dtype):
    def convert(value):
        return [convert(v) for v in value] if isinstance(value, list) else {"NaN": np.nan}.get(value, value)

    return np.array(convert(values), dtype)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["id"].startswith("LIK")], ids=lambda v: v["id"])
def test_vector(vector):
    p, expected = vector["params"], vector["expected"]
    data, gdq = numbers(vector["data"], np.float32), np.array(vector["groupdq"], np.uint8)

    def plane(name, dtype=np.float32):
        return np.broadcast_to(numbers(p[name], dtype), data.shape[-2:])

    fit = fit_ramps_likelihood(
        data,
        gdq,
        plane("pixeldq", np.uint32),
        plane("gain"),
        plane("readnoise"),
        read_times=even_read_times(data.shape[1], p["frame_time"], p["nframes"], p["groupgap"]),
        zeroframe=None if p["zeroframe"] is None else numbers(p["zeroframe"], np.float32),
        average_dark_current=plane("average_dark_current"),
        threads=1,
    )
    np.testing.assert_array_equal(fit.groupdq, expected["groupdq_after"])
    for planes, chi2, wanted in (
        (fit.rate, fit.chi2, expected["rate"]),
        (fit.integrations, fit.chi2_integrations, expected["rateints"]),
    ):
        np.testing.assert_array_equal(planes.dq, wanted["dq"])
        np.testing.assert_allclose(chi2, numbers(wanted["chisq"], float), rtol=2e-5, atol=1e-11)
        for name in NAMES:
            np.testing.assert_allclose(getattr(planes, name), numbers(wanted[name], float), rtol=2e-5, err_msg=name)


def exposure(seed, ni=2, ng=8, frame=(6, 300), flags=0.1, nans=0.003, hits=0.02):
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 5.0, 100.0, 5000.0, -10.0], frame)
    steps = rng.normal(rate, np.sqrt(np.abs(rate) + 30), (ni, ng, *frame))
    steps += (rng.random(steps.shape) < hits) * rng.exponential(900, steps.shape)
    data = steps.cumsum(axis=1)
    data[rng.random(data.shape) < nans] = rng.choice([np.nan, np.inf])
    flagged = (rng.random(data.shape) < flags) & (rng.random(frame) < 0.6)
    gdq = np.where(flagged, rng.choice([DNU, SAT, JUMP, 32, 64], data.shape), 0).astype(np.uint8)
    gdq[rng.random((ni, 1, *frame)).repeat(ng, axis=1) < 0.02] = SAT
    pdq = np.where(rng.random(frame) < 0.05, rng.integers(0, 2**31, frame), 0).astype(np.uint32)
    gain = rng.uniform(0.5, 4, frame)
    gain[-1, :4] = [np.nan, 0, -1, np.inf]
    noise = rng.uniform(3, 12, frame)
    noise[0, :3] = [np.nan, 0, 1e6]
    return data.astype(np.float32), gdq, pdq, gain.astype(np.float32), noise.astype(np.float32)


def same(a, b):
    for planes, others in zip(a[:2], b[:2], strict=True):
        for name in planes._fields:
            np.testing.assert_array_equal(getattr(planes, name), getattr(others, name), err_msg=name)
    for one, other in zip(a[2:], b[2:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "read_times", [even_read_times(4, 3.0), even_read_times(9, 10.7), even_read_times(8, 2.7, 4, 1), UNEVEN]
)
def test_every_ramp_equals_dense_matrices(read_times):
    ng = len(read_times)
    data, gdq, pdq, gain, noise = exposure(ng, 1, ng, (2, 60), nans=0, hits=0.05)
    gain, noise = np.abs(np.nan_to_num(gain, nan=2, posinf=2)) + 0.5, np.clip(np.nan_to_num(noise), 3, 12)
    fit = fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=read_times, threads=1)
    jumps = 0
    for y, x in np.ndindex(2, 60):
        ramp = data[0, :, y, x], gdq[0, :, y, x], float(gain[y, x]), float(noise[y, x])
        expected, flags = naive.fit_ramp(*ramp, read_times, (20.25, 23.8))
        jumps += (flags > gdq[0, :, y, x]).sum()
        np.testing.assert_array_equal(fit.groupdq[0, :, y, x], flags)
        found = [getattr(fit.rate, name)[y, x] for name in NAMES] + [fit.chi2[y, x]]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert jumps > 5


def test_result_does_not_depend_on_threads_or_tiles():
    data, gdq, pdq, gain, noise = exposure(3, frame=(40, 300))
    dark = np.full(pdq.shape, 0.01, np.float32)
    zeroframe = data[:, 0] / 4
    times = even_read_times(8, 2.7, 4)
    options = {"read_times": times, "zeroframe": zeroframe, "average_dark_current": dark}
    one = fit_ramps_likelihood(data, gdq, pdq, gain, noise, **options, threads=1)
    same(one, fit_ramps_likelihood(data, gdq, pdq, gain, noise, **options, threads=2))
    assert np.isfinite(one.rate.slope).any() and np.isnan(one.rate.slope).any()

    tiled = likelihood.LikelihoodFit(
        likelihood.empty_planes(40, 300),
        likelihood.empty_planes(2, 40, 300),
        np.empty((40, 300), np.float32),
        np.empty((2, 40, 300), np.float32),
        gdq.copy(),
    )
    table = readout_table(split_first_group(times))
    for region in regions(40, 300, 13, 71):
        results = (*tiled.rate[:4], tiled.chi2, tiled.rate.dq)
        results += (*tiled.integrations[:4], tiled.chi2_integrations, tiled.integrations.dq)
        arrays = (tiled.groupdq, data, pdq, gain, noise, zeroframe, dark, table)
        likelihood.fit_likelihood_tile(*results, *arrays, 4, 20.25, 23.8, *region)
    same(one, tiled)


def test_a_straight_ramp_is_fitted_exactly():
    mean = np.array([np.mean(one) for one in UNEVEN])
    slopes = np.arange(1, 16).reshape(3, 5) * 4.0
    data = (100 + mean[:, None, None] * slopes)[None].astype(np.float32)
    one = np.ones((3, 5), np.float32)
    gdq = np.zeros(data.shape, np.uint8)
    data[0, 4:, 2] += 20000
    fit = fit_ramps_likelihood(data, gdq, one.astype(np.uint32), one, one * 5, read_times=UNEVEN)
    np.testing.assert_allclose(fit.rate.slope, slopes, rtol=1e-5)
    np.testing.assert_array_equal(fit.rate.dq, np.array([[1], [1], [5]]) * np.ones((1, 5), int))
    # The hit lies between groups 3 and 4, so that one difference is enough.
    assert (fit.groupdq[0, :, 2] == np.array([0, 0, 0, 0, JUMP, 0, 0])[:, None]).all()


def test_a_hit_within_an_averaged_group_costs_two_differences():
    times = even_read_times(8, 2.7, 4)
    data = np.broadcast_to(np.arange(8.0)[:, None, None] * 30, (1, 8, 2, 2)).astype(np.float32)
    data[0, 3] += 500
    data[0, 4:] += 1000
    one = np.ones((2, 2), np.float32)
    flags = detect_jumps_likelihood(data, np.zeros(data.shape, np.uint8), one, one * 8, read_times=times)
    assert (flags[0].any(axis=(1, 2)) == [False, False, False, True, True, False, False, False]).all()


def test_ramps_without_two_usable_groups():
    ng = 6
    data = np.broadcast_to(np.arange(ng, dtype=np.float32)[:, None, None] * 50, (1, ng, 1, 6)).copy()
    gdq = np.zeros(data.shape, np.uint8)
    gdq[..., 0] = SAT
    gdq[..., 1] = DNU
    gdq[:, 1:, :, 2] = SAT  # one group
    gdq[:, 2:, :, 3] = SAT  # two groups
    gdq[:, ::2, :, 4] = JUMP
    data[..., 5] = np.nan
    one = np.ones((1, 6), np.float32)
    times = even_read_times(ng, 5.0)
    fit = fit_ramps_likelihood(data, gdq, one.astype(np.uint32) * 0, one, one * 5, read_times=times)
    assert np.isnan(fit.rate.slope[0]).tolist() == [True, True, True, False, True, True]
    for values in (*fit.rate[1:4], fit.chi2):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(fit.rate.slope))
    assert fit.rate.slope[0, 3] == 10
    np.testing.assert_array_equal(fit.rate.dq[0], [SAT | DNU, DNU, SAT, SAT, JUMP, 0])
    np.testing.assert_array_equal(fit.groupdq, gdq)


def test_flags_of_the_exposure():
    """DO_NOT_USE of all integrations, everything else of any."""
    data, _, _, gain, _ = exposure(4, 3, 5, (1, 4), hits=0)
    gdq = np.zeros(data.shape, np.uint8)
    gdq[0, :, 0, 0] = DNU
    gdq[:, :, 0, 1] = DNU
    gdq[1, 2:, 0, 2] = SAT
    pdq = np.array([[0, 0, 0, 1 | 2048]], np.uint32)
    one = np.ones_like(gain)
    fit = fit_ramps_likelihood(np.nan_to_num(data), gdq, pdq, one, one * 30, read_times=even_read_times(5, 10.0))
    np.testing.assert_array_equal(fit.rate.dq, [[0, DNU, SAT, 1 | 2048]])
    np.testing.assert_array_equal(fit.integrations.dq[:, 0], [[1, 1, 0, 2049], [0, 1, 2, 2049], [0, 1, 0, 2049]])
    assert np.isfinite(fit.rate.slope[0, 3])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-2000, 2000), st.integers(-3, 3))
def test_invariants(seed, pedestal, power):
    """A pedestal changes nothing, the unit of the data only the unit of the result."""
    data, gdq, pdq, gain, noise = exposure(seed, frame=(3, 40), nans=0)
    data = np.round(data)
    times = even_read_times(8, 2.0)
    expected = fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=times, threads=1)
    moved = data + np.float32(pedestal)
    same(expected, fit_ramps_likelihood(moved, gdq, pdq, gain, noise, read_times=times, threads=1))
    unit = np.float32(2.0**power)
    scaled = fit_ramps_likelihood(data * unit, gdq, pdq, gain / unit, noise * unit, read_times=times, threads=1)
    np.testing.assert_allclose(scaled.rate.slope, expected.rate.slope * unit, rtol=2e-6)
    np.testing.assert_allclose(scaled.chi2, expected.chi2, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(scaled.groupdq, expected.groupdq)


def test_inputs_stay_and_the_search_can_be_left_out():
    inputs = exposure(5)
    copies = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False
    times = even_read_times(8, 2.0)
    fit = fit_ramps_likelihood(*inputs, read_times=times)
    for array, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert (fit.groupdq != inputs[1]).any()
    plain = fit_ramps_likelihood(*inputs, read_times=times, detect_jumps=False)
    np.testing.assert_array_equal(plain.groupdq, inputs[1])
    data, gdq, _, gain, noise = inputs
    np.testing.assert_array_equal(detect_jumps_likelihood(data, gdq, gain, noise, read_times=times), fit.groupdq)


def test_errors_come_before_anything_is_written():
    data, gdq, pdq, gain, noise = exposure(8)
    times = even_read_times(8, 2.0)
    with pytest.raises(ShapeError, match="read_noise has shape"):
        fit_ramps_likelihood(data, gdq, pdq, gain, noise[1:], read_times=times)
    with pytest.raises(ShapeError, match="read_times describes 7 groups; data has 8"):
        fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=times[1:])
    with pytest.raises(ShapeError, match="not increasing"):
        fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=times[::-1])
    for wrong in (None, 8, [*times[:-1], [None]], [*times[:-1], [np.nan]], [*times[:-1], []], [*times[:-1], [[9.0]]]):
        with pytest.raises(ShapeError, match="read_times.*expected all reads of every group"):
            fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=wrong)
    with pytest.raises(ShapeError, match="zeroframe has shape"):
        times = even_read_times(8, 2.0, 4)
        fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=times, zeroframe=data[:1, 0])
    with pytest.raises(DTypeError, match="groupdq"):
        fit_ramps_likelihood(data, gdq.astype(float), pdq, gain, noise, read_times=times)


def test_every_kernel_has_one_signature():
    data, gdq, pdq, gain, noise = exposure(9)
    fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=even_read_times(8, 2.0))
    times = even_read_times(8, 2.0, 2)
    fit_ramps_likelihood(data, gdq, pdq, gain, noise, read_times=times, zeroframe=data[:, 0], average_dark_current=gain)
    assert len(likelihood.fit_likelihood_tile.signatures) == 1

"""Slopes of ramps by ordinary least squares."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import ramp_fit as naive
from tests.reference.tiling import regions

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import ramp_fit
from upramp.kernels.ramp_fit import RatePlanes, choose_groups, fit_ramps, fit_ramps_into, segment_weights

DNU, SAT, JUMP, PERS, CHG, NO_GAIN_VALUE = 1, 2, 4, 32, 128, 2**19
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
TIMES = {"group_time": 10.73677, "frame_time": 2.68419, "nframes": 4}


def numbers(values, dtype):
    names = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}

    def convert(value):
        return [convert(v) for v in value] if isinstance(value, list) else names.get(value, value)

    return np.array(convert(values), dtype)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["id"].startswith("OLS")], ids=lambda v: v["id"])
def test_vector(vector):
    p = vector["params"]
    data, gdq = numbers(vector["data"], np.float32), np.array(vector["groupdq"], np.uint8)

    def plane(name, dtype=np.float32):
        return np.broadcast_to(numbers(p[name], dtype), data.shape[-2:])

    fit = fit_ramps(
        data,
        gdq,
        plane("pixeldq", np.uint32),
        plane("gain"),
        plane("readnoise"),
        group_time=p["group_time"],
        frame_time=p["frame_time"],
        nframes=p["nframes"],
        suppress_one_group=p["suppress_one_group"],
        zeroframe=None if p["zeroframe"] is None else numbers(p["zeroframe"], np.float32),
        average_dark_current=plane("average_dark_current"),
        miri=p["instrument"] == "MIRI",
        threads=1,
    )
    expected = vector["expected"]
    if expected["rate"] is None:
        assert fit is None
        return
    for planes, wanted in ((fit.rate, expected["rate"]), (fit.integrations, expected["rateints"])):
        np.testing.assert_array_equal(planes.dq, wanted["dq"])
        for name in ("slope", "err", "var_poisson", "var_rnoise"):
            np.testing.assert_allclose(getattr(planes, name), numbers(wanted[name], float), rtol=2e-6, err_msg=name)


def test_selection_of_groups_vector():
    vector = next(v for v in VECTORS if v["id"] == "SEL01")
    for case in vector["expected"]:
        gdq = np.zeros((1, 6, 3, 4), np.uint8)
        selected = ramp_fit._selection(case["firstgroup"], case["lastgroup"], 6)
        ramp_fit.select_groups_tile(gdq, *selected, 0, 3, 0, 4)
        np.testing.assert_array_equal(gdq, np.broadcast_to(np.array(case["groupdq"])[:, None, None], gdq.shape))


_CHOICES = [(3, 9, [3]), (4, 6, []), (4, None, [0, 1, 2, 3]), (1, 9, [1, 2, 3])]


@pytest.mark.parametrize(("first", "last", "fitted"), _CHOICES)
def test_a_last_group_behind_the_end_is_compared_as_it_was_given(first, last, fitted):
    gdq = np.zeros((1, 4, 2, 3), np.uint8)
    ramp_fit.select_groups(gdq, first, last)
    expected = np.isin(np.arange(4), fitted, invert=True).astype(np.uint8)
    np.testing.assert_array_equal(gdq, np.broadcast_to(expected[:, None, None], gdq.shape))


def test_a_lone_first_group_without_a_value_counts_as_no_rate():
    """The Poisson noise of all integrations comes from the mean of their rates, where a NaN is 0 (the reference)."""
    ramp = np.arange(4, dtype=np.float32) * 1000
    data = np.tile(ramp, (5, 1))[:, :, None, None]
    gdq, one = np.zeros(data.shape, np.uint8), np.ones((1, 1), np.float32)
    gdq[0, 1:] = SAT
    data[0, 0] = np.nan
    options = {"group_time": 10.0, "frame_time": 10.0, "suppress_one_group": False}
    fit = fit_ramps(data, gdq, one.astype(np.uint32) * 0, one, one * 5, **options)
    # 4 of 5 integrations have 100 DN/s: 80 in the mean, over three intervals of 10 s each.
    np.testing.assert_allclose(fit.integrations.var_poisson[1:, 0, 0], 80 / 30, rtol=1e-6)
    assert np.isnan(fit.integrations.slope[0, 0, 0])


@pytest.mark.parametrize("ngroups", [3, 4, 5, 8, 40])
@pytest.mark.parametrize("careful", [False, True])
def test_an_infinite_sample_leaves_no_slope(ngroups, careful):
    """In any group of a segment, that of the middle too; quick and careful path alike. Two groups have a difference."""
    n = ngroups + careful
    data = np.tile(np.arange(n, dtype=np.float32)[:, None, None], (1, 1, 1, 2 * ngroups + 1))
    gdq, one = np.zeros(data.shape, np.uint8), np.ones((1, data.shape[-1]), np.float32)
    for k in range(ngroups):
        data[0, k, 0, 2 * k : 2 * k + 2] = np.inf, -np.inf
    gdq[0, ngroups:] = SAT
    pdq = np.zeros(one.shape, np.uint32)
    fit = fit_ramps(data, gdq, pdq, one, one * 5, group_time=10.0, frame_time=10.0)
    assert np.isnan(fit.rate.slope[0, :-1]).all() and np.isnan(fit.integrations.slope[0, 0, :-1]).all()
    np.testing.assert_allclose(fit.rate.slope[0, -1], 0.1, rtol=1e-6)


def exposure(seed, ni=2, ng=8, frame=(6, 300), flags=0.1, nans=0.005):
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 5.0, 100.0, 5000.0, -10.0], frame)
    data = rng.normal(rate, np.sqrt(np.abs(rate) + 30), (ni, ng, *frame)).cumsum(axis=1)
    data[rng.random(data.shape) < nans] = np.nan
    choices = [DNU, SAT, JUMP, JUMP, JUMP, PERS, CHG | DNU, JUMP | DNU, 64]
    flagged = (rng.random(data.shape) < flags) & (rng.random(frame) < 0.6)
    gdq = np.where(flagged, rng.choice(choices, data.shape), 0).astype(np.uint8)
    saturated = (rng.random((ni, 1, *frame)) < 0.1) & (np.arange(ng)[:, None, None] >= rng.integers(0, ng, frame))
    gdq[saturated] |= SAT
    pdq = np.where(rng.random(frame) < 0.05, rng.integers(0, 2**31, frame), 0).astype(np.uint32)
    gain = rng.uniform(0.5, 4, frame)
    gain[-1, :4] = [np.nan, 0, -1, np.inf]
    noise = rng.uniform(1, 12, frame)
    noise[0, :3] = [np.nan, 0, 1e6]
    return data.astype(np.float32), gdq, pdq, gain.astype(np.float32), noise.astype(np.float32)


def clean_exposure(seed, ng=9, frame=(4, 270)):
    data, gdq, pdq, gain, noise = exposure(seed, ng=ng, frame=frame, nans=0)
    return (
        data,
        np.zeros_like(gdq),
        np.zeros_like(pdq),
        np.ones_like(gain) * 2,
        np.nan_to_num(np.clip(noise, 1, 12), nan=5.0),
    )


def same(a, b):
    for planes, others in zip(a, b, strict=True):
        for name in planes._fields:
            np.testing.assert_array_equal(getattr(planes, name), getattr(others, name), err_msg=name)


@pytest.mark.parametrize("ng", [2, 3, 4, 9, 10, 40])
def test_clean_ramps_equal_plain_numpy(ng):
    data, gdq, pdq, gain, noise = clean_exposure(1, ng, (2, 270))
    fit = fit_ramps(data, gdq, pdq, gain, noise, **TIMES, threads=1)
    time = np.float64(np.float32(TIMES["group_time"]))
    for y, x in np.ndindex(2, 270):
        pixel = data[:, :, y, x], float(gain[y, x]), float(noise[y, x]), time, TIMES["nframes"]
        if ng == 2:
            expected = np.mean(np.diff(data[:, :, y, x].astype(float), axis=1)) / time
            np.testing.assert_allclose(fit.rate.slope[y, x], expected, rtol=1e-5, atol=1e-6)
            continue
        found = [plane[y, x] for plane in fit.rate[:4]]
        np.testing.assert_allclose(found, naive.fit_clean(*pixel), rtol=2e-6, atol=1e-7)


def test_the_careful_path_gives_the_same_as_the_quick_one():
    """An unusable group at the end sends every pixel to the careful path."""
    data, gdq, pdq, gain, noise = clean_exposure(2)
    quick = fit_ramps(data, gdq, pdq, gain, noise, **TIMES)
    longer = np.concatenate([data, data[:, -1:]], axis=1)
    flags = np.concatenate([gdq, np.full_like(gdq[:, :1], DNU)], axis=1)
    careful = fit_ramps(longer, flags, pdq, gain, noise, **TIMES)
    for planes, others in zip(quick, careful, strict=True):
        np.testing.assert_array_equal(planes.dq, others.dq)
        for name in ("slope", "err", "var_poisson", "var_rnoise"):
            np.testing.assert_allclose(getattr(planes, name), getattr(others, name), rtol=3e-7, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("suppress", [True, False])
def test_result_does_not_depend_on_threads_or_tiles(suppress):
    data, gdq, pdq, gain, noise = exposure(3, frame=(40, 300))
    zeroframe, dark = data[:, 0] / 4, np.full(pdq.shape, 0.01, np.float32)
    options = TIMES | {"suppress_one_group": suppress, "zeroframe": zeroframe, "average_dark_current": dark}
    one = fit_ramps(data, gdq, pdq, gain, noise, **options, threads=1)
    same(one, fit_ramps(data, gdq, pdq, gain, noise, **options, threads=2))
    assert np.isfinite(one.rate.slope).any() and np.isnan(one.rate.slope).any()

    tiled = ramp_fit.RampFit(ramp_fit._empty_planes(40, 300), ramp_fit._empty_planes(2, 40, 300))
    tg, tf = (float(np.float32(TIMES[name])) for name in ("group_time", "frame_time"))
    scalars = (0, 8, int(suppress), np.sqrt(8.0), tg, tf, 2.5 * tf)
    flags = gdq.copy()
    for region in regions(40, 300, 13, 71):
        arrays = (flags, data, pdq, gain, noise, zeroframe, dark, segment_weights(8, tg), np.zeros((2, 8), np.uint8))
        ramp_fit.fit_ramps_tile(*tiled.rate, *tiled.integrations, *arrays, *scalars, *region)
    same(one, tiled)


def test_noiseless_ramps_are_exact():
    ng, frame = 7, (3, 5)
    slope = np.arange(1, 16).reshape(frame) * 4.0
    data = (100 + np.arange(ng)[:, None, None] * slope)[None].astype(np.float32)
    gdq, one = np.zeros(data.shape, np.uint8), np.ones(frame, np.float32)
    gdq[0, 3, 1] = DNU
    data[0, 4:, 2] += 1000
    gdq[0, 4, 2] = JUMP
    fit = fit_ramps(data, gdq, one.astype(np.uint32) * 16, one, one, group_time=4.0, frame_time=4.0)
    np.testing.assert_allclose(fit.rate.slope, slope / 4, rtol=1e-6)
    np.testing.assert_array_equal(fit.rate.dq, np.array([[16], [16], [16 | JUMP]]) * np.ones(frame, int))
    np.testing.assert_allclose(fit.rate.var_poisson[0], slope[0] / 4 / (4 * 6), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-2000, 2000), st.integers(-3, 3))
def test_invariants(seed, pedestal, power):
    """A pedestal changes nothing, the unit of the data only the unit of the result."""
    data, gdq, pdq, gain, noise = exposure(seed, frame=(5, 40), nans=0)
    data = np.round(data)
    gdq &= JUMP | PERS  # isolated groups would count from zero, and so depend on the pedestal
    expected = fit_ramps(data, gdq, pdq, gain, noise, **TIMES, threads=1)
    same(expected, fit_ramps(data + np.float32(pedestal), gdq, pdq, gain, noise, **TIMES, threads=1))
    unit = np.float32(2.0**power)
    scaled = fit_ramps(data * unit, gdq, pdq, gain / unit, noise * unit, **TIMES, threads=1)
    ordinary = noise < 1000  # variances above 1e6 are dropped, whatever the unit
    np.testing.assert_array_equal(scaled.rate.slope[ordinary], (expected.rate.slope * unit)[ordinary])
    np.testing.assert_array_equal(scaled.rate.dq, expected.rate.dq)


def test_masked_last_group_is_like_an_absent_one():
    data, gdq, pdq, gain, noise = exposure(5)
    gdq[:, -1] = DNU
    full = fit_ramps(data, gdq, pdq, gain, noise, **TIMES)
    cut = fit_ramps(data[:, :-1], gdq[:, :-1], pdq, gain, noise, **TIMES)
    for planes, others in zip(full, cut, strict=True):
        np.testing.assert_array_equal(planes.dq & ~np.uint32(SAT), others.dq & ~np.uint32(SAT))
        np.testing.assert_allclose(planes.slope, others.slope, rtol=3e-7, atol=1e-8)


def test_pulls_are_standard_normal():
    rng = np.random.default_rng(6)
    frame, ng, rate, tg = (100, 100), 10, 20.0, 10.0
    gain, cds = 2.0, 6.0
    photons = rng.poisson(rate * tg * gain, (1, ng, *frame)).cumsum(axis=1) / gain
    data = (photons + rng.normal(0, cds / np.sqrt(2), photons.shape)).astype(np.float32)
    one = np.ones(frame, np.float32)
    zeros = np.zeros(data.shape, np.uint8)
    fit = fit_ramps(data, zeros, one.astype(np.uint32) * 0, one * gain, one * cds, group_time=tg, frame_time=tg)
    pull = (fit.rate.slope - rate) / fit.rate.err
    # The variance formula is that of ideal weights; the six powers are a few percent off.
    assert abs(pull.mean()) < 0.05 and 0.9 < pull.std() < 1.1


def test_miri_groups_are_left_out():
    gdq = np.zeros((2, 6, 4, 5), np.uint8)
    gdq[:, [0, 1, 5]] = DNU
    assert choose_groups(gdq) == (0, 6)
    assert choose_groups(gdq, miri=True) == (2, 5)
    gdq[1, 1, 2, 2] = 0
    assert choose_groups(gdq, miri=True) == (1, 5)
    gdq[:, 1:] = DNU
    assert choose_groups(gdq, miri=True) is None
    gdq[:] = 0
    gdq[:, 0] = SAT
    assert choose_groups(gdq) is None


@pytest.mark.parametrize("ngroups", [2, 3, 8])
def test_infinite_read_noise_and_nan(ngroups):
    """All weights are 0: no slope of three groups and more; two groups have one, of no weight (as the peer)."""
    data = np.arange(ngroups, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 1, 3), np.float32)
    data[0, 0, 0, 2] = np.nan
    gdq, pdq, noise = np.zeros(data.shape, np.uint8), np.zeros((1, 3), np.uint32), np.array([[5, np.inf, np.inf]], "f4")
    fit = fit_ramps(data, gdq, pdq, np.ones_like(noise), noise, suppress_one_group=False, **TIMES)
    expected = [1 / TIMES["group_time"], 0 if ngroups == 2 else np.nan, np.nan]
    np.testing.assert_allclose(fit.rate.slope[0], expected, rtol=1e-6)
    np.testing.assert_allclose(fit.integrations.slope[0, 0], expected, rtol=1e-6)


def test_zeroframe_for_a_single_saturated_group():
    """The first read stands in for it, so that nothing is saturated, neither in the integration nor in the rate."""
    data, gdq = np.full((2, 1, 1, 2), 50, np.float32), np.zeros((2, 1, 1, 2), np.uint8)
    gdq[0] = SAT
    zeroframe = np.full((2, 1, 2), 20, np.float32)
    zeroframe[0, 0, 1] = 0
    plane = np.ones((1, 2), np.float32)
    fit = fit_ramps(
        data, gdq, np.zeros((1, 2), np.uint32), plane, plane, zeroframe=zeroframe, suppress_one_group=False, **TIMES
    )
    np.testing.assert_array_equal(fit.integrations.dq[:, 0], [[0, DNU | SAT], [0, 0]])
    np.testing.assert_array_equal(fit.rate.dq[0], [0, SAT])


def test_suppressed_ramps_are_flagged_in_place_only():
    data, gdq, pdq, gain, noise = exposure(7)
    inputs = [array.copy() for array in (data, gdq, pdq, gain, noise)]
    for array in inputs:
        array.flags.writeable = False
    fit = fit_ramps(*inputs, **TIMES)
    np.testing.assert_array_equal(inputs[1], gdq)
    flags = gdq.copy()
    planes = ramp_fit.RampFit(ramp_fit._empty_planes(6, 300), ramp_fit._empty_planes(2, 6, 300))
    assert ramp_fit.fit_ramps_into(*planes, data, flags, pdq, gain, noise, **TIMES)
    same(planes, fit)
    one_good = ((gdq & ~np.uint8(PERS)) == 0).sum(axis=1, keepdims=True) == 1
    assert one_good.any()
    np.testing.assert_array_equal(flags, gdq | (one_good * np.uint8(DNU)))


def test_errors_come_before_anything_is_written():
    data, gdq, pdq, gain, noise = exposure(8)
    with pytest.raises(ShapeError, match="read_noise has shape"):
        fit_ramps(data, gdq, pdq, gain, noise[1:], **TIMES)
    with pytest.raises(ShapeError, match="zeroframe has shape"):
        fit_ramps(data, gdq, pdq, gain, noise, zeroframe=data[:1, 0], **TIMES)
    with pytest.raises(DTypeError, match="groupdq"):
        fit_ramps(data, gdq.astype(float), pdq, gain, noise, **TIMES)
    planes = ramp_fit.RampFit(ramp_fit._empty_planes(6, 300), ramp_fit._empty_planes(2, 6, 300))
    with pytest.raises(DTypeError, match="in place"):
        ramp_fit.fit_ramps_into(*planes, data, gdq[..., ::-1], pdq, gain, noise, **TIMES)


def test_every_kernel_has_one_signature():
    data, gdq, pdq, gain, noise = exposure(9)
    fit_ramps(data, gdq, pdq, gain, noise, **TIMES, firstgroup=1, miri=True)
    fit_ramps(data, gdq, pdq, gain, noise, group_time=3, frame_time=1, zeroframe=data[:, 0], average_dark_current=gain)
    for kernel in (ramp_fit.fit_ramps_tile, ramp_fit.select_groups_tile, ramp_fit._unusable_everywhere):
        assert len(kernel.signatures) == 1


def test_planes_of_size_0_are_not_wanted():
    """The slopes alone are those of the whole fit, with flagged, saturated and strange ramps."""
    rng = np.random.default_rng(11)
    shape = (2, 6, 40, 300)
    data = np.cumsum(rng.normal(40, 8, shape), axis=1).astype(np.float32)
    flags = rng.choice(np.array([0, 1, 2, 4], np.uint8), shape, p=[0.9, 0.03, 0.03, 0.04])
    pixel_flags = rng.choice(np.array([0, 1], np.uint32), shape[2:], p=[0.97, 0.03])
    data[rng.random(shape) < 0.01] = np.nan
    gain, noise = np.full(shape[2:], 1.8, np.float32), np.full(shape[2:], 8.0, np.float32)
    times = {"group_time": 10.0, "frame_time": 10.0}
    expected = fit_ramps(data, flags, pixel_flags, gain, noise, **times)
    for wanted in (False, True):
        planes = []
        for frame in (shape[2:], (2, *shape[2:]) if wanted else (0, 0, 0)):
            nothing = np.empty((0,) * len(frame), np.float32)
            planes.append(
                RatePlanes(np.empty(frame, np.float32), nothing, nothing, nothing, np.empty(frame, np.uint32))
            )
        assert fit_ramps_into(*planes, data, flags.copy(), pixel_flags, gain, noise, **times)
        for found, whole in zip(planes, expected, strict=True):
            if found.slope.size:
                np.testing.assert_array_equal(found.slope, whole.slope)
                np.testing.assert_array_equal(found.dq, whole.dq)


def test_groups_that_most_pixels_cannot_use_only_save_time():
    """MIRI: where some pixels keep the first groups, the others are fitted quickly, to the same numbers."""
    data, gdq, pdq, gain, noise = exposure(5, ng=9, frame=(6, 300), flags=0.02)
    gdq[:, -1] |= DNU
    gdq[0, :1] |= DNU
    gdq[1, :3] |= DNU
    some = np.random.default_rng(0).random((6, 300)) < 0.2
    gdq[:, :3, some] = 0
    quick = fit_ramps(data, gdq, pdq, gain, noise, **TIMES, miri=True)
    # The group that nobody uses is left out in both.
    careful = fit_ramps(data[:, :-1], gdq[:, :-1], pdq, gain, noise, **TIMES)
    for planes, others in zip(quick, careful, strict=True):
        np.testing.assert_array_equal(planes.dq, others.dq)
        for name in ("slope", "err", "var_poisson", "var_rnoise"):
            np.testing.assert_allclose(getattr(planes, name), getattr(others, name), rtol=2e-6, err_msg=name)
    found = ramp_fit._mostly_unused(gdq)
    np.testing.assert_array_equal(found, ((gdq & DNU) != 0).mean(axis=(2, 3)) > 0.5)
    assert found.sum(axis=1).tolist() == [2, 4]

"""Division of rates by the flat field."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.flat_field import (
    divide_by_flat_in_place,
    divide_by_flat_tile,
    divide_images_by_flat_in_place,
    divide_images_by_flat_tile,
)

DO_NOT_USE, NO_FLAT_FIELD = 1, 2**18


def rates(frame, seed=2):
    rng = np.random.default_rng(seed)
    rate = rng.normal(10, 30, (3, *frame)).astype(np.float32)
    err = rng.uniform(1, 3, rate.shape).astype(np.float32)
    rate.flat[::31], err.flat[::37], rate.flat[::43] = np.nan, np.nan, np.inf
    dq = rng.integers(0, 2**31, frame).astype(np.uint32)
    flat = rng.normal(1, 0.1, frame).astype(np.float32)
    flat.flat[::11], flat.flat[4::13] = np.nan, 0
    flat_err = rng.uniform(0, 0.1, frame).astype(np.float32)
    flat_err.flat[::17] = np.nan
    flat_dq = rng.choice([0, 0, 0, 4, DO_NOT_USE, NO_FLAT_FIELD], frame).astype(np.uint32)
    return rate, err, dq, flat, flat_err, flat_dq


def by_pixel(rate, err, dq, flat, flat_err, flat_dq, inverse):
    rate, err, dq = rate.copy(), err.copy(), dq.copy()
    for y, x in np.ndindex(dq.shape):
        value, flags = flat[y, x], flat_dq[y, x]
        if np.isnan(value) or value == 0 or flags & NO_FLAT_FIELD:
            flags |= NO_FLAT_FIELD | DO_NOT_USE
        if flags & DO_NOT_USE:
            value = np.float32(1)
        dq[y, x] |= flags
        for i in range(len(rate)):
            if inverse:
                rate[i, y, x] *= value
            else:
                rate[i, y, x] /= value
                variance = rate[i, y, x] ** 2 / (value * value) * flat_err[y, x] ** 2
                err[i, y, x] = np.sqrt(err[i, y, x] ** 2 + variance)
            if np.isnan(rate[i, y, x]) or np.isnan(err[i, y, x]):
                rate[i, y, x] = err[i, y, x] = np.nan
    return rate, err, dq


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("frame", [(9, 11), (1, 40), (40, 1)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_against_single_pixels(frame, inverse):
    arrays = rates(frame)
    expected = by_pixel(*arrays, inverse)
    found = [array.copy() for array in arrays]
    divide_by_flat_in_place(*found, inverse=inverse)
    for a, b in zip(found, (*expected, *arrays[3:]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_undoing_a_division():
    rng = np.random.default_rng(1)
    rate = rng.normal(100, 10, (1, 6, 7)).astype(np.float32)
    flat = rng.uniform(0.5, 2, (6, 7)).astype(np.float32)
    zero, flags = np.zeros((6, 7), np.float32), np.zeros((6, 7), np.uint32)
    there, err = rate.copy(), np.ones_like(rate)
    divide_by_flat_in_place(there, err, flags, flat, zero, flags)
    assert np.abs(there - rate).max() > 1
    divide_by_flat_in_place(there, err, flags, flat, zero, flags, inverse=True)
    np.testing.assert_allclose(there, rate, rtol=3e-7)


def test_threads_agree_bitwise():
    one, two = (rates((140, 19)) for _ in range(2))
    divide_by_flat_in_place(*one, threads=1)
    divide_by_flat_in_place(*two, threads=2)
    assert [a.tobytes() for a in one] == [b.tobytes() for b in two]
    assert len(divide_by_flat_tile.signatures) == 1


def test_refusals():
    rate, err, dq, flat, flat_err, flat_dq = rates((4, 5))
    with pytest.raises(ShapeError, match="flat_err"):
        divide_by_flat_in_place(rate, err, dq, flat, flat_err[:2], flat_dq)
    with pytest.raises(DTypeError, match="rate"):
        divide_by_flat_in_place(rate.astype(">f4"), err, dq, flat, flat_err, flat_dq)


def images(frame, seed=2):
    rate, err, dq, flat, flat_err, flat_dq = rates(frame, seed)
    rng = np.random.default_rng(seed)
    dq = np.where(rng.random(rate.shape) < 0.1, dq, 0).astype(np.uint32)
    var_poisson, var_rnoise = (rng.uniform(0, 3, rate.shape).astype(np.float32) for _ in range(2))
    var_poisson.flat[::41], var_rnoise.flat[::47], var_poisson.flat[5::53] = np.nan, np.nan, -9
    return rate, err, dq, var_poisson, var_rnoise, np.full_like(rate, 7), flat, flat_err, flat_dq


def images_by_numpy(rate, err, dq, var_poisson, var_rnoise, var_flat, flat, flat_err, flat_dq, inverse):
    flat, flat_dq = flat.copy(), flat_dq.copy()
    flat_dq[np.isnan(flat) | (flat == 0) | (flat_dq & NO_FLAT_FIELD > 0)] |= NO_FLAT_FIELD | DO_NOT_USE
    flat[flat_dq & DO_NOT_USE > 0] = 1
    if inverse:
        rate, var_poisson, var_rnoise = rate * flat, var_poisson * (flat * flat), var_rnoise * (flat * flat)
        var_flat = np.zeros_like(rate)
    else:
        rate, var_poisson, var_rnoise = rate / flat, var_poisson / (flat * flat), var_rnoise / (flat * flat)
        var_flat = rate**2 / (flat * flat) * flat_err**2
    err = np.sqrt(var_poisson + var_rnoise + var_flat)
    dq = dq | flat_dq
    bad = np.any([np.isnan(a) for a in (rate, err, var_poisson, var_rnoise, var_flat)], axis=0) | (dq & DO_NOT_USE > 0)
    dq = np.where(bad, dq | DO_NOT_USE, dq)
    rate, err, var_poisson, var_rnoise, var_flat = (
        np.where(bad, np.float32(np.nan), a) for a in (rate, err, var_poisson, var_rnoise, var_flat)
    )
    return rate, err, dq, var_poisson, var_rnoise, var_flat


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("frame", [(9, 11), (1, 40), (140, 3)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_images_against_numpy(frame, inverse):
    arrays = images(frame)
    expected = images_by_numpy(*arrays, inverse)
    for threads in (1, 2):
        found = [array.copy() for array in arrays]
        divide_images_by_flat_in_place(*found, inverse=inverse, threads=threads)
        for a, b in zip(found, (*expected, *arrays[6:]), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(divide_images_by_flat_tile.signatures) == 1


def test_images_refused():
    arrays = list(images((4, 5)))
    arrays[2] = arrays[2][0]
    with pytest.raises(ShapeError, match="dq"):
        divide_images_by_flat_in_place(*arrays)

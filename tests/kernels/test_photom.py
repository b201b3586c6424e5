"""Conversion of rates to surface brightness."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.photom import convert_images_in_place, convert_images_tile

DO_NOT_USE = 1


def images(frame=(9, 11), seed=4):
    rng = np.random.default_rng(seed)
    arrays = [rng.lognormal(0, 2, (2, *frame)).astype(np.float32) for _ in range(5)]
    for number, array in enumerate(arrays):
        array.flat[number :: 17 + number] = np.nan
    arrays[0].flat[::29] = np.inf
    dq = rng.choice([0, 0, 0, 4, DO_NOT_USE, 2**30], arrays[0].shape).astype(np.uint32)
    return arrays, dq


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("factor", [np.float32(0.37), np.float64(1 / 3), np.float32(0), np.float32(np.nan)])
@pytest.mark.parametrize("variances", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_against_numpy(factor, inverse, variances):
    arrays, dq = images()
    arrays = arrays[:2] + [a if there else None for a, there in zip(arrays[2:], variances, strict=True)]
    expected = [None if a is None else a.copy() for a in arrays]
    for number, array in enumerate(expected):
        if array is not None:
            scale = factor if number < 2 else factor * factor
            np.divide(array, scale, out=array) if inverse else np.multiply(array, scale, out=array)
    bad = np.any([np.isnan(a) for a in expected if a is not None], axis=0) | (dq & DO_NOT_USE > 0)
    for threads in (1, 2):
        found, flags = [None if a is None else a.copy() for a in arrays], dq.copy()
        convert_images_in_place(found[0], found[1], flags, found[2:], factor, inverse, threads)
        np.testing.assert_array_equal(flags, np.where(bad, dq | DO_NOT_USE, dq))
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, np.where(bad, np.float32(np.nan), b))
    assert len(convert_images_tile.signatures) == 1


def test_there_and_back():
    arrays, dq = images()
    before = [np.where(np.isfinite(a), a, 1).astype(np.float32) for a in arrays]
    after, flags = [a.copy() for a in before], np.zeros_like(dq)
    convert_images_in_place(after[0], after[1], flags, after[2:], np.float32(2.5))
    convert_images_in_place(after[0], after[1], flags, after[2:], np.float32(2.5), inverse=True)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b, a, rtol=3e-7)


def test_refusals():
    arrays, dq = images()
    with pytest.raises(ShapeError, match="var_flat"):
        convert_images_in_place(*arrays[:2], dq, [*arrays[2:4], arrays[4][:1]], np.float32(1))
    with pytest.raises(DTypeError, match="rate"):
        convert_images_in_place(arrays[0].astype(">f4"), arrays[1], dq, arrays[2:], np.float32(1))

"""Deconvolution of inter-pixel capacitance."""

import numpy as np
import pytest
from tests.reference.ipc import convolve
from tests.reference.tiling import regions

from upramp.errors import ShapeError
from upramp.kernels.ipc import ScienceLimits, convolve_tile, convolve_tile_4d, correct_ipc, science_limits

rng = np.random.default_rng(15)
FRAME = (9, 12)
DATA = rng.normal(1000, 100, (2, 2, *FRAME)).astype(np.float32)
DATA[0, 0, 4, 6] = np.nan
DATA.flags.writeable = False


def make_kernel(size, four_d):
    return rng.normal(0, 1, (size, size, *FRAME) if four_d else (size, size)).astype(np.float32)


@pytest.mark.parametrize("limits", [(0, 9, 0, 12), (4, 9, 0, 8), (2, 7, 3, 4), (4, 4, 0, 12)])
@pytest.mark.parametrize("four_d", [False, True])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_against_single_pixels(size, four_d, limits):
    ipc_kernel = make_kernel(size, four_d)
    ipc_kernel.flags.writeable = False
    result = correct_ipc(DATA, ipc_kernel, ScienceLimits(*limits), threads=2)
    expected = [[convolve(frame, ipc_kernel, limits) for frame in ramp] for ramp in DATA]
    np.testing.assert_array_equal(result, expected)
    tile = convolve_tile_4d if four_d else convolve_tile
    tiled = np.full(DATA.shape, -1, np.float32)
    for region in regions(*FRAME):
        tile(tiled, DATA.copy(), ipc_kernel.copy(), *limits, *region)
    np.testing.assert_array_equal(tiled, result)
    assert len(tile.signatures) == 1


def test_a_tile_with_margins_is_the_frame():
    """The science block may begin before and end behind the arrays of a tile."""
    ipc_kernel = make_kernel(3, False)
    whole = correct_ipc(DATA, ipc_kernel, ScienceLimits(1, 8, 1, 11))
    piece = DATA[:, :, 3:8, 4:10].copy()
    out = np.zeros_like(piece)
    convolve_tile(out, piece, ipc_kernel, 1 - 3, 8 - 3, 1 - 4, 11 - 4, 1, 5, 1, 5)
    np.testing.assert_array_equal(out[:, :, 1:4, 1:5], whole[:, :, 4:7, 5:9])


def test_a_point_shows_the_kernel():
    point = np.zeros((1, 1, 7, 7), np.float32)
    point[0, 0, 3, 3] = 1
    ipc_kernel = np.arange(9, dtype=np.float32).reshape(3, 3)
    result = correct_ipc(point, ipc_kernel)[0, 0]
    np.testing.assert_array_equal(result[2:5, 2:5], ipc_kernel)
    assert result.sum() == ipc_kernel.sum()


@pytest.mark.parametrize(
    ("subarray", "miri", "expected"),
    [
        ((1, 1, 2048, 2048), False, (4, 2044, 4, 2044)),
        ((1, 1, 1032, 1024), True, (0, 1024, 4, 1028)),
        ((1, 1985, 64, 64), False, (0, 60, 4, 64)),
        ((3, 2, 10, 10), False, (3, 10, 2, 10)),
        ((2046, 1000, 3, 5), False, (0, 5, 0, 0)),
        ((1, 1000, 2, 5), False, (0, 5, 2, 2)),
        ((1001, 500, 20, 30), True, (0, 30, 0, 20)),
    ],
)
def test_science_limits(subarray, miri, expected):
    xstart, ystart, xsize, ysize = subarray
    assert science_limits(xstart, ystart, xsize, ysize, miri) == expected


@pytest.mark.parametrize(
    ("shape", "limits"), [((2, 2), None), ((3, 5), None), ((3, 3, 9, 11), None), ((3, 3), (0, 10, 0, 12))]
)
def test_refusals(shape, limits):
    with pytest.raises(ShapeError):
        correct_ipc(DATA, np.ones(shape, np.float32), limits)

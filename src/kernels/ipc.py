"""Undo inter-pixel capacitance by convolution with the deconvolution kernel.

Model: ``out[y, x] = sum over (j, i) of K[j, i] S[y - (j - m), x - (i - m)]`` with m half the kernel's size, a true
convolution, where S is the science block: reference pixels contribute nothing and stay as they are. A kernel that
varies over the detector (4-D) is taken at the output pixel. Products and sums are float32 in raster order of the
kernel, the central pixel last (reference behaviour). NaN spreads as far as the kernel reaches.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "ScienceLimits",
    "convolve_tile",
    "convolve_tile_4d",
    "correct_ipc",
    "correct_ipc_in_place",
    "science_limits",
]

# Light-sensitive rows and columns of the full frames, exclusive ends: the rest are reference pixels.
_NIR_SCIENCE = (4, 2044, 4, 2044)
_MIRI_SCIENCE = (0, 1024, 4, 1028)


class ScienceLimits(NamedTuple):
    """Rows and columns of an array that are not reference pixels (ends exclusive)."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


def science_limits(xstart, ystart, xsize, ysize, miri=False):
    """Where the science pixels are in a subarray.

    Parameters
    ----------
    xstart, ystart : int
        First column and row of the subarray in the full frame, counted from 1.
    xsize, ysize : int
        Its number of columns and rows.
    miri : bool
        MIRI has reference columns only; the near-infrared detectors have rows too.

    Returns
    -------
    ScienceLimits
        In coordinates of the subarray, counted from 0.
    """
    first_row, last_row, first_column, last_column = _MIRI_SCIENCE if miri else _NIR_SCIENCE
    first_row = min(max(first_row - ystart + 1, 0), ysize)
    last_row = max(min(last_row - ystart + 1, ysize), first_row)
    first_column = min(max(first_column - xstart + 1, 0), xsize)
    last_column = max(min(last_column - xstart + 1, xsize), first_column)
    return ScienceLimits(first_row, last_row, first_column, last_column)


@helper
def _add_neighbour(out, data, weight, i, g, r, dy, dx, science, left, right):
    """Add weight * data[r - dy, x - dx] to one row of the output, where that pixel is in the science block."""
    first_row, last_row, first_column, last_column = science
    if r - dy < first_row or r - dy >= last_row:
        return
    start = max(left, first_column + dx)
    stop = max(min(right, last_column + dx), start)
    target = out[i, g, r, start:stop]
    source = data[i, g, r - dy, start - dx : stop - dx]
    for x in range(target.size):
        target[x] += weight * source[x]


@helper
def _add_neighbour_4d(out, data, weights, i, g, r, dy, dx, science, left, right):
    """The same with a weight for each output pixel, ``weights`` (ny, nx)."""
    first_row, last_row, first_column, last_column = science
    if r - dy < first_row or r - dy >= last_row:
        return
    start = max(left, first_column + dx)
    stop = max(min(right, last_column + dx), start)
    target = out[i, g, r, start:stop]
    source = data[i, g, r - dy, start - dx : stop - dx]
    weight = weights[r, start:stop]
    for x in range(target.size):
        target[x] += weight[x] * source[x]


@kernel
def convolve_tile(out, data, kernel_2d, first_row, last_row, first_column, last_column, first, last, left, right):
    """Convolve with one kernel (k, k); reference pixels are copied. Reads k // 2 pixels around the region.

    ``first_row ... last_column``: limits of the science block in coordinates of these arrays.
    """
    middle = kernel_2d.shape[0] // 2
    start, stop = max(left, first_column), min(right, last_column)
    science = (first_row, last_row, first_column, last_column)
    for i in range(data.shape[0]):
        for g in range(data.shape[1]):
            for r in range(first, last):
                copy_row(out[i, g, r, left:right], data[i, g, r, left:right])
                if r < first_row or r >= last_row or start >= stop:
                    continue
                fill_row(out[i, g, r, start:stop], np.float32(0))
                for j in range(kernel_2d.shape[0]):
                    for k in range(kernel_2d.shape[1]):
                        if j != middle or k != middle:
                            weight = kernel_2d[j, k]
                            _add_neighbour(out, data, weight, i, g, r, j - middle, k - middle, science, start, stop)
                _add_neighbour(out, data, kernel_2d[middle, middle], i, g, r, 0, 0, science, start, stop)


@kernel
def convolve_tile_4d(out, data, kernel_4d, first_row, last_row, first_column, last_column, first, last, left, right):
    """Convolve with a kernel for every output pixel (k, k, ny, nx); otherwise as `convolve_tile`."""
    middle = kernel_4d.shape[0] // 2
    start, stop = max(left, first_column), min(right, last_column)
    science = (first_row, last_row, first_column, last_column)
    for i in range(data.shape[0]):
        for g in range(data.shape[1]):
            for r in range(first, last):
                copy_row(out[i, g, r, left:right], data[i, g, r, left:right])
                if r < first_row or r >= last_row or start >= stop:
                    continue
                fill_row(out[i, g, r, start:stop], np.float32(0))
                for j in range(kernel_4d.shape[0]):
                    for k in range(kernel_4d.shape[1]):
                        if j != middle or k != middle:
                            weights = kernel_4d[j, k]
                            _add_neighbour_4d(out, data, weights, i, g, r, j - middle, k - middle, science, start, stop)
                weights = kernel_4d[middle, middle]
                _add_neighbour_4d(out, data, weights, i, g, r, 0, 0, science, start, stop)


def correct_ipc_in_place(data, ipc_kernel, limits=None, threads=None):
    """`correct_ipc` without the copy: ``data`` is native, C-ordered, float32 and is changed."""
    require_in_place(data, "data", np.float32, 4)
    frame = data.shape[-2:]
    four_d = np.ndim(ipc_kernel) == 4
    ipc_kernel = as_canonical(ipc_kernel, "ipc_kernel", np.float32, 4 if four_d else 2)
    size = ipc_kernel.shape[0]
    if size % 2 == 0 or ipc_kernel.shape[1] != size:
        raise ShapeError(f"ipc_kernel has shape {ipc_kernel.shape}; expected a square of odd size")
    if four_d:
        check_shape(ipc_kernel, "ipc_kernel", (size, size, *frame))
    limits = (0, frame[0], 0, frame[1]) if limits is None else tuple(int(limit) for limit in limits)
    rows, columns = limits[:2], limits[2:]
    if not (0 <= rows[0] <= rows[1] <= frame[0] and 0 <= columns[0] <= columns[1] <= frame[1]):
        raise ShapeError(f"science limits {limits} do not lie in a frame of {frame}")
    for i in range(data.shape[0]):
        integration = data[i : i + 1]
        tile = convolve_tile_4d if four_d else convolve_tile
        run_tile(tile, integration, integration.copy(), ipc_kernel, *limits, threads=threads)


def correct_ipc(data, ipc_kernel, limits=None, threads=None):
    """Convolve every group with the kernel that undoes inter-pixel capacitance.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN].
    ipc_kernel : (k, k) or (k, k, ny, nx) float32
        Deconvolution kernel, k odd; or one for every pixel of the frame.
    limits : ScienceLimits, optional
        Rows and columns that are not reference pixels, from `science_limits`; all if absent.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (nint, ngroup, ny, nx) float32
        Corrected counts [DN]; reference pixels unchanged.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or the kernel is not an odd square.

    Notes
    -----
    Source: reference behaviour (order of the float32 sum). NaN data spread as far as the kernel reaches. Scratch:
    one integration.
    """
    data = writable_copy(data, "data", np.float32, 4)
    correct_ipc_in_place(data, ipc_kernel, limits, threads)
    return data

"""Subtract the superbias: the image that the detector shows right after reset.

Model: ``D -= B`` for every group of every integration, reference pixels and saturated samples included, in float32;
``P |= dq(B)``. A NaN in the bias counts as 0: the sample stays as it is (reference behaviour). The ZEROFRAME is
treated alike, except that exact zeros ("unusable" there) stay zero.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import kernel
from upramp.kernels._layout import as_canonical, check_shape, writable_copy
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.dq_init import merge_dq_tile

__all__ = [
    "BiasSubtracted",
    "subtract_bias_tile",
    "subtract_bias_zeroframe_tile",
    "subtract_superbias",
    "subtract_superbias_in_place",
]


class BiasSubtracted(NamedTuple):
    """Data (nint, ngroup, ny, nx) [DN], pixel flags (ny, nx) and ZEROFRAME (nint, ny, nx) [DN] or None."""

    data: np.ndarray
    pixeldq: np.ndarray
    zeroframe: np.ndarray | None


@kernel
def subtract_bias_tile(data, pdq, bias, bias_dq, first, last, left, right):
    """Subtract the bias from every sample of the region and add its flags to the pixel flags."""
    merge_dq_tile(pdq, bias_dq, first, last, left, right)
    for i in range(data.shape[0]):
        for g in range(data.shape[1]):
            for r in range(first, last):
                row = data[i, g, r, left:right]
                b = bias[r, left:right]
                for x in range(row.size):
                    row[x] -= np.float32(0) if np.isnan(b[x]) else b[x]


@kernel
def subtract_bias_zeroframe_tile(zeroframe, bias, first, last, left, right):
    """Subtract the bias from the ZEROFRAME (nint, ny, nx); exact zeros stay."""
    zero = np.float32(0)
    for i in range(zeroframe.shape[0]):
        for r in range(first, last):
            row = zeroframe[i, r, left:right]
            b = bias[r, left:right]
            for x in range(row.size):
                value = row[x] - (zero if np.isnan(b[x]) else b[x])
                row[x] = zero if row[x] == zero else value


def subtract_superbias_in_place(data, pdq, bias, bias_dq, zeroframe=None, threads=None):
    """`subtract_superbias` without the copies: data, pixel flags and ZEROFRAME are changed."""
    require_in_place(data, "data", np.float32, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    bias = as_canonical(bias, "bias", np.float32, 2)
    bias_dq = as_canonical(bias_dq, "bias_dq", np.uint32, 2)
    check_shape(pdq, "pixeldq", data.shape[-2:])
    check_shape(bias, "bias", pdq.shape)
    check_shape(bias_dq, "bias_dq", pdq.shape)
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3)
        check_shape(zeroframe, "zeroframe", (data.shape[0], *pdq.shape))
    run_tile(subtract_bias_tile, data, pdq, bias, bias_dq, threads=threads)
    if zeroframe is not None:
        run_tile(subtract_bias_zeroframe_tile, zeroframe, bias, threads=threads)


def subtract_superbias(data, pixeldq, bias, bias_dq, zeroframe=None, threads=None):
    """Subtract the superbias image from every group.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN].
    pixeldq : (ny, nx) uint32
        Pixel flags.
    bias : (ny, nx) float32
        Superbias [DN]; NaN counts as 0.
    bias_dq : (ny, nx) uint32
        Its flags.
    zeroframe : (nint, ny, nx) float32, optional
        First reads of the integrations [DN], 0 where unusable.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    BiasSubtracted
        New data, pixel flags and ZEROFRAME (None if there was none).

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree.

    Notes
    -----
    Source: reference behaviour (float32 difference). NaN data stay NaN.
    """
    data = writable_copy(data, "data", np.float32, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    if zeroframe is not None:
        zeroframe = writable_copy(zeroframe, "zeroframe", np.float32, 3)
    subtract_superbias_in_place(data, pixeldq, bias, bias_dq, zeroframe, threads)
    return BiasSubtracted(data, pixeldq, zeroframe)

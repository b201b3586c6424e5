"""The likelihood fit in the fused schedule; see `fused`."""

import numpy as np
from numba import types

from upramp.kernels._bits import array_at
from upramp.kernels._calls import call
from upramp.kernels._jit import helper

__all__ = ["LIKELIHOOD_TYPES", "fit_likelihood_of_tile"]

_PLANES = tuple([types.Array(types.float32, 2, "C")] * 5)
_CUBES = tuple([types.Array(types.float32, 3, "C")] * 5)

LIKELIHOOD_TYPES = (
    *_PLANES,
    types.Array(types.uint32, 2, "C"),
    *_CUBES,
    types.Array(types.uint32, 3, "C"),
    types.Array(types.uint8, 4, "C"),
    types.Array(types.float32, 4, "C"),
    types.Array(types.uint32, 2, "C"),
    *_PLANES[:2],
    _CUBES[0],
    _PLANES[0],
    types.Array(types.float64, 2, "C"),
    types.int64,
    types.float64,
    types.float64,
    *([types.int64] * 4),
)
"""Argument types of `upramp.kernels.likelihood.fit_likelihood_tile`."""


@helper
def fit_likelihood_of_tile(ops, tile, area, op, planes, cubes, dq, dq_i, gain, noise, dark):
    """Fit the ramps of the area: slope, error and variances into ``planes`` and ``cubes``; chi-squared is not kept."""
    call(
        ops,
        "fit_likelihood",
        (
            planes[0, 0],
            planes[1, 0],
            planes[2, 0],
            planes[3, 0],
            np.empty(tile.pdq.shape, np.float32),
            dq[0],
            cubes[0],
            cubes[1],
            cubes[2],
            cubes[3],
            np.empty(dq_i.shape, np.float32),
            dq_i,
            tile.gdq,
            tile.data,
            tile.pdq,
            gain,
            noise,
            np.empty((0, 0, 0), np.float32),
            dark,
            array_at(op.readout.address, (op.readout.n0, op.readout.n1), np.float64),
            1,
            op.limit_one,
            op.limit_two,
            area.first,
            area.last,
            area.left,
            area.right,
        ),
    )

"""The part of the fused schedule between saturation and jumps: what looks at single pixels only.

References are decoded for the tile at hand. Darks, which have a plane for every group or more, are subtracted as they
lie, and a ramp for each of the first integrations (MIRI) once from all integrations in a row that take the same one.
"""

import numpy as np

from upramp.kernels._bits import array_at, records_of
from upramp.kernels._calls import call
from upramp.kernels._jit import helper, kernel

__all__ = ["flag_plane", "float_plane", "leave_out_groups", "subtract_signals"]


@helper
def vectors_of(array):
    """Array of float64 vectors of a correction."""
    return array_at(array.address, (array.n0, array.n1, array.n2), np.float64)


@helper
def integers_of(array):
    """Array of integers of a correction."""
    return array_at(array.address, (array.n0,), np.int64)


@helper
def float_plane(ops, tile, source, planes):
    """Native planes of a reference for the tile: (planes, h, w) float32."""
    h, w = tile.pdq.shape
    out = np.empty((planes, h, w), np.float32)
    call(ops, "decode_float", (out, source, 0, tile.row, tile.column))
    return out


@helper
def flag_plane(ops, tile, source):
    """Native flags of a reference for the tile: (h, w) uint32; zeros where it has none."""
    out = np.zeros(tile.pdq.shape, np.uint32)
    if source.planes > 0:
        call(ops, "decode_flags", (out, source, tile.row, tile.column))
    return out


@helper
def _same_ramp(integrations, i, ni):
    """The ramp of a reference for integration i, and the integration after the last one in a row that takes it too."""
    if integrations.size == 0:
        return 0, ni
    j = i + 1
    while j < ni and integrations[j] == integrations[i]:
        j += 1
    return integrations[i], j


@kernel
def _subtract_reset(ops, tile, a, op):
    """The reset anomaly of each integration."""
    ni = tile.data.shape[0]
    flags = flag_plane(ops, tile, op.flags)
    integrations = integers_of(op.integrations)
    i = 0
    while i < ni:
        ramp, j = _same_ramp(integrations, i, ni)
        _subtract_frames(ops, tile, a, (i, j), op.frames, ramp * op.per_integration, op.groups, flags)
        i = j


@helper
def _subtract_frames(ops, tile, a, integrations, source, plane, count, flags):
    """Frames of a reference as they lie, from some integrations (the first and the one after the last)."""
    i, j = integrations
    row, column = tile.row, tile.column
    data = tile.data[i:j]
    call(
        ops,
        "subtract_dark",
        (data, tile.pdq, source, plane, count, flags, row, column, a.first, a.last, a.left, a.right),
    )


@kernel
def _subtract_dark(ops, tile, a, op):
    """The dark of each integration."""
    ni, ng = tile.data.shape[:2]
    flags = flag_plane(ops, tile, op.flags)
    count = op.per_integration if op.per_integration > 0 else op.frames.planes
    integrations = integers_of(op.integrations)
    every = np.empty((0 if op.direct else count, *tile.pdq.shape), np.float32)
    averages = np.empty((0 if op.direct else ng, *tile.pdq.shape), np.float32)
    averaged = records_of(averages, tile.row, tile.column)  # `averages` is used up to the end of the loop
    i = 0
    while i < ni:
        ramp, j = _same_ramp(integrations, i, ni)
        if op.direct:
            _subtract_frames(ops, tile, a, (i, j), op.frames, ramp * count, ng, flags)
        else:
            call(ops, "decode_float", (every, op.frames, ramp * count, tile.row, tile.column))
            call(
                ops,
                "average_frames",
                (averages, every, integers_of(op.starts), integers_of(op.counts), a.first, a.last, a.left, a.right),
            )
            _subtract_frames(ops, tile, a, (i, j), averaged[0], 0, ng, flags)
        i = j


@helper
def _linearize_reads(ops, tile, a, op, coefficients, flags):
    """Linearity read by read; the coefficients are prepared."""
    inverse = float_plane(ops, tile, op.inverse, op.inverse.planes)
    call(ops, "prepare_coefficients", (inverse, flags, tile.pdq, a.first, a.last, a.left, a.right))
    call(
        ops,
        "linearize_reads",
        (tile.data, tile.gdq, coefficients, inverse, op.nframes, a.first, a.last, a.left, a.right),
    )


@helper
def subtract_signals(ops, tile, a, chain):
    """Everything that is subtracted or corrected sample by sample."""
    superbias, refpix, linearity = chain.superbias, chain.refpix, chain.linearity
    if chain.reset.active:
        _subtract_reset(ops, tile, a, chain.reset)
    if superbias.active:
        bias = float_plane(ops, tile, superbias.bias, 1)[0]
        flags = flag_plane(ops, tile, superbias.flags)
        call(ops, "subtract_bias", (tile.data, tile.pdq, bias, flags, a.first, a.last, a.left, a.right))
    if refpix.active:
        call(
            ops,
            "subtract_corrections",
            (
                tile.data,
                vectors_of(refpix.by_column),
                vectors_of(refpix.by_row),
                refpix.columns_first,
                tile.row,
                tile.column,
                a.first,
                a.last,
                a.left,
                a.right,
            ),
        )
    if refpix.frames.planes > 0:
        ni, ng, h, w = tile.data.shape
        samples = tile.data.reshape((ni * ng, h, w))
        call(ops, "decode_float", (samples, refpix.frames, 0, tile.row, tile.column))
        call(ops, "merge_dq", (tile.pdq, flag_plane(ops, tile, refpix.flags), 0, h, 0, w))
    if linearity.active:
        coefficients = float_plane(ops, tile, linearity.coefficients, linearity.coefficients.planes)
        flags = flag_plane(ops, tile, linearity.flags)
        call(ops, "prepare_coefficients", (coefficients, flags, tile.pdq, a.first, a.last, a.left, a.right))
        if linearity.inverse.planes > 0:
            _linearize_reads(ops, tile, a, linearity, coefficients, flags)
        else:
            call(ops, "linearize", (tile.data, tile.gdq, coefficients, 0, a.first, a.last, a.left, a.right))
    if chain.dark.active:
        _subtract_dark(ops, tile, a, chain.dark)
    if chain.side_pixels.active:
        drifts = vectors_of(chain.side_pixels.drifts)
        call(
            ops,
            "subtract_drifts",
            (tile.data, drifts, tile.row, tile.column, a.first, a.last, a.left, a.right),
        )


@helper
def leave_out_groups(ops, tile, a, chain, tallies):
    """Groups that resets and last reads disturb; ``tallies`` may have no rows, if nobody wants them."""
    if chain.first_group.active:
        keep_bright = 1 if chain.first_group.keep_bright else 0
        call(ops, "flag_first_group", (tile.gdq, tile.pdq, keep_bright, a.first, a.last, a.left, a.right))
    if chain.last_group.active:
        call(ops, "flag_last_group", (tile.gdq, a.first, a.last, a.left, a.right))
    if chain.rscd.active:
        counted = np.zeros((tile.pdq.shape[0], tallies.shape[1]), np.int64)
        if tallies.shape[0] > 0:
            counted = tallies[tile.row :]
        skips, n_first = integers_of(chain.rscd.skips), chain.rscd.n_first
        call(ops, "flag_rscd", (counted, tile.gdq, tile.pdq, skips, n_first, a.first, a.last, a.left, a.right))

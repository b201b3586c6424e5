"""The fused schedule: every row of the exposure goes once from the raw file to the slopes, tile by tile.

A tile is a few rows by some hundred columns of all groups of all integrations, small enough to stay in the
processor's cache, with a margin of the neighbours that the corrections look at. Each correction is the same compiled
tile operation that the stepwise schedule runs over whole frames, so both give the same numbers, bit by bit.

The margin: two-point jumps and charge migration flag the pixels next to them (1 each); partial saturation is grown, and
grows from saturation that was grown itself (2 * n_pix_grow); inter-pixel capacitance reads k // 2 pixels around. At the
edges of the detector the tile just ends, which is what the operations take "outside" to mean.

Large events are looked for in whole frames of flags. Then there are two passes: the first leaves the group flags, the
second corrects the samples again, takes the flags that have become of them (`KnownFlags`), and fits.

Reference-pixel corrections are vectors, measured beforehand on the reference pixels alone
(`upramp.kernels.chain`), so that they fuse like everything else.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from upramp.kernels import corrections as c
from upramp.kernels._bits import (
    array_at,
)
from upramp.kernels._calls import call, call_counting
from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._fused_likelihood import fit_likelihood_of_tile
from upramp.kernels._jit import helper, kernel
from upramp.kernels._operations import OPERATIONS
from upramp.kernels._optional_flags import flag_migration_of_tile, flag_persistence_of_tile
from upramp.kernels._rows import fill_row
from upramp.kernels._signals import flag_plane, float_plane, leave_out_groups, subtract_signals
from upramp.kernels._work import Work
from upramp.kernels.flag_counts import count_in_row

__all__ = [
    "JUMP_MISSING",
    "PAIR_FOUND",
    "SATURATED_MISSING",
    "SEEN",
    "UNUSED_MISSING",
    "calibrate_rows",
    "driver_types",
]

UNUSED_MISSING = 1  # some pixel of the group lacks DO_NOT_USE
SATURATED_MISSING = 2  # ... lacks SATURATED
JUMP_MISSING = 4  # ... lacks both JUMP_DET and DO_NOT_USE
PAIR_FOUND = 8  # some pixel has no flag in this group and in the next one (in the last group: the one before)
SEEN = 15


class Tile(NamedTuple):
    """One tile in compiled code: its ramps and where it is; native scratch arrays."""

    data: np.ndarray  # (ni, ng, h, w) float32 [DN]
    gdq: np.ndarray  # (ni, ng, h, w) uint8
    marks: np.ndarray  # (ni, ng, h, w) uint8, scratch
    pdq: np.ndarray  # (h, w) uint32
    row: int  # place of its corner in the exposure
    column: int


class Area(NamedTuple):
    """Rows first ... last - 1 and columns left ... right - 1 of a tile."""

    first: int
    last: int
    left: int
    right: int


@helper
def _grown(area, by, tile):
    """The area and ``by`` pixels around it, as far as the tile goes."""
    h, w = tile.pdq.shape
    return Area(max(area.first - by, 0), min(area.last + by, h), max(area.left - by, 0), min(area.right + by, w))


@helper
def _threshold_plane(ops, tile, op):
    """Saturation threshold [DN] for the tile, infinite where it cannot be checked, and its flags."""
    h, w = tile.pdq.shape
    threshold = float_plane(ops, tile, op.threshold, 1)[0]
    flags = flag_plane(ops, tile, op.flags)
    call(ops, "prepare_threshold", (threshold, flags, 0, h, 0, w))
    return threshold, flags


@helper
def _flag_saturation(ops, tile, area, op):
    """Saturation of the area; the tile holds 2 * grow pixels around it."""
    h, w = tile.pdq.shape
    ni = tile.data.shape[0]
    threshold, flags = _threshold_plane(ops, tile, op)
    saturated_from = np.empty((ni, h, w), np.int32)
    contents = np.zeros((ni, h), np.uint8)
    call(ops, "find_first_saturated", (saturated_from, contents, tile.data, threshold, 0, h, 0, w))
    if op.irs2_detector != 0 and op.use_read_pattern:
        bias = np.zeros((1, h, w), np.float32)
        if op.has_bias:
            call(ops, "decode_float", (bias, op.bias, 0, tile.row, tile.column))
        call(ops, "advance_first_saturated", (saturated_from, tile.data, threshold, bias[0], op.nframes, 0, h, 0, w))
    a = _grown(area, op.grow, tile)
    found = call_counting(
        ops,
        "flag_saturated",
        (tile.gdq, contents, tile.data, saturated_from, op.grow, a.first, a.last, a.left, a.right),
    )
    if found > 0 and op.use_read_pattern and op.irs2_detector == 0:
        bias = np.zeros((1, h, w), np.float32)
        if op.has_bias:
            call(ops, "decode_float", (bias, op.bias, 0, tile.row, tile.column))
        marked = np.zeros((ni, tile.data.shape[1], h), np.uint8)
        n_marks = call_counting(
            ops,
            "mark_partial",
            (
                tile.marks,
                marked,
                contents,
                tile.gdq,
                tile.data,
                threshold,
                flags,
                bias[0],
                op.nframes,
                a.first,
                a.last,
                a.left,
                a.right,
            ),
        )
        if n_marks > 0:
            b = area
            call(ops, "apply_partial", (tile.gdq, marked, tile.marks, op.grow, b.first, b.last, b.left, b.right))
    call(ops, "merge_dq", (tile.pdq, flags, 0, h, 0, w))


@helper
def _deconvolve(ops, tile, area, op):
    """Inter-pixel capacitance; the tile holds k // 2 pixels around the area."""
    out = np.empty_like(tile.data)
    call(
        ops,
        "convolve",
        (
            out,
            tile.data,
            array_at(op.kernel.address, (op.kernel.n0, op.kernel.n1), np.float32),
            op.first_science_row - tile.row,
            op.last_science_row - tile.row,
            op.first_science_column - tile.column,
            op.last_science_column - tile.column,
            area.first,
            area.last,
            area.left,
            area.right,
        ),
    )
    return out


@helper
def _flag_jumps(ops, tile, area, op, counts):
    """Jumps of the area; they are looked for one pixel around it too, for its neighbours."""
    gain = float_plane(ops, tile, op.gain, 1)[0]
    noise = float_plane(ops, tile, op.read_noise, 1)[0]
    a = _grown(area, 1, tile)
    unused = array_at(op.unused.address, (op.unused.n0, op.unused.n1), np.uint8)
    marked = np.zeros(tile.gdq.shape[:3], np.uint8)
    call(ops, "flag_bad_gain", (tile.pdq, gain, area.first, area.last, area.left, area.right))
    call(
        ops,
        "detect_jumps",
        (
            tile.gdq,
            tile.marks if op.flag_neighbors else np.empty((0, 0, 0, 0), np.uint8),
            marked,
            tile.data,
            gain,
            noise,
            unused,
            op.mode,
            op.threshold,
            op.four_group_threshold,
            op.three_group_threshold,
            op.nframes,
            op.min_neighbor_sigma,
            op.max_neighbor_sigma,
            a.first,
            a.last,
            a.left,
            a.right,
        ),
    )
    call(ops, "count_jumps", (counts[0, tile.row :], tile.gdq, area.first, area.last, area.left, area.right))
    if op.flag_neighbors:
        call(ops, "spread_cores", (tile.gdq, marked, tile.marks, area.first, area.last, area.left, area.right))
    if op.after_groups_1 > 0 or op.after_groups_2 > 0:
        call(
            ops,
            "flag_after_jumps",
            (
                tile.gdq,
                tile.data,
                gain,
                unused,
                op.after_electrons_1,
                op.after_electrons_2,
                op.after_groups_1,
                op.after_groups_2,
                area.first,
                area.last,
                area.left,
                area.right,
            ),
        )
    call(ops, "clear_bad_jumps", (tile.gdq, area.first, area.last, area.left, area.right))


@helper
def _recall_flags(ops, tile, op):
    """Take the group flags that an earlier pass has left, and add the pixel flags of saturation and jumps."""
    h, w = tile.pdq.shape
    call(ops, "decode_bytes", (tile.gdq, op.gdq, tile.row, tile.column))
    if op.saturation.active:
        call(ops, "merge_dq", (tile.pdq, _threshold_plane(ops, tile, op.saturation)[1], 0, h, 0, w))
    call(ops, "flag_bad_gain", (tile.pdq, float_plane(ops, tile, op.gain, 1)[0], 0, h, 0, w))


@helper
def _note_flags(seen, unusable, tile, area):
    """Note for every group which of the flags of `SEEN` some pixel of the area lacks.

    Rules that ask whether a whole frame is flagged can only be judged at the end; `calibrate` does. ``unusable`` counts
    the samples with DO_NOT_USE of each row and group, if it has rows.
    """
    for r in range(area.first, area.last if unusable.shape[0] > 0 else area.first):
        counts = unusable[tile.row + r]
        for i in range(seen.shape[0]):
            for g in range(seen.shape[1]):
                q = tile.gdq[i, g, r, area.left : area.right]
                counts[i * seen.shape[1] + g] += count_in_row(q, DO_NOT_USE)
    for i in range(seen.shape[0]):
        for g in range(seen.shape[1]):
            for r in range(area.first, area.last):
                if seen[i, g] == SEEN:
                    break
                flags = tile.gdq[i, g, r, area.left : area.right]
                beside = tile.gdq[i, g + 1 if g + 1 < seen.shape[1] else max(g - 1, 0), r, area.left : area.right]
                for x in range(flags.size):
                    q = flags[x]
                    lacking = UNUSED_MISSING if (q & DO_NOT_USE) == 0 else 0
                    lacking |= SATURATED_MISSING if (q & SATURATED) == 0 else 0
                    lacking |= JUMP_MISSING if (q & (DO_NOT_USE | JUMP_DET)) == 0 else 0
                    lacking |= PAIR_FOUND if (q | beside[x]) == 0 else 0
                    seen[i, g] |= lacking


@helper
def _store_planes(ops, target, floats, flags, area, tile, factor):
    """Apply the gain factor to slope, error and the two variances, and encode them and the flags."""
    h, w = tile.pdq.shape
    if factor != 1.0:
        for k in range(4):
            call(ops, "scale_rates", (floats[k], factor if k < 2 else factor * factor, 0, h, 0, w))
    a = area
    row, column = tile.row, tile.column
    call(ops, "encode_float", (target.slope, floats[0], 0, a.first, a.last, a.left, a.right, row, column))
    call(ops, "encode_float", (target.err, floats[1], 0, a.first, a.last, a.left, a.right, row, column))
    call(ops, "encode_float", (target.var_poisson, floats[2], 0, a.first, a.last, a.left, a.right, row, column))
    call(ops, "encode_float", (target.var_rnoise, floats[3], 0, a.first, a.last, a.left, a.right, row, column))
    call(ops, "encode_flags", (target.dq, flags, 0, a.first, a.last, a.left, a.right, row, column))


@helper
def _fit_and_store(ops, tile, area, op, rate, integrations):
    """Slopes of the area, into the products."""
    ni = tile.data.shape[0]
    h, w = tile.pdq.shape
    gain = float_plane(ops, tile, op.gain, 1)[0]
    noise = float_plane(ops, tile, op.read_noise, 1)[0]
    dark = np.empty((0, 0), np.float32)
    if op.average_dark.planes > 0:
        dark = float_plane(ops, tile, op.average_dark, 1)[0]
    planes = np.empty((4, 1, h, w), np.float32)
    cubes = np.empty((4, ni, h, w), np.float32)
    dq = np.empty((1, h, w), np.uint32)
    dq_i = np.empty((ni, h, w), np.uint32)
    if op.likelihood:
        fit_likelihood_of_tile(ops, tile, area, op, planes, cubes, dq, dq_i, gain, noise, dark)
    else:
        call(
            ops,
            "fit_ramps",
            (
                planes[0, 0],
                planes[1, 0],
                planes[2, 0],
                planes[3, 0],
                dq[0],
                cubes[0],
                cubes[1],
                cubes[2],
                cubes[3],
                dq_i,
                tile.gdq,
                tile.data,
                tile.pdq,
                gain,
                noise,
                np.empty((0, 0, 0), np.float32),
                dark,
                array_at(op.weights.address, (op.weights.n0,), np.float64),
                array_at(op.unused.address, (op.unused.n0, op.unused.n1), np.uint8),
                op.start,
                op.stop,
                op.suppress,
                op.noise_scale,
                op.group_time,
                op.frame_time,
                op.first_time,
                area.first,
                area.last,
                area.left,
                area.right,
            ),
        )
    _store_planes(ops, rate, planes, dq, area, tile, op.gain_factor)
    _store_planes(ops, integrations, cubes, dq_i, area, tile, op.gain_factor)


@helper
def _store_ramp(ops, target, tile, area):
    """The calibrated ramp of the area, or its group flags alone, into its product."""
    ni, ng, h, w = tile.data.shape
    a, row, column = area, tile.row, tile.column
    call(ops, "encode_bytes", (target.gdq, tile.gdq, a.first, a.last, a.left, a.right, row, column))
    if target.data.planes > 0:
        data = tile.data.reshape((ni * ng, h, w))
        call(ops, "encode_float", (target.data, data, 0, a.first, a.last, a.left, a.right, row, column))
        pdq = tile.pdq.reshape((1, h, w))
        call(ops, "encode_flags", (target.pdq, pdq, 0, a.first, a.last, a.left, a.right, row, column))


@helper
def _calibrate_tile(ops, tile, area, chain, outputs, seen, counts, tallies, unusable):
    """All corrections of one tile; ``area`` is what it is to deliver."""
    h, w = tile.pdq.shape
    searched = _grown(area, 1, tile) if chain.jump.active else area
    a = _grown(searched, 1, tile) if chain.charge_migration.active else searched
    if chain.mask.active:
        call(ops, "init_dq", (tile.gdq, tile.pdq, flag_plane(ops, tile, chain.mask.mask), 0, h, 0, w))
    if chain.saturation.active:
        _flag_saturation(ops, tile, a, chain.saturation)
    if chain.known.active:
        _recall_flags(ops, tile, chain.known)
    data = tile.data
    if chain.ipc.active:
        data = _deconvolve(ops, tile, a, chain.ipc)
    tile = Tile(data, tile.gdq, tile.marks, tile.pdq, tile.row, tile.column)
    leave_out_groups(ops, tile, a, chain, tallies)
    subtract_signals(ops, tile, a, chain)
    if chain.charge_migration.active:
        flag_migration_of_tile(ops, tile, searched, a, chain.charge_migration)
    if chain.jump.active:
        _flag_jumps(ops, tile, area, chain.jump, counts)
    if chain.persistence.active:
        flag_persistence_of_tile(ops, tile, area, chain.persistence)
    _note_flags(seen, unusable, tile, area)
    if outputs.ramp.gdq.planes > 0:
        _store_ramp(ops, outputs.ramp, tile, area)
    if chain.fit.active:
        saturated, jumps = counts[1, tile.row :], counts[2, tile.row :]
        call(ops, "count_flags", (saturated, jumps, tile.gdq, area.first, area.last, area.left, area.right))
        _fit_and_store(ops, tile, area, chain.fit, outputs.rate, outputs.integrations)


_OPERATIONS, _WORK = OPERATIONS.dtype, c.record_dtype(Work)


@kernel
def calibrate_rows(first, last, operations, record, seen, counts, tallies, unusable, halo, width):
    """The rows first ... last - 1 of the exposure, in tiles of ``width`` columns.

    ``operations`` and ``record`` are the addresses of records of `OPERATIONS` and `Work`: numba describes the many
    fields of a record anew for every call, while no other thread can start one (some 3 % of a profile of the chain).
    """
    ops = array_at(operations, (1,), _OPERATIONS)[0]
    work = array_at(record, (1,), _WORK)[0]
    ni, ng = seen.shape
    raw, chain, outputs = work.raw, work.chain, work.outputs
    ny, nx = raw.ny, raw.nx
    top = max(first - halo, 0)
    h = min(last + halo, ny) - top
    samples = ni * ng * h * min(width + 2 * halo, nx)
    ramp = np.empty(samples, np.float32)
    flags = np.empty(samples, np.uint8)
    marks = np.empty(samples, np.uint8)
    for left in range(0, nx, width):
        right = min(left + width, nx)
        west = max(left - halo, 0)
        w = min(right + halo, nx) - west
        shape = (ni, ng, h, w)
        size = ni * ng * h * w
        data = ramp[:size].reshape(shape)
        gdq = flags[:size].reshape(shape)
        fill_row(flags[:size], np.uint8(0))
        call(ops, "decode_raw", (data, raw.samples, raw.ngroups, raw.scale, top, west))
        tile = Tile(data, gdq, marks[:size].reshape(shape), np.zeros((h, w), np.uint32), top, west)
        area = Area(first - top, last - top, left - west, right - west)
        _calibrate_tile(ops, tile, area, chain, outputs, seen, counts, tallies, unusable)


def driver_types():
    """Argument types of `calibrate_rows`."""
    number, seen, counts = types.int64, types.Array(types.uint8, 2, "C"), types.Array(types.int64, 2, "C")
    return (number, number, number, number, seen, counts, counts, counts, number, number)

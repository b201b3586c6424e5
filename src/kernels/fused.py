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
from numba import from_dtype, types

from upramp.kernels import corrections as c
from upramp.kernels._bits import (
    PLANE,
    Bits,
    array_at,
    decode_bytes_tile,
    decode_flags_tile,
    decode_float_tile,
    decode_raw_tile,
    encode_bytes_tile,
    encode_flags_tile,
    encode_float_tile,
)
from upramp.kernels._calls import Table, call, call_counting
from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._fused_likelihood import LIKELIHOOD_TYPES, fit_likelihood_of_tile
from upramp.kernels._irs2_saturation import advance_first_saturated_tile
from upramp.kernels._jit import helper, kernel
from upramp.kernels._optional_flags import flag_migration_of_tile, flag_persistence_of_tile
from upramp.kernels._rows import fill_row
from upramp.kernels._signals import flag_plane, float_plane, leave_out_groups, subtract_signals
from upramp.kernels.charge_migration import find_migration_tile, flag_migration_tile
from upramp.kernels.dark import average_frames_tile, subtract_dark_tile
from upramp.kernels.dq_init import init_dq_tile, merge_dq_tile
from upramp.kernels.edge_groups import flag_first_group_tile, flag_last_group_tile
from upramp.kernels.flag_counts import count_flags_tile
from upramp.kernels.gain_scale import scale_rates_tile
from upramp.kernels.ipc import convolve_tile
from upramp.kernels.jump import (
    clear_bad_jumps_tile,
    count_jumps_tile,
    detect_jumps_tile,
    flag_after_jumps_tile,
    flag_bad_gain_tile,
    spread_cores_tile,
)
from upramp.kernels.likelihood import fit_likelihood_tile
from upramp.kernels.linearity import linearize_tile, prepare_coefficients_tile
from upramp.kernels.persistence import flag_persistence_tile
from upramp.kernels.ramp_fit import fit_ramps_tile
from upramp.kernels.read_level_linearity import linearize_reads_tile
from upramp.kernels.refpix import subtract_corrections_tile
from upramp.kernels.rscd import flag_rscd_tile
from upramp.kernels.saturation import (
    apply_partial_tile,
    find_first_saturated_tile,
    flag_saturated_tile,
    mark_partial_tile,
    prepare_threshold_tile,
)
from upramp.kernels.side_pixels import subtract_drifts_tile
from upramp.kernels.superbias import subtract_bias_tile

UNUSED_MISSING = 1  # some pixel of the group lacks DO_NOT_USE
SATURATED_MISSING = 2  # ... lacks SATURATED
JUMP_MISSING = 4  # ... lacks both JUMP_DET and DO_NOT_USE
PAIR_FOUND = 8  # some pixel has no flag in this group and in the next one (in the last group: the one before)
SEEN = 15


class RawSamples(NamedTuple):
    """The raw exposure: samples (ni * ng planes), uint16 as they lie, times ``scale``."""

    samples: Bits
    ny: int
    nx: int
    scale: float


class JumpRules(NamedTuple):
    """`JumpDetection` as compiled code takes it; thresholds in sigma, levels in electrons, times in groups."""

    active: bool = False
    gain: Bits = c.NO_PLANE
    read_noise: Bits = c.NO_PLANE
    mode: int = 0
    threshold: float = 0.0
    four_group_threshold: float = 0.0
    three_group_threshold: float = 0.0
    nframes: int = 1
    flag_neighbors: bool = True
    min_neighbor_sigma: float = 0.0
    max_neighbor_sigma: float = 0.0
    after_electrons_1: float = 0.0
    after_electrons_2: float = 0.0
    after_groups_1: int = 0
    after_groups_2: int = 0
    unused: np.ndarray = np.zeros((0, 0), np.uint8)  # (ni, ng): groups that no pixel of the frame can use


class FitRules(NamedTuple):
    """`RampFitting` as compiled code takes it, and the factor of gain_scale."""

    active: bool = False
    gain: Bits = c.NO_PLANE
    read_noise: Bits = c.NO_PLANE
    average_dark: Bits = c.NO_PLANE
    weights: np.ndarray = np.zeros(0)
    suppress: int = 1
    noise_scale: float = 1.0
    group_time: float = 1.0
    frame_time: float = 1.0
    first_time: float = 1.0
    gain_factor: float = 1.0
    start: int = 0  # groups from here
    stop: int = 0  # to here (exclusive) are fitted
    likelihood: bool = False
    readout: np.ndarray = np.zeros((0, 0))
    limit_one: float = 0.0
    limit_two: float = 0.0
    unused: np.ndarray = np.zeros((0, 0), np.uint8)  # (ni, ng): groups that most pixels of the frame cannot use


class KnownFlags(NamedTuple):
    """Flags that an earlier pass has found, in place of saturation and jumps.

    ``gdq`` replaces all group flags; the flags of the saturation reference and bad gains go to the pixel flags.
    """

    active: bool = False
    gdq: Bits = c.NO_PLANE
    saturation: c.Saturation = c.Saturation()
    gain: Bits = c.NO_PLANE


class CompiledChain(NamedTuple):
    """What `_calibrate_tile` does, in this order: that of the near infrared and that of MIRI agree in what they share.

    Only the reference pixels of MIRI, ``side_pixels``, come elsewhere than those of the others.
    """

    mask: c.StaticMask
    saturation: c.Saturation
    ipc: c.InterPixelCapacitance
    first_group: c.FirstGroup
    last_group: c.LastGroup
    reset: c.ResetAnomaly
    superbias: c.SuperBias
    refpix: c.ReferencePixels
    linearity: c.Linearity
    rscd: c.SwitchCharge
    dark: c.DarkCurrent
    side_pixels: c.SidePixels
    charge_migration: c.ChargeMigration
    jump: JumpRules
    persistence: c.Persistence
    fit: FitRules
    known: KnownFlags = KnownFlags()


class RampPlanes(NamedTuple):
    """Where a calibrated ramp goes, as it lies: data float32, group flags uint8, pixel flags uint32.

    Group flags may be wanted alone.
    """

    data: Bits
    gdq: Bits
    pdq: Bits


class RateTargets(NamedTuple):
    """Where slopes go, as it lies: float32, flags uint32."""

    slope: Bits
    err: Bits
    var_poisson: Bits
    var_rnoise: Bits
    dq: Bits


class Outputs(NamedTuple):
    """Where results go; empty planes for what is not wanted."""

    rate: RateTargets
    integrations: RateTargets
    ramp: RampPlanes


class Work(NamedTuple):
    """All that compiled code needs to know of an exposure."""

    raw: RawSamples
    chain: CompiledChain
    outputs: Outputs


_I, _N, _B = types.int64, types.float64, types.boolean
_REGION = (_I, _I, _I, _I)
_DATA = types.Array(types.float32, 4, "C")
_CUBE = types.Array(types.float32, 3, "C")
_PLANE = types.Array(types.float32, 2, "C")
_GDQ = types.Array(types.uint8, 4, "C")
_FLAGS = types.Array(types.uint32, 2, "C")
_FLAG_CUBE = types.Array(types.uint32, 3, "C")
_ROWS = types.Array(types.uint8, 2, "C")
_MARKED = types.Array(types.uint8, 3, "C")
_GROUPS = types.Array(types.int32, 3, "C")
_COUNTS = types.Array(types.int64, 1, "C")
_TALLIES = types.Array(types.int64, 2, "C")
_VECTORS = types.Array(types.float64, 3, "C")
_TIMES = types.Array(types.float64, 2, "C")


_BITS = from_dtype(PLANE)

OPERATIONS = Table(
    decode_raw=(decode_raw_tile, (_DATA, _BITS, _I, _N, _I, _I)),
    decode_float=(decode_float_tile, (_CUBE, _BITS, _I, _I, _I)),
    decode_flags=(decode_flags_tile, (_FLAGS, _BITS, _I, _I)),
    decode_bytes=(decode_bytes_tile, (_GDQ, _BITS, _I, _I)),
    encode_float=(encode_float_tile, (_BITS, _CUBE, _I, *_REGION, _I, _I)),
    encode_flags=(encode_flags_tile, (_BITS, _FLAG_CUBE, _I, *_REGION, _I, _I)),
    encode_bytes=(encode_bytes_tile, (_BITS, _GDQ, *_REGION, _I, _I)),
    merge_dq=(merge_dq_tile, (_FLAGS, _FLAGS, *_REGION)),
    init_dq=(init_dq_tile, (_GDQ, _FLAGS, _FLAGS, *_REGION)),
    prepare_threshold=(prepare_threshold_tile, (_PLANE, _FLAGS, *_REGION)),
    find_first_saturated=(find_first_saturated_tile, (_GROUPS, _ROWS, _DATA, _PLANE, *_REGION)),
    flag_saturated=(flag_saturated_tile, (_GDQ, _ROWS, _DATA, _GROUPS, _I, *_REGION)),
    advance_first_saturated=(advance_first_saturated_tile, (_GROUPS, _DATA, _PLANE, _PLANE, _I, *_REGION)),
    mark_partial=(mark_partial_tile, (_GDQ, _MARKED, _ROWS, _GDQ, _DATA, _PLANE, _FLAGS, _PLANE, _I, *_REGION)),
    apply_partial=(apply_partial_tile, (_GDQ, _MARKED, _GDQ, _I, *_REGION)),
    convolve=(convolve_tile, (_DATA, _DATA, _PLANE, _I, _I, _I, _I, *_REGION)),
    flag_first_group=(flag_first_group_tile, (_GDQ, _FLAGS, _I, *_REGION)),
    flag_last_group=(flag_last_group_tile, (_GDQ, *_REGION)),
    flag_rscd=(flag_rscd_tile, (_TALLIES, _GDQ, _FLAGS, _COUNTS, _I, *_REGION)),
    subtract_drifts=(subtract_drifts_tile, (_DATA, _VECTORS, _I, _I, *_REGION)),
    subtract_bias=(subtract_bias_tile, (_DATA, _FLAGS, _PLANE, _FLAGS, *_REGION)),
    subtract_corrections=(subtract_corrections_tile, (_DATA, _VECTORS, _VECTORS, _B, _I, _I, *_REGION)),
    prepare_coefficients=(prepare_coefficients_tile, (_CUBE, _FLAGS, _FLAGS, *_REGION)),
    linearize=(linearize_tile, (_DATA, _GDQ, _CUBE, _I, *_REGION)),
    linearize_reads=(linearize_reads_tile, (_DATA, _GDQ, _CUBE, _CUBE, _I, *_REGION)),
    average_frames=(average_frames_tile, (_CUBE, _CUBE, _COUNTS, _COUNTS, *_REGION)),
    subtract_dark=(subtract_dark_tile, (_DATA, _FLAGS, _CUBE, _FLAGS, *_REGION)),
    find_migration=(find_migration_tile, (_GROUPS, _DATA, _GDQ, _N, *_REGION)),
    flag_migration=(flag_migration_tile, (_GDQ, _GROUPS, *_REGION)),
    flag_bad_gain=(flag_bad_gain_tile, (_FLAGS, _PLANE, *_REGION)),
    detect_jumps=(
        detect_jumps_tile,
        (_GDQ, _GDQ, _MARKED, _DATA, _PLANE, _PLANE, _ROWS, _I, _N, _N, _N, _I, _N, _N, *_REGION),
    ),
    count_flags=(count_flags_tile, (_COUNTS, _COUNTS, _GDQ, *_REGION)),
    count_jumps=(count_jumps_tile, (_COUNTS, _GDQ, *_REGION)),
    spread_cores=(spread_cores_tile, (_GDQ, _MARKED, _GDQ, *_REGION)),
    flag_after_jumps=(
        flag_after_jumps_tile,
        (_GDQ, _DATA, _PLANE, _ROWS, _N, _N, _I, _I, *_REGION),
    ),
    clear_bad_jumps=(clear_bad_jumps_tile, (_GDQ, *_REGION)),
    flag_persistence=(
        flag_persistence_tile,
        (
            _GDQ,
            _DATA,
            types.Array(types.float64, 2, "C"),
            types.Array(types.float64, 2, "C"),
            _N,
            _N,
            _I,
            _I,
            _I,
            *_REGION,
        ),
    ),
    scale_rates=(scale_rates_tile, (_CUBE, _N, *_REGION)),
    fit_ramps=(
        fit_ramps_tile,
        (
            *([_PLANE] * 4),
            _FLAGS,
            *([_CUBE] * 4),
            _FLAG_CUBE,
            _GDQ,
            _DATA,
            _FLAGS,
            _PLANE,
            _PLANE,
            _CUBE,
            _PLANE,
            types.Array(types.float64, 1, "C"),
            _ROWS,
            _I,
            _I,
            _I,
            _N,
            _N,
            _N,
            _N,
            *_REGION,
        ),
    ),
    fit_likelihood=(fit_likelihood_tile, LIKELIHOOD_TYPES),
)


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
                n = np.uint32(0)
                for x in range(q.size):
                    n = np.uint32(n + (q[x] & DO_NOT_USE))
                counts[i * seen.shape[1] + g] += n
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
        call(ops, "decode_raw", (data, raw.samples, ng, raw.scale, top, west))
        tile = Tile(data, gdq, marks[:size].reshape(shape), np.zeros((h, w), np.uint32), top, west)
        area = Area(first - top, last - top, left - west, right - west)
        _calibrate_tile(ops, tile, area, chain, outputs, seen, counts, tallies, unusable)


def driver_types():
    """Argument types of `calibrate_rows`."""
    return (_I, _I, _I, _I, _ROWS, _TALLIES, _TALLIES, _TALLIES, _I, _I)


def operations_needed(work):
    """Names of the tile operations that a `Work` needs."""
    chain = work.chain
    by_reads = len(chain.linearity.inverse.bits) > 0
    wanted = {"decode_raw", "decode_float", "decode_flags", "merge_dq"}
    groups = (
        (chain.mask.active, ["init_dq"]),
        (chain.saturation.active, ["prepare_threshold", "find_first_saturated", "flag_saturated"]),
        (chain.saturation.active and chain.saturation.use_read_pattern, ["mark_partial", "apply_partial"]),
        (chain.saturation.irs2_detector != 0, ["advance_first_saturated"]),
        (chain.ipc.active, ["convolve"]),
        (chain.first_group.active, ["flag_first_group"]),
        (chain.last_group.active, ["flag_last_group"]),
        (chain.rscd.active, ["flag_rscd"]),
        (chain.reset.active, ["subtract_dark"]),
        (chain.side_pixels.active, ["subtract_drifts", "encode_float", "encode_bytes", "encode_flags"]),
        (chain.superbias.active, ["subtract_bias"]),
        (chain.refpix.active, ["subtract_corrections"]),
        (chain.linearity.active, ["prepare_coefficients", "linearize_reads" if by_reads else "linearize"]),
        (chain.dark.active, ["subtract_dark"]),
        (chain.dark.active and not chain.dark.direct, ["average_frames"]),
        (chain.charge_migration.active, ["find_migration", "flag_migration"]),
        (chain.jump.active, ["flag_bad_gain", "detect_jumps", "count_jumps", "clear_bad_jumps"]),
        (chain.jump.active and chain.jump.flag_neighbors, ["spread_cores"]),
        (chain.jump.after_groups_1 > 0 or chain.jump.after_groups_2 > 0, ["flag_after_jumps"]),
        (chain.persistence.active, ["flag_persistence"]),
        (chain.fit.active, ["count_flags"]),
        (chain.fit.active, ["fit_likelihood" if chain.fit.likelihood else "fit_ramps", "encode_float", "encode_flags"]),
        (chain.fit.gain_factor != 1.0, ["scale_rates"]),
        (chain.known.active, ["decode_bytes", "flag_bad_gain"]),
        (chain.known.saturation.active, ["prepare_threshold"]),
        (len(work.outputs.ramp.gdq.bits) > 0, ["encode_bytes"]),
        (len(work.outputs.ramp.data.bits) > 0, ["encode_float", "encode_flags"]),
    )
    for active, names in groups:
        wanted.update(names if active else ())
    return wanted

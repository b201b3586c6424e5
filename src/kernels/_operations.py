"""The tile operations that the fused schedule calls by their address, and which of them an exposure needs."""

from numba import from_dtype, types

from upramp.kernels._bits import (
    PLANE,
    decode_bytes_tile,
    decode_flags_tile,
    decode_float_tile,
    decode_raw_tile,
    encode_bytes_tile,
    encode_flags_tile,
    encode_float_tile,
)
from upramp.kernels._calls import Table
from upramp.kernels._fused_likelihood import LIKELIHOOD_TYPES
from upramp.kernels._irs2_saturation import advance_first_saturated_tile
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

__all__ = ["OPERATIONS", "operations_needed"]

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
    subtract_dark=(subtract_dark_tile, (_DATA, _FLAGS, _BITS, _I, _I, _FLAGS, _I, _I, *_REGION)),
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

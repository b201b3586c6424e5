"""The parts of the fused schedule that are off by default: charge migration and persistence of a tile."""

import numpy as np

from upramp.kernels._bits import array_at
from upramp.kernels._calls import call, call_counting
from upramp.kernels._jit import helper

__all__ = ["flag_migration_of_tile", "flag_persistence_of_tile"]


@helper
def flag_migration_of_tile(ops, tile, area, around, op):
    """Charge migration of the area; it is looked for ``around`` it too, one pixel further, for its neighbours."""
    migrates_from = np.empty((tile.data.shape[0], *tile.pdq.shape), np.int32)
    a = around
    found = call_counting(
        ops, "find_migration", (migrates_from, tile.data, tile.gdq, op.threshold, a.first, a.last, a.left, a.right)
    )
    if found > 0:
        call(ops, "flag_migration", (tile.gdq, migrates_from, area.first, area.last, area.left, area.right))


@helper
def flag_persistence_of_tile(ops, tile, area, op):
    """Persistence of the area; the times until which its pixels remember change."""
    until = array_at(op.until.address, (op.until.n0, op.until.n1), np.float64)
    times = array_at(op.times.address, (op.times.n0, op.times.n1), np.float64)
    rules = op.duration, op.threshold, op.flags
    place = tile.row, tile.column, area.first, area.last, area.left, area.right
    call(ops, "flag_persistence", (tile.gdq, tile.data, until, times, *rules, *place))

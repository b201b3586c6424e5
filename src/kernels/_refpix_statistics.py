"""Compiled statistics of reference pixels: clipped means, running medians, and the vectors made of them.

The frame here is that of the readout: amplifiers are blocks of columns, and rows are read one after the other. What
is computed, and why, is described in `upramp.kernels.refpix`.

Where the reference takes means in float32 their rounding depends on the order of the sums. It is that of `numpy.sum`:
values are added pairwise, in halves, and in eight columns within blocks of 128 (Blanchard, Higham & Mary 2020 analyse
such blocked sums; the tree is numpy's).
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE
from upramp.kernels._jit import helper, kernel
from upramp.kernels._rows import fill_row, insert

__all__ = [
    "AMPLIFIER",
    "BORDER",
    "SIZE",
    "clipped_mean_single",
    "edge_vectors_block",
    "mean_of_edges",
    "pairwise_sum",
    "pooled_means_block",
]

SIZE = 2048
BORDER = 4
AMPLIFIER = 512
BLOCK, COLUMNS, DEPTH = 128, 8, 64  # of sums in pairs


@helper
def _clipped_mean(values, n, limit):
    """Iteratively clipped mean of values[:n], which are overwritten; NaN where nothing survives."""
    while True:
        total = 0.0
        for k in range(n):
            total += values[k]
        mean = total / n
        square = 0.0
        for k in range(n):
            square += (values[k] - mean) ** 2
        reach = limit * np.sqrt(square / n)
        kept = 0
        for k in range(n):
            value = values[k]
            if mean - reach <= value <= mean + reach:
                values[kept] = value
                kept += 1
        # Of equal values the rounded mean may miss all; they are their own mean.
        if kept == n or reach == 0 or n == 0:
            return mean
        n = kept


@helper
def _sum_of_block(values, first, last):
    """Sum of up to 128 float32 in float32, in eight columns."""
    n = last - first
    total = np.float32(0)
    if n < COLUMNS:
        for k in range(first, last):
            total += values[k]
        return total
    s0, s1, s2, s3 = values[first], values[first + 1], values[first + 2], values[first + 3]
    s4, s5, s6, s7 = values[first + 4], values[first + 5], values[first + 6], values[first + 7]
    whole = last - n % COLUMNS
    for k in range(first + COLUMNS, whole, COLUMNS):
        s0 += values[k]
        s1 += values[k + 1]
        s2 += values[k + 2]
        s3 += values[k + 3]
        s4 += values[k + 4]
        s5 += values[k + 5]
        s6 += values[k + 6]
        s7 += values[k + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for k in range(whole, last):
        total += values[k]
    return total


@kernel
def pairwise_sum(values, n):
    """Sum of float32 values[:n] in float32 with the roundings of numpy: halves of multiples of 8, down to 128 values.

    The tree of the halves is walked with a stack of ends; what is finished at a depth waits for the half beside it.
    """
    ends, depths, waiting = np.empty(DEPTH, np.int64), np.empty(DEPTH, np.int64), np.empty(DEPTH, np.float32)
    is_waiting = np.zeros(DEPTH, np.bool_)
    ends[0], depths[0], height, first = n, 0, 1, 0
    while True:
        length, depth = ends[height - 1] - first, depths[height - 1]
        if length > BLOCK:
            half = length // 2
            depths[height - 1] = depth + 1
            ends[height], depths[height] = first + half - half % COLUMNS, depth + 1
            height += 1
            continue
        total = _sum_of_block(values, first, ends[height - 1])
        first = ends[height - 1]
        height -= 1
        while depth > 0 and is_waiting[depth]:
            total = waiting[depth] + total
            is_waiting[depth] = False
            depth -= 1
        if depth == 0:
            return total
        waiting[depth], is_waiting[depth] = total, True


@helper
def clipped_mean_single(values, n, limit, squares):
    """`_clipped_mean` of float32 values[:n], in float32 throughout; ``squares`` is scratch of that size."""
    same = True
    for k in range(1, n):
        same &= values[k] == values[0]
    if same:
        return values[0]
    while True:
        count = np.float32(n)
        mean = pairwise_sum(values, n) / count
        for k in range(n):
            squares[k] = (values[k] - mean) * (values[k] - mean)
        reach = np.sqrt(pairwise_sum(squares, n) / count) * np.float32(limit)
        low, high = mean - reach, mean + reach
        kept = 0
        for k in range(n):
            value = values[k]
            if low <= value <= high:
                values[kept] = value
                kept += 1
        if kept == n or kept == 0:
            return mean if kept == n else np.float32(np.nan)
        n = kept


@helper
def _edge_mean(rows, rows_dq, start, stop, step, limit, order, scratch, single):
    """Clipped mean of four reference rows and columns start, start + step, ...; (found any, mean).

    In float32 the ``order`` counts: whether rows and columns are read backwards.
    """
    n = 0
    columns = (stop - start + step - 1) // step
    for k in range(BORDER):
        r = BORDER - 1 - k if order[0] else k
        for c in range(columns):
            x = start + step * (columns - 1 - c if order[1] else c)
            if rows_dq[r, x] & DO_NOT_USE == 0:
                scratch[n] = rows[r, x]
                single[0, n] = rows[r, x]
                n += 1
    if n == 0:
        return False, 0.0
    if order[2]:
        return True, np.float64(clipped_mean_single(single[0], n, limit, single[1]))
    return True, _clipped_mean(scratch, n, limit)


@helper
def _two_edges_mean(rows, rows_dq, start, stop, step, limit, order, scratch, single):
    """Average of the means of bottom and top rows, or the one there is; (found any, mean)."""
    has_bottom, bottom = _edge_mean(rows[:BORDER], rows_dq[:BORDER], start, stop, step, limit, order, scratch, single)
    has_top, top = _edge_mean(rows[BORDER:], rows_dq[BORDER:], start, stop, step, limit, order, scratch, single)
    if has_bottom and has_top:
        mean = 0.5 * (bottom + top)
        return True, np.float64(np.float32(mean)) if order[2] else mean
    return has_bottom or has_top, bottom if has_bottom else top


@kernel
def mean_of_edges(rows, rows_dq, limit):
    """Average of the clipped means of the first four ``rows`` (8, n) float32 and the last four; (found any, mean).

    In float32 throughout. Pixels that are DO_NOT_USE do not count.
    """
    scratch, single = np.empty(rows.size, np.float64), np.empty((2, rows.size), np.float32)
    order = (False, False, True)
    return _two_edges_mean(rows, rows_dq, 0, rows.shape[1], 1, limit, order, scratch, single)


@kernel
def _amplifier_offsets(offset, rows, rows_dq, column0, odd_even, limit, order, scratch, single):
    """Offsets of all columns of one group from the edge rows (8, nx)."""
    nx = rows.shape[1]
    step = 2 if odd_even else 1
    for amplifier in range(column0 // AMPLIFIER, (column0 + nx - 1) // AMPLIFIER + 1):
        start = max(amplifier * AMPLIFIER - column0, 0)
        stop = min((amplifier + 1) * AMPLIFIER - column0, nx)
        usable = True
        for parity in range(step):
            found, mean = _two_edges_mean(rows, rows_dq, start + parity, stop, step, limit, order, scratch, single)
            usable &= found
            for x in range(start + parity, stop, step):
                offset[x] = mean
        if not usable:
            fill_row(offset[start:stop], 0.0)


@helper
def _remove(window, n, value):
    """Take one ``value`` out of the ascending window[:n]."""
    k = 0
    while window[k] != value:
        k += 1
    for j in range(k, n - 1):
        window[j] = window[j + 1]


@kernel
def _exchange(window, n, old, new):
    """Replace one ``old`` by ``new`` in the ascending window[:n]."""
    k = 0
    while window[k] != old:
        k += 1
    while k + 1 < n and window[k + 1] < new:
        window[k] = window[k + 1]
        k += 1
    while k > 0 and window[k - 1] > new:
        window[k] = window[k - 1]
        k -= 1
    window[k] = new


@helper
def _local_row(r, row0, ny):
    """Row of the array for a detector row, mirrored at the detector's ends; -1 where the array does not cover it."""
    if r < 0:
        r = -r
    if r >= SIZE:
        r = 2 * (SIZE - 1) - r
    r -= row0
    return r if 0 <= r < ny else -1


@helper
def _running_median(median, side, side_dq, row0, before, length, window):
    """Running median of the good pixels of side (ny, 4), rows r - before to r - before + length - 1 of the detector.

    NaN where there are none. The sorted window is carried from row to row; a NaN among its pixels makes the median NaN.
    """
    ny = side.shape[0]
    n = 0
    n_nan = 0
    for r in range(1 - length, ny):
        # Negative rows fill the window of row 0.
        entering = _local_row(row0 + r - before + length - 1, row0, ny)
        leaving = _local_row(row0 + r - before - 1, row0, ny) if r > 0 else -1
        for x in range(BORDER):
            old = leaving >= 0 and side_dq[leaving, x] & DO_NOT_USE == 0
            new = entering >= 0 and side_dq[entering, x] & DO_NOT_USE == 0
            if old and np.isnan(side[leaving, x]):
                n_nan -= 1
                old = False
            if new and np.isnan(side[entering, x]):
                n_nan += 1
                new = False
            if old and new:
                _exchange(window, n, side[leaving, x], side[entering, x])
            elif old:
                _remove(window, n, side[leaving, x])
                n -= 1
            elif new:
                insert(window, n, side[entering, x])
                n += 1
        if r >= 0:
            if n == 0 or n_nan > 0:
                median[r] = np.nan
            else:
                median[r] = 0.5 * (window[(n - 1) // 2] + window[n // 2])


@kernel
def edge_vectors_block(
    first,
    last,
    along_fast,
    along_slow,
    rows,
    rows_dq,
    columns,
    columns_dq,
    row0,
    column0,
    odd_even,
    use_sides,
    before,
    length,
    side_gain,
    limit,
    rows_backwards,
    columns_backwards,
    n_single,
):
    """Both vectors of frames first ... last - 1; all arrays have the amplifiers along their last axis.

    The first ``n_single`` frames are single precision up to the side pixels (reference behaviour).
    """
    ny, nx = columns.shape[1], rows.shape[2]
    scratch, single = np.empty(BORDER * AMPLIFIER, np.float64), np.empty((2, BORDER * AMPLIFIER), np.float32)
    window = np.empty(BORDER * length + 1, np.float64)
    side = np.empty((ny, BORDER), np.float64)
    medians = np.empty((2, ny), np.float64)
    for frame in range(first, last):
        offset = along_fast[frame]
        order = (rows_backwards, columns_backwards, frame < n_single)
        _amplifier_offsets(offset, rows[frame], rows_dq, column0, odd_even, limit, order, scratch, single)
        along_slow[frame] = 0
        if not use_sides:
            continue
        for s in range(2):
            for x in range(BORDER):
                # Sides that the array does not cover are DO_NOT_USE throughout, whatever their offset.
                column = s * (SIZE - BORDER) + x - column0
                shift = offset[column] if 0 <= column < nx else 0.0
                for r in range(ny):
                    side[r, x] = columns[frame, r, s * BORDER + x] - shift
                if frame < n_single:
                    for r in range(ny):
                        side[r, x] = columns[frame, r, s * BORDER + x] - np.float32(shift)
            dq = columns_dq[:, s * BORDER : (s + 1) * BORDER]
            _running_median(medians[s], side, dq, row0, before, length, window)
            if frame < n_single:
                for r in range(ny):
                    medians[s, r] = np.float32(medians[s, r])
        for r in range(ny):
            left, right = medians[0, r], medians[1, r]
            if np.isnan(left):
                left = right
            if np.isnan(right):
                right = left
            along_slow[frame, r] = 0.0 if np.isnan(left) else side_gain * (0.5 * (left + right))


@kernel
def pooled_means_block(first, last, means, values, amplifier, parity, odd_even, limit):
    """Clipped means of frames first ... last - 1: means (frames, 2 * amplifiers), both parities of each amplifier.

    In float32, in the order of the values (reference behaviour). 0 where one of the parities has no pixel.
    """
    scratch = np.empty((2, values.shape[1]), np.float32)
    for frame in range(first, last):
        means[frame] = 0
        for a in range(means.shape[1] // 2):
            usable = True
            for p in range(2):
                n = 0
                for k in range(values.shape[1]):
                    if amplifier[k] == a and (not odd_even or parity[k] == p):
                        scratch[0, n] = values[frame, k]
                        n += 1
                usable &= n > 0
                if n > 0:
                    means[frame, 2 * a + p] = clipped_mean_single(scratch[0], n, limit, scratch[1])
            if not usable:
                means[frame, 2 * a : 2 * a + 2] = 0

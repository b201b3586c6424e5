"""Compiled parts of medians of many pixels of an image: one pass over it, whatever the number of pixels.

A few of the pixels tell between which two values the median lies. The pass counts what is below, and keeps what lies
between; the median is one of these, or the mean of two. If the few have misled, all pixels are kept. Keys are the bits
of float32 numbers in their order.
"""

import numpy as np

from upramp.kernels._jit import helper, kernel
from upramp.kernels._line_medians import _from_key, _key, _middle, _select

__all__ = ["bracket_medians", "gather_block", "select_median", "subtract_pattern_tile"]

STRIDE = 61  # of so many pixels one is looked at first
REACH = 5.0  # standard deviations of the rank of the median of those


@helper
def _difference(image, start, r, x):
    return image[r, x] - start[r, x] if start.size > 0 else image[r, x]


@kernel
def bracket_medians(low, high, image, start, middle, edge):
    """Limits between which the medians of the pixels under the two masks are to be found, into ``low`` and ``high``."""
    ny, nx = image.shape
    keys = np.empty((2, ny * (nx // STRIDE + 1) + 1), np.uint32)
    scratch, counts = np.empty(keys.shape[1], np.uint32), np.empty(256, np.int64)
    n = np.zeros(2, np.int64)
    for r in range(ny):
        for x in range(17 * r % STRIDE, nx, STRIDE):
            value = _difference(image, start, r, x)
            for k in range(2):
                keys[k, n[k]] = _key(value)
                n[k] += (middle[r, x] if k == 0 else edge[r, x]) and not np.isnan(value)
    for k in range(2):
        reach = int(REACH * 0.5 * np.sqrt(n[k])) + 1
        first, last = n[k] // 2 - reach, n[k] // 2 + reach
        low[k], high[k] = -np.inf, np.inf
        if first >= 0 and last < n[k]:
            low[k] = _from_key(_select(keys[k], n[k], first, scratch, counts))
            high[k] = _from_key(_select(keys[k], n[k], last, scratch, counts))


@helper(counted=False)
def _mask_row(shown, values, use):
    missing = np.float32(np.nan)
    for x in range(use.size):
        shown[x] = values[x] if use[x] else missing


@helper(counted=False)
def _count_row(shown, n, low):
    n_good, n_below = np.uint32(0), np.uint32(0)
    for x in range(n):
        n_good = np.uint32(n_good + (shown[x] == shown[x]))
        n_below = np.uint32(n_below + (shown[x] < low))
    return n_good, n_below


@helper(counted=False)
def _mark_row(inside, shown, n, low, high):
    for x in range(n):
        inside[x] = (shown[x] >= low) & (shown[x] <= high)


@helper(counted=False)
def _keep_row(kept, values, inside):
    # Few are marked: eight at a time are passed over.
    n, words = 0, inside.view(np.uint64)
    for k in range(words.size):
        if words[k] != 0:
            for x in range(8 * k, 8 * k + 8):
                kept[n] = values[x]
                n += inside[x]
    return n


@kernel
def gather_block(first, last, kept, tallies, image, start, middle, edge, low, high):
    """Keep the values from ``low`` to ``high`` of rows first ... last - 1.

    ``kept`` (2, ny, nx + 1) float32 gets them row by row, ``tallies`` (2, 3, ny) how many pixels of a row are not NaN,
    how many are below, and how many are kept.
    """
    nx = image.shape[1]
    # Not the rows of one array, which no loop over them is packed for: it took four times as long.
    values = np.empty((nx + 7) // 8 * 8, np.float32)
    shown = np.empty(values.size, np.float32)
    inside = np.zeros(values.size, np.bool_)
    for r in range(first, last):
        row = image[r]
        if start.size > 0:
            begin = start[r]
            for x in range(nx):
                values[x] = row[x] - begin[x]
        else:
            for x in range(nx):
                values[x] = row[x]
        for k in range(2):
            _mask_row(shown, values, middle[r] if k == 0 else edge[r])
            tallies[k, 0, r], tallies[k, 1, r] = _count_row(shown, nx, low[k])
            _mark_row(inside, shown, nx, low[k], high[k])
            tallies[k, 2, r] = _keep_row(kept[k, r], values, inside)


@kernel
def select_median(kept, tally):
    """Median of the pixels that `gather_block` counted under one mask, and whether it is among those kept.

    The mean of the two in the middle in single precision; NaN of none.
    """
    n_good, n_below, n = tally[0].sum(), tally[1].sum(), tally[2].sum()
    if n_good == 0:
        return np.float32(np.nan), True
    k, two = (n_good - 1) // 2 - n_below, n_good % 2 == 0
    if k < 0 or k + two >= n:
        return np.float32(0), False
    keys, scratch = np.empty(n, np.uint32), np.empty(n, np.uint32)
    m = 0
    for r in range(tally.shape[1]):
        for j in range(tally[2, r]):
            keys[m] = _key(kept[r, j])
            m += 1
    return _middle(keys, n, k, two, scratch, np.empty(256, np.int64)), True


@kernel
def subtract_pattern_tile(image, start, shape, scale, level, first, last, left, right):
    """Subtract ``scale * shape + level`` from an image less ``start``, and add that again."""
    for r in range(first, last):
        row, pattern = image[r, left:right], shape[r, left:right]
        if start.size > 0:
            begin = start[r, left:right]
            for x in range(row.size):
                row[x] = (row[x] - begin[x]) + (begin[x] - (scale * pattern[x] + level))
        else:
            for x in range(row.size):
                row[x] -= scale * pattern[x] + level

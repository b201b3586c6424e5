"""Compiled parts of the flicker-noise correction: what is background in an image, and medians of its lines."""

import numpy as np

from upramp.kernels._jit import helper, kernel

__all__ = ["keep_between", "subtract_column_medians", "subtract_row_medians", "take_numbers"]

STRIP = 16  # columns gathered at a time


@kernel
def take_numbers(image, mask):
    """Replace NaN by 0 and take such pixels out of the mask; (number of pixels under the mask, NaN seen)."""
    n = n_nan = 0
    for r in range(image.shape[0]):
        row, use = image[r], mask[r]
        kept, missing = np.uint32(0), np.uint32(0)
        for x in range(row.size):
            bad = row[x] != row[x]
            row[x] = np.float32(0) if bad else row[x]
            use[x] &= not bad
            missing = np.uint32(missing + bad)
            kept = np.uint32(kept + use[x])
        n += kept
        n_nan += missing
    return n, n_nan


@kernel
def keep_between(mask, image, shift, low, high):
    """Take pixels whose value less ``shift`` is outside low ... high out of the mask; NaN changes nothing."""
    for r in range(image.shape[0]):
        row, use = image[r], mask[r]
        for x in range(row.size):
            value = row[x] - shift
            use[x] &= not (value < low or value > high)


@helper
def _key(value):
    """Bits of a float32 in the order of the numbers."""
    word = np.float32(value).view(np.uint32)
    return ~word if word & np.uint32(0x80000000) else word | np.uint32(0x80000000)


@helper
def _from_key(word):
    word = np.uint32(word & np.uint32(0x7FFFFFFF)) if word & np.uint32(0x80000000) else ~word
    return np.uint32(word).view(np.float32)


@helper
def _select(keys, n, k, scratch, counts):
    """The k-th smallest of keys[:n]: by counting in 256 bins, again and again among those of one bin."""
    source = keys
    while True:
        low, high = source[0], source[0]
        for j in range(n):
            low, high = min(low, source[j]), max(high, source[j])
        if low == high:
            return low
        shift = np.uint32(0)
        while (high - low) >> shift > np.uint32(255):
            shift += np.uint32(1)
        counts[:] = 0
        for j in range(n):
            counts[(source[j] - low) >> shift] += 1
        bin_, below = np.uint32(0), 0
        while below + counts[bin_] <= k:
            below += counts[bin_]
            bin_ += np.uint32(1)
        kept = 0
        for j in range(n):
            scratch[kept] = source[j]
            kept += (source[j] - low) >> shift == bin_
        # What is kept moves to the front of the scratch array, where the next round may overwrite it in place.
        source, n, k = scratch, kept, k - below


@helper
def _middle(keys, n, k, two, scratch, counts):
    """The k-th smallest of keys[:n] as float32, or its mean with the next one in single precision."""
    found = _select(keys, n, k, scratch, counts)
    value = _from_key(found)
    if not two:
        return value
    up_to, above = 0, np.uint32(0xFFFFFFFF)
    for j in range(n):
        up_to += keys[j] <= found
        above = min(above, keys[j] if keys[j] > found else np.uint32(0xFFFFFFFF))
    return value if up_to > k + 1 else (value + _from_key(above)) * np.float32(0.5)


@helper
def _median(keys, n, scratch, counts):
    """Median of keys[:n] as float32, 0 of none; the mean of the two in the middle in single precision."""
    if n == 0:
        return np.float32(0)
    return _middle(keys, n, (n - 1) // 2, n % 2 == 0, scratch, counts)


@kernel
def subtract_row_medians(image, mask, shift, channels):
    """Subtract from every row, or from ``channels`` equal parts of it, the median of its pixels under the mask.

    Medians are those of the values less ``shift``, which is taken away before and added after the subtraction.
    """
    ny, nx = image.shape
    width = nx // channels
    keys, scratch = np.empty(width + 1, np.uint32), np.empty(width + 1, np.uint32)
    counts = np.empty(256, np.int64)
    for r in range(ny):
        for c in range(channels):
            row, use = image[r, c * width : (c + 1) * width], mask[r, c * width : (c + 1) * width]
            n = 0
            for x in range(width):
                row[x] -= shift
                keys[n] = _key(row[x])
                n += use[x]
            level = _median(keys, n, scratch, counts)
            for x in range(width):
                row[x] = (row[x] - level) + shift


@kernel
def subtract_column_medians(image, mask, shift, channels):
    """The same for columns, or for ``channels`` equal parts of them; they are gathered some at a time."""
    ny, nx = image.shape
    height = ny // channels
    keys, scratch = np.empty((STRIP, height + 1), np.uint32), np.empty(height + 1, np.uint32)
    counts, n = np.empty(256, np.int64), np.empty(STRIP, np.int64)
    level = np.empty(STRIP, np.float32)
    for left in range(0, nx, STRIP):
        width = min(STRIP, nx - left)
        for c in range(channels):
            n[:] = 0
            for r in range(c * height, (c + 1) * height):
                row, use = image[r, left : left + width], mask[r, left : left + width]
                for x in range(width):
                    row[x] -= shift
                    keys[x, n[x]] = _key(row[x])
                    n[x] += use[x]
            for x in range(width):
                level[x] = _median(keys[x], n[x], scratch, counts)
            for r in range(c * height, (c + 1) * height):
                row = image[r, left : left + width]
                for x in range(width):
                    row[x] = (row[x] - level[x]) + shift

"""The average deviation of a group over a ring around each pixel: the compiled part of `showers` that decides.

A few rows of deviations at a time are kept, of as many columns as lie near the processor: sums over columns of 1, 3,
5, ... of their pixels are added up to the sum over a disc, that of its hole is taken away, and so is what is missing,
counted in the same way. Sums are float32; where their rounding could decide, the pixels are added again in float64.

Symbols, source and the NaN rule are those of `showers`.
"""

import math

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ParameterError
from upramp.kernels._rows import copy_row, fill_row

__all__ = ["mark_extended_tile", "ring_of_pixels"]

# Columns whose deviations are averaged together, at most, with their margins. Long rows matter more than the nearest
# cache: 384 took half as much time again.
_PIECE = 1152
_MOST_PIXELS = np.iinfo(np.uint16).max  # of a ring: missing ones are counted in this type


def ring_of_pixels(inner, width):
    """The ring of pixels whose centre is at least ``inner`` and at most ``inner + width`` away.

    Returns half-lengths of its columns (or rows), (2, radius + 1) int64 of the whole disc and of the one left out (-1:
    nothing), and the number of its pixels. ParameterError if there are more than `mark_extended_tile` can count.
    """
    outer = inner + width
    radius = max(math.floor(outer), 0)
    columns = np.arange(radius + 1)
    squares = columns**2 + columns[:, None] ** 2
    halves = np.array([(squares <= outer**2).sum(axis=1) - 1, (squares < inner**2).sum(axis=1) - 1])
    disc, hole = ((2 * halves + 1) * (halves >= 0) @ np.where(columns > 0, 2, 1)).tolist()
    if disc - hole > _MOST_PIXELS:
        raise ParameterError(
            f"the ring from {inner} to {outer} pixels has {disc - hole} pixels; at most {_MOST_PIXELS}"
        )
    return halves, float(disc - hole)


@helper
def _load_deviations(deviation, missing, data, gdq, gain, median, sigma, k, r, left, right):
    """Deviations of a piece of a row in group k [sigma]; 0 where there is none, and ``missing`` is 1.

    Returns whether there is any.
    """
    a, b = data[k - 1, r, left:right], data[k, r, left:right]
    p, q = gdq[k - 1, r, left:right], gdq[k, r, left:right]
    g, m, s = gain[r, left:right], median[r, left:right], sigma[r, left:right]
    d, none = deviation[: g.size], missing[: g.size]
    bad = np.uint8(255)
    for x in range(g.size):
        flagged = ((p[x] | q[x]) & (DO_NOT_USE | SATURATED)) | (q[x] & JUMP_DET) | np.uint8(p[x] == JUMP_DET)
        none[x] = flagged != 0
        bad &= none[x]
    if bad != 0:
        fill_row(d, np.float32(0))
        return False
    infinity, zero = np.float32(np.inf), np.float32(0)
    for x in range(g.size):
        d[x] = abs((b[x] * g[x] - a[x] * g[x]) - m[x]) / s[x]
    for x in range(g.size):
        none[x] |= np.uint8(not d[x] < infinity)
        bad &= none[x]
    for x in range(g.size):
        d[x] = zero if none[x] != 0 else d[x]
    return bad == 0


@helper
def _sum_ring(disc, hole, columns, rows, y, ring):
    """Sums over the disc and over its hole around each pixel of the row ``y``.

    ``rows`` (depth, width + 2 * reach) holds the rows around it, the row ``r`` at ``r % depth``; ``columns`` of the
    same length is scratch for sums over columns of 1, 3, 5, ... pixels.
    """
    depth, reach, width = rows.shape[0], ring.shape[1] - 1, disc.size
    centre = rows[y % depth]
    column = centre
    for h in range(1, reach + 1):
        below, one, other = column, rows[(y - h) % depth], rows[(y + h) % depth]
        column = columns[h]
        for x in range(width):
            column[x] = below[x] + (one[x] + other[x])
    for part in range(2):
        total, h = (disc, ring[0, 0]) if part == 0 else (hole, ring[1, 0])
        if h < 0:
            for x in range(width):
                total[x] = 0
            continue
        column = columns[h] if h > 0 else centre
        if reach == 0 or ring[part, 1] < 0:
            copy_row(total, column[reach:])
            continue
        for distance in range(1, reach + 1):
            h = ring[part, distance]
            if h < 0:
                break
            column = columns[h] if h > 0 else centre
            one, other = column[reach - distance :][:width], column[reach + distance :][:width]
            if distance == 1:
                middle = columns[ring[part, 0]][reach:]
                for x in range(width):
                    total[x] = middle[x] + (one[x] + other[x])
            else:
                for x in range(width):
                    total[x] += one[x] + other[x]


@helper
def _exact_sum(rows, y, x, ring):
    """Sum in float64 over the ring around column ``x`` (without the margin) of a row."""
    depth, reach = rows.shape[0], ring.shape[1] - 1
    total = 0.0
    for dy in range(-reach, reach + 1):
        disc, hole = ring[0, abs(dy)], ring[1, abs(dy)]
        row = rows[(y + dy) % depth]
        for dx in range(-disc, disc + 1):
            if abs(dx) > hole:
                total += row[reach + x + dx]
    return total


@helper
def _mark_row(mask, deviation, missing, scratch, y, ring, size, threshold):
    """Write 1 into a row of a mask where the average of the deviations is above the threshold, else 0.

    Sums are float32, and float64 where their rounding could decide.
    """
    disc, hole, columns, none, none_hole, none_columns, marks = scratch
    reach = ring.shape[1] - 1
    _sum_ring(disc, hole, columns, deviation, y, ring)
    _sum_ring(none, none_hole, none_columns, missing, y, ring)
    centre = missing[y % missing.shape[0], reach:]
    margin = np.float32((4 + 2 * reach) * 2.4e-7)
    level, full = np.float32(threshold), np.float32(size)
    doubts = np.uint8(0)
    for x in range(marks.size):
        left = full - np.float32(np.uint16(none[x] - none_hole[x]))
        excess = (disc[x] - hole[x]) - level * left
        there = (centre[x] == 0) & (left > 0)
        doubtful = not abs(excess) > margin * (disc[x] + hole[x])
        marks[x] = np.uint8(there & (excess > 0)) | (np.uint8(there & doubtful) << 1)
        doubts |= marks[x]
    copy_row(mask, marks)
    if doubts > 1:
        for x in range(mask.size):
            if mask[x] > 1:
                left = size - float(np.uint16(none[x] - none_hole[x]))
                mask[x] = _exact_sum(deviation, y, x, ring) > threshold * left


@helper
def _piece(n, reach):
    """Columns to do together of ``n``, and how many with a margin: a multiple of what packed loops take."""
    count = -(-n // max(_PIECE - 2 * reach, 64))
    columns = -(-n // count)
    return columns, (columns + 2 * reach + 63) // 64 * 64


@kernel
def mark_extended_tile(masks, data, gdq, gain, median, sigma, planes, ring, size, threshold, first, last, left, right):
    """Write 1 into ``masks`` (n, ny, nx) where the average of the deviations is above the threshold, else 0.

    ``planes`` (n, 2) int64 are the integration and group of each; ``ring`` and ``size`` as from `ring_of_pixels`.
    """
    ny, nx = median.shape
    reach = ring.shape[1] - 1
    depth = 2 * reach + 1
    columns, width = _piece(right - left, reach)
    length = width + 2 * reach
    deviation, missing = np.empty((depth, length), np.float32), np.empty((depth, length), np.uint16)
    scratch = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.zeros((reach + 1, length), np.float32),
        np.empty(width, np.uint16),
        np.empty(width, np.uint16),
        np.zeros((reach + 1, length), np.uint16),
        np.empty(width, np.uint8),
    )
    there = np.empty(depth, np.uint8)
    for start in range(left, right, columns):
        stop = min(start + columns, right)
        west, east = max(start - reach, 0), min(stop + reach, nx)
        margin = west - (start - reach)
        # What is outside of the frame counts, with a deviation of 0.
        for row in range(depth):
            fill_row(deviation[row], np.float32(0))
            fill_row(missing[row], np.uint16(0))
        for n in range(planes.shape[0]):
            i, k = planes[n, 0], planes[n, 1]
            for r in range(first - reach, last + reach):
                row = r % depth
                if 0 <= r < ny:
                    d, none = deviation[row, margin:], missing[row, margin:]
                    there[row] = _load_deviations(d, none, data[i], gdq[i], gain, median, sigma, k, r, west, east)
                else:
                    fill_row(deviation[row], np.float32(0))
                    fill_row(missing[row], np.uint16(0))
                y = r - reach
                if first <= y < last:
                    mask = masks[n, y, start:stop]
                    if there[y % depth] == 0:
                        fill_row(mask, np.uint8(0))
                    else:
                        _mark_row(mask, deviation, missing, scratch, y, ring, size, threshold)

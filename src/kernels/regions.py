"""Connected regions of a flagged plane, the ellipses that stand for them, and ellipses filled with pixels.

A region is a set of flagged pixels that touch at edges or corners. It is described by the ellipse with the same
second moments: full axes ``4 sqrt(eigenvalue) - 1`` of the covariance of its pixels, and the angle of the major axis
from the rows' axis (y) towards x. What counts for its size is its area with holes filled; a hole is what cannot be
reached from outside through edges or corners.

Planes are sparse: only runs of flagged pixels are stored, and labelled by union-find.

Source: reference behaviour, which has these from scikit-image (label, regionprops, draw.ellipse). Many regions are
symmetric, so that rounding decides on their angle and on the pixels that lie exactly on the edge of an ellipse.
Sums and products are therefore taken in the same order as there, the last sum over columns with fused multiply-adds as
in the matrix product of BLAS. The axes come from the same closed form of a symmetric 2 x 2 matrix as in LAPACK (DLAE2).
"""

import math

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import as_canonical

__all__ = ["ANGLE", "CENTRE_X", "CENTRE_Y", "MAJOR", "MINOR", "ellipse_pixels", "find_ellipses", "find_regions"]

# Columns of the ellipses of regions: centre and full axes [pixel], angle [degrees].
CENTRE_X, CENTRE_Y, MINOR, MAJOR, ANGLE = range(5)
_CHUNK = 64
_EPSILON = 2.0**-53


@intrinsic
def _fused(typing_context, a, b, c):
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


def _rounded_twice(a, b, c):
    return a * b + c


_multiply_add = _rounded_twice if numba.config.DISABLE_JIT else _fused


@helper
def _count_runs(plane):
    """Number of runs of non-zero pixels that begin in each row."""
    counts = np.empty(plane.shape[0], np.int64)
    for r in range(plane.shape[0]):
        row = plane[r]
        n = np.int32(row[0] != 0)
        for x in range(1, row.size):
            n += np.int32(row[x] != 0) & np.int32(row[x - 1] == 0)
        counts[r] = n
    return counts


@helper
def _collect_runs(plane, counts):
    """Runs in the order of rows and columns: (n, 3) int32 of row, first column, column after the last."""
    runs = np.empty((counts.sum(), 3), np.int32)
    n = -1
    for r in range(plane.shape[0]):
        if counts[r] == 0:
            continue
        row = plane[r]
        inside = False
        for left in range(0, row.size, _CHUNK):
            chunk = row[left : left + _CHUNK]
            bits = np.uint8(0)
            for x in range(chunk.size):
                bits |= chunk[x]
            if bits == 0 and not inside:
                continue
            for x in range(chunk.size):
                if (chunk[x] != 0) != inside:
                    inside = not inside
                    if inside:
                        n += 1
                        runs[n, 0] = r
                        runs[n, 1] = left + x
                    else:
                        runs[n, 2] = left + x
        if inside:
            runs[n, 2] = row.size
    return runs


@helper
def _root(parent, a):
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@helper
def _label_runs(runs):
    """Region of each run, numbered from 0 in the order in which they begin, and the number of regions."""
    n = runs.shape[0]
    parent = np.arange(n)
    above = 0  # first run of the row above that may still touch
    for a in range(n):
        while above < a and (runs[above, 0] < runs[a, 0] - 1):
            above += 1
        while runs[above, 0] == runs[a, 0] - 1 and runs[above, 2] < runs[a, 1]:
            above += 1
        b = above
        while runs[b, 0] == runs[a, 0] - 1 and runs[b, 1] <= runs[a, 2]:
            one, other = _root(parent, a), _root(parent, b)
            parent[max(one, other)] = min(one, other)
            b += 1
    count = 0
    for a in range(n):
        # Roots come before their members: the parent of a member is numbered already.
        if parent[a] == a:
            parent[a] = count
            count += 1
        else:
            parent[a] = parent[parent[a]]
    return parent, count


@helper
def _group_runs(labels, count):
    """Runs of each region, in their order: those of region ``c`` are ``order[starts[c]:starts[c + 1]]``."""
    starts = np.zeros(count + 1, np.int64)
    for a in range(labels.size):
        starts[labels[a] + 1] += 1
    for c in range(count):
        starts[c + 1] += starts[c]
    position = starts.copy()
    order = np.empty(labels.size, np.int64)
    for a in range(labels.size):
        order[position[labels[a]]] = a
        position[labels[a]] += 1
    return order, starts


@kernel
def _box(runs, members):
    """First row, row after the last, first column, column after the last, and number of pixels of a region."""
    top, bottom = runs[members[0], 0], runs[members[-1], 0] + 1
    left, right, n = runs[members[0], 1], runs[members[0], 2], 0
    for a in members:
        left, right = min(left, runs[a, 1]), max(right, runs[a, 2])
        n += runs[a, 2] - runs[a, 1]
    return top, bottom, left, right, n


@helper
def _filled_area(runs, members, top, bottom, left, right):
    """Pixels of a region and of its holes; the outside is what edges and corners connect with the surroundings."""
    h, w = bottom - top + 2, right - left + 2
    solid = np.zeros((h, w), np.uint8)
    for a in members:
        for x in range(runs[a, 1], runs[a, 2]):
            solid[runs[a, 0] - top + 1, x - left + 1] = 1
    stack = np.empty((h * w, 2), np.int32)
    stack[0, 0], stack[0, 1] = 0, 0
    solid[0, 0] = 2
    depth, outside = 1, 0
    while depth > 0:
        depth -= 1
        y, x = stack[depth, 0], stack[depth, 1]
        outside += 1
        for ny in range(max(y - 1, 0), min(y + 2, h)):
            for nx in range(max(x - 1, 0), min(x + 2, w)):
                if solid[ny, nx] == 0:
                    solid[ny, nx] = 2
                    stack[depth, 0], stack[depth, 1] = ny, nx
                    depth += 1
    return h * w - outside


@helper
def _column_sums(runs, members, top, left, centre, sums):
    """Sums over the pixels of each column of 1, dy and dy^2, row after row; dy from ``centre``."""
    for x in range(sums.shape[1]):
        sums[0, x], sums[1, x], sums[2, x] = 0.0, 0.0, 0.0
    for a in members:
        dy = float(runs[a, 0] - top) - centre
        square = dy * dy
        for x in range(runs[a, 1] - left, runs[a, 2] - left):
            sums[0, x] += 1.0
            sums[1, x] += dy
            sums[2, x] += square


@helper
def _inertia(runs, members, top, left, width):
    """Centre (y, x in the frame) and the inertia tensor per pixel: its yy, xy and xx elements."""
    n, sum_y, sum_x = 0, 0, 0
    for a in members:
        y, x0, x1 = runs[a, 0] - top, runs[a, 1] - left, runs[a, 2] - left
        n += x1 - x0
        sum_y += y * (x1 - x0)
        sum_x += (x0 + x1 - 1) * (x1 - x0) // 2
    cy, cx = float(sum_y) / float(n), float(sum_x) / float(n)
    sums = np.empty((3, width))
    _column_sums(runs, members, top, left, cy, sums)
    yy, xy, xx = 0.0, 0.0, 0.0
    for x in range(width):
        dx = float(x) - cx
        yy += sums[2, x]
        xy = _multiply_add(sums[1, x], dx, xy)
        xx = _multiply_add(sums[0, x], dx * dx, xx)
    both = yy + xx
    cy, cx = float(sum_y + n * top) / float(n), float(sum_x + n * left) / float(n)
    return cy, cx, (both - yy) / float(n), -xy / float(n), (both - xx) / float(n)


@helper
def _eigenvalues(a, b, c):
    """Larger and smaller eigenvalue of ((a, b), (b, c)), at least 0."""
    if abs(b) <= math.sqrt(abs(a)) * math.sqrt(abs(c)) * _EPSILON:
        return max(a, c, 0.0), max(min(a, c), 0.0)
    b = math.sqrt(b * b)
    total, spread, twice = a + c, abs(a - c), b + b
    large, small = (a, c) if abs(a) > abs(c) else (c, a)
    if spread > twice:
        root = spread * math.sqrt(1.0 + (twice / spread) ** 2)
    elif spread < twice:
        root = twice * math.sqrt(1.0 + (spread / twice) ** 2)
    else:
        root = twice * math.sqrt(2.0)
    if total < 0.0:
        first = 0.5 * (total - root)
        second = (large / first) * small - (b / first) * b
    elif total > 0.0:
        first = 0.5 * (total + root)
        second = (large / first) * small - (b / first) * b
    else:
        first, second = 0.5 * root, -0.5 * root
    return max(first, second, 0.0), max(min(first, second), 0.0)


@kernel
def _describe(ellipse, runs, members, top, left, width):
    """Write the ellipse of one region."""
    cy, cx, a, b, c = _inertia(runs, members, top, left, width)
    major, minor = _eigenvalues(a, b, c)
    angle = 0.5 * math.atan2(-2 * b, c - a)
    if a == c:
        angle = math.pi / 4 if b < 0 else -math.pi / 4
    ellipse[CENTRE_X], ellipse[CENTRE_Y] = cx, cy
    ellipse[MINOR], ellipse[MAJOR] = 4 * math.sqrt(minor) - 1, 4 * math.sqrt(major) - 1
    ellipse[ANGLE] = angle * (180.0 / math.pi)


@kernel
def find_regions(plane, min_area):
    """Ellipses of the regions of non-zero pixels of a uint8 plane with a filled area of at least ``min_area``.

    Returns (n, 5) float64: centre x, y, minor and major axis (full lengths), angle; see the names of the columns.
    """
    runs = _collect_runs(plane, _count_runs(plane))
    labels, count = _label_runs(runs)
    order, starts = _group_runs(labels, count)
    ellipses = np.empty((count, 5))
    found = 0
    for c in range(count):
        members = order[starts[c] : starts[c + 1]]
        top, bottom, left, right, n = _box(runs, members)
        # The smallest ring around a hole has eight pixels, and holes do not reach beyond the box.
        if n < min_area and (
            n < 8
            or (bottom - top) * (right - left) < min_area
            or _filled_area(runs, members, top, bottom, left, right) < min_area
        ):
            continue
        _describe(ellipses[found], runs, members, top, left, right - left)
        found += 1
    return ellipses[:found]


@kernel
def ellipse_pixels(centre_x, centre_y, minor, major, angle, n_rows, n_columns):
    """Pixels inside a filled ellipse and inside the frame: (n, 2) int32 of row and column.

    The centre is rounded to a pixel; ``minor`` and ``major`` are whole semi-axes [pixel], ``angle`` in degrees. Pixels
    on the edge are outside. An axis of 0 gives no pixels; a negative one (regions one pixel wide have axes of -1) a
    line or nothing.
    """
    if minor == 0 or major == 0:
        return np.empty((0, 2), np.int32)
    x0, y0 = round(centre_x), round(centre_y)
    rotation = (angle * (math.pi / 180.0)) % math.pi
    s, c = math.sin(rotation), math.cos(rotation)
    reach = max(minor, major) + 2
    left, top = max(x0 - reach, 0), max(y0 - reach, 0)
    right, bottom = min(x0 + reach + 1, n_columns), min(y0 + reach + 1, n_rows)
    half_height = abs(major * c) + minor * s
    half_width = major * s + abs(minor * c)
    # In coordinates of this cut-out, where the reference rounds the box.
    y1 = max(math.ceil(y0 - top - half_height), 0) + top
    y2 = min(math.floor(y0 - top + half_height) + 1 + top, bottom)
    x1 = max(math.ceil(x0 - left - half_width), 0) + left
    x2 = min(math.floor(x0 - left + half_width) + 1 + left, right)
    pixels = np.empty((max(y2 - y1, 0) * max(x2 - x1, 0), 2), np.int32)
    n = 0
    for y in range(y1, y2):
        dy = float(y - y0)
        for x in range(x1, x2):
            dx = float(x - x0)
            along = (dy * c + dx * s) / major
            across = (dy * s - dx * c) / minor
            if along * along + across * across < 1:
                pixels[n, 0], pixels[n, 1] = y, x
                n += 1
    return pixels[:n]


def find_ellipses(mask, min_area):
    """Describe the connected regions of a mask by ellipses.

    Parameters
    ----------
    mask : (ny, nx) bool or integer
        Pixels that are not zero count.
    min_area : float
        Regions whose area, holes filled, is smaller are left out [pixel].

    Returns
    -------
    (n, 5) float64
        Centre x and y, minor and major axis [pixel]: full lengths of the ellipse with the second moments of the region,
        less one, so -1 for the minor axis of a line; angle of the major axis from the y axis towards x [degrees].

    Raises
    ------
    ShapeError, DTypeError
        The mask is not two-dimensional, or not of integers.

    Notes
    -----
    Source: see the module; eight neighbours connect. Cost: one pass over the plane, and the flagged pixels.
    """
    mask = np.asarray(mask)
    plane = as_canonical(mask != 0 if mask.dtype.kind in "iu" else mask, "mask", np.uint8, 2)
    return find_regions(plane, float(min_area)) if plane.size else np.empty((0, 5))

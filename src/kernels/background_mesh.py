"""A smooth background from medians in boxes.

The image is cut into boxes; in each the background pixels are clipped (3 sigma about the median, five times) and
their median taken. Boxes with too few pixels get the mean of the nearest good ones, weighted with the inverse
distance; the mesh of boxes goes through a 5 x 5 median filter and is enlarged by a cubic spline, mirrored at the edges,
and limited to the range of the mesh.

Source: reference behaviour (photutils Background2D as the reference calls it; Bertin & Arnouts 1996, A&AS 117, 393).
Differs from it where boxes are equally far from a bad one: all of them count, where the reference takes ten boxes
in the order of its search tree.
"""

import numpy as np

from upramp.kernels._jit import kernel
from upramp.kernels._rows import copy_row
from upramp.kernels.clipping import FEW, clip_range, sort_few, sort_into, sum_buckets

__all__ = ["background_mesh", "default_box", "spline_matrix"]

GOOD_PART = 0.9  # a box needs more than this part of its pixels
NEIGHBOURS = 10
FILTER = 2  # boxes to each side in the median filter
LARGEST_BOX = 32


def default_box(shape):
    """Box size: in each direction the largest divisor of the size up to 32."""
    return tuple(max(n for n in range(1, LARGEST_BOX + 1) if size % n == 0) for size in shape)


@kernel
def box_medians(first, last, mesh, image, mask, height, width):
    """Clipped medians of the boxes in rows first ... last - 1 of the mesh; NaN where too few pixels are left."""
    ny, nx = image.shape
    values, ordered = np.empty(height * width, np.float32), np.empty(height * width, np.float32)
    # All values of a box are in one bucket, which is sorted.
    sums, starts, ready = np.empty((1, 2)), np.zeros(2, np.int64), np.ones(1, np.bool_)
    for i in range(first, last):
        for j in range(mesh.shape[1]):
            n = 0
            for r in range(i * height, min((i + 1) * height, ny)):
                for x in range(j * width, min((j + 1) * width, nx)):
                    if mask[r, x] and np.isfinite(image[r, x]):
                        values[n] = image[r, x]
                        n += 1
            mesh[i, j] = np.nan
            if n <= GOOD_PART * height * width:
                continue
            if n <= FEW:
                sort_few(values[:n])
                copy_row(ordered[:n], values)
            else:
                sort_into(ordered[:n], values[:n])
            pivot, starts[1] = np.float64(ordered[n // 2]), n
            sum_buckets(sums, ordered[:n], starts, pivot)
            _, _, _, a, b = clip_range(ordered[:n], starts, ready, sums, pivot, 0, n, np.float32(0))
            if b - a > GOOD_PART * height * width:
                low, high = ordered[a + (b - a - 1) // 2], ordered[a + (b - a) // 2]
                mesh[i, j] = low if low == high else np.float32(0.5) * (low + high)


def _fill(mesh):
    """Give boxes without a value the mean of the nearest ones, weighted with the inverse distance."""
    good = np.argwhere(~np.isnan(mesh))
    values = mesh[tuple(good.T)].astype(np.float64)
    filled = mesh.copy()
    for place in np.argwhere(np.isnan(mesh)):
        square = ((good - place) ** 2).sum(axis=1)
        count = min(NEIGHBOURS, len(good))
        near = square <= np.partition(square, count - 1)[count - 1]
        weights = 1.0 / np.sqrt(square[near])
        filled[tuple(place)] = (weights * values[near]).sum() / weights.sum()
    return filled


def _median_filter(mesh):
    """Median of the boxes around each one, at the edges of those that there are."""
    padded = np.pad(mesh, FILTER, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * FILTER + 1,) * 2)
    return np.nanmedian(windows.astype(np.float64), axis=(2, 3)).astype(mesh.dtype)


def spline_matrix(n, factor):
    """Matrix (n * factor, n) that enlarges n samples, centres of their cells, by a cubic spline mirrored at the ends.

    Parameters
    ----------
    n : int
        Number of samples.
    factor : int
        Enlargement.

    Returns
    -------
    (n * factor, n) float64

    Notes
    -----
    Source: Unser (1999), IEEE Signal Processing Magazine 16, 22: a filter forwards and backwards makes coefficients of
    the samples, which are repeated backwards beyond the ends; where there are few of them its start is approximate,
    as it is in the reference.
    """

    def mirrored(index):
        index = index % (2 * n)
        return np.where(index < n, index, 2 * n - 1 - index)

    place = (np.arange(n * factor) + 0.5) / factor - 0.5
    start = np.floor(place).astype(np.int64)
    t = place - start
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    between, rows = np.zeros((n * factor, n)), np.arange(n * factor)
    for offset, weight in enumerate(weights):
        np.add.at(between, (rows, mirrored(start + offset - 1)), weight / 6)
    return between @ _spline_coefficients(np.eye(n))


def _spline_coefficients(samples):
    """Coefficients of cubic B-splines for samples (n, ...), mirrored at the ends."""
    n, z = len(samples), np.sqrt(3.0) - 2.0
    if n == 1:
        return samples
    c = 6.0 * samples
    start = c[0] + z**n * c[-1]
    for k in range(1, n):
        # The last term should have c[0] itself; the reference has what is summed so far.
        start = start + z**k * (c[k] + z**n * (c[n - 1 - k] if k < n - 1 else start))
    c[0] += z / (1 - z ** (2 * n)) * start
    for k in range(1, n):
        c[k] += z * c[k - 1]
    c[-1] *= z / (z - 1)
    for k in range(n - 2, -1, -1):
        c[k] = z * (c[k + 1] - c[k])
    return c


def background_mesh(image, mask, box_size=None):
    """Fit a smooth background.

    Parameters
    ----------
    image : (ny, nx) float32
    mask : (ny, nx) bool
        True for pixels of the background.
    box_size : (int, int), optional
        Rows and columns of a box, at most those of the image; by default `default_box`.

    Returns
    -------
    (ny, nx) float32, or None
        None if no box has enough pixels.
    """
    ny, nx = image.shape
    height, width = (
        min(int(size), length) for size, length in zip(box_size or default_box(image.shape), image.shape, strict=True)
    )
    mesh = np.empty((-(-ny // height), -(-nx // width)), np.float32)
    box_medians(0, len(mesh), mesh, image, mask, height, width)
    if np.isnan(mesh).all():
        return None
    if np.isnan(mesh).any():
        mesh = _fill(mesh)
    mesh = _median_filter(mesh)
    if mesh.min() == mesh.max():
        return np.full(image.shape, mesh.min(), np.float32)
    rows, columns = spline_matrix(mesh.shape[0], height), spline_matrix(mesh.shape[1], width)
    background = (rows @ mesh.astype(np.float64) @ columns.T)[:ny, :nx].astype(np.float32)
    return np.clip(background, mesh.min(), mesh.max(), out=background)

"""Subtract the thermal pattern of NIRSpec, the "picture frame".

The edges of the detector are warmer or colder than its middle. A reference has the pattern; the medians of background
pixels in the middle and at the edges, in the reference and in every image, give its scale and level.

Source: reference behaviour. Medians and the correction are float32; images of a ramp are the groups less the first one,
which stays as it is.
"""

import numpy as np

from upramp.kernels._jit import run_rows
from upramp.kernels._layout import as_canonical, check_shape
from upramp.kernels._tiles import require_in_place

__all__ = ["regions", "subtract_picture_frame_in_place"]

MIDDLE = (76, 1984)
LOWER_EDGE, UPPER_EDGE = (4, 75), (1985, 2043)


def regions(mask):
    """Background pixels in the middle and at the edges.

    Parameters
    ----------
    mask : (2048, 2048) bool

    Returns
    -------
    middle, edge : (2048, 2048) bool
    """
    middle = np.zeros_like(mask)
    inside = slice(*MIDDLE)
    middle[inside, inside] = mask[inside, inside]
    at_edge = np.zeros_like(mask)
    for span in (LOWER_EDGE, UPPER_EDGE):
        at_edge[slice(*span)] = True
        at_edge[:, slice(*span)] = True
    seen = np.zeros_like(mask)
    whole = slice(LOWER_EDGE[0], UPPER_EDGE[1])
    seen[whole, whole] = True
    return middle, mask & at_edge & seen


def _median(values):
    good = values[~np.isnan(values)]
    return np.median(good) if good.size else np.float32(np.nan)


def subtract_picture_frame_in_place(images, middle, edge, pattern, threads=None):
    """Subtract the scaled pattern from images, or from the groups of ramps.

    Parameters
    ----------
    images : (n, ny, nx) or (nint, ngroup, ny, nx) float32
        Rates, or counts; changed, but for the first group of a ramp.
    middle, edge : (ny, nx) bool
        Pixels of the background, from `regions`.
    pattern : (ny, nx) float32
        The pattern of the reference.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    """
    require_in_place(images, "images", np.float32, images.ndim)
    pattern = as_canonical(pattern, "pattern", np.float32, 2)
    for name, array in (("middle", middle), ("edge", edge), ("pattern", pattern)):
        check_shape(array, name, images.shape[-2:])
    at_middle, at_edge = np.flatnonzero(middle), np.flatnonzero(edge)
    of_middle, of_edge = (_median(pattern.ravel()[place]) for place in (at_middle, at_edge))
    shape = pattern - of_edge
    contrast = of_middle - of_edge

    def correct(image, start):
        if start is not None:
            image -= start
        values = image.reshape(-1)
        level = _median(values[at_edge])
        scale = (_median(values[at_middle]) - level) / contrast
        correction = scale * shape + level
        image += -correction if start is None else start - correction

    if images.ndim == 3:
        run_rows(lambda a, b: [correct(images[k], None) for k in range(a, b)], len(images), threads=threads, block=1)
        return
    ng = images.shape[1]

    def groups(first, last):
        for k in range(first, last):
            i, g = divmod(k, ng - 1)
            correct(images[i, g + 1], images[i, 0])

    run_rows(groups, len(images) * (ng - 1), threads=threads, block=1)

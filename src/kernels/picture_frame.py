"""Subtract the thermal pattern of NIRSpec, the "picture frame".

The edges of the detector are warmer or colder than its middle. A reference has the pattern; the medians of background
pixels in the middle and at the edges, in the reference and in every image, give its scale and level.

Source: reference behaviour. Medians and the correction are float32; images of a ramp are the groups less the first one,
which stays as it is.
"""

import numpy as np

from upramp.kernels._frame_medians import bracket_medians, gather_block, select_median, subtract_pattern_tile
from upramp.kernels._jit import run_rows
from upramp.kernels._layout import as_canonical, check_shape
from upramp.kernels._tiles import require_in_place, run_tile

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
    frame = images.shape[-2:]
    pattern = as_canonical(pattern, "pattern", np.float32, 2, frame)
    masks = tuple(np.ascontiguousarray(mask, np.bool_) for mask in (middle, edge))
    for name, mask in zip(("middle", "edge"), masks, strict=True):
        check_shape(mask, name, frame)
    medians = _Medians(masks, threads)
    nothing = np.empty((0, 0), np.float32)
    of_middle, of_edge = medians(pattern, nothing)
    shape = pattern - of_edge
    contrast = of_middle - of_edge

    def correct(image, start):
        middle, level = medians(image, start)
        scale = (middle - level) / contrast
        run_tile(subtract_pattern_tile, image, start, shape, scale, level, threads=threads)

    for item in images:
        if images.ndim == 3:
            correct(item, nothing)
        else:
            for group in item[1:]:
                correct(group, item[0])


class _Medians:
    """Medians of an image less another one in the middle and at the edges, as float32."""

    def __init__(self, masks, threads):
        self.masks, self.threads = masks, threads
        ny, nx = masks[0].shape
        self.kept, self.tallies = np.empty((2, ny, nx + 1), np.float32), np.empty((2, 3, ny), np.int64)

    def __call__(self, image, start):
        low, high = np.empty((2, 2), np.float32)
        bracket_medians(low, high, image, start, *self.masks)
        found = self._between(image, start, low, high)
        if found is None:
            low[:], high[:] = -np.inf, np.inf
            found = self._between(image, start, low, high)
        return found

    def _between(self, image, start, low, high):
        """The medians, or None if one of them is not from ``low`` to ``high``."""
        arguments = (self.kept, self.tallies, image, start, *self.masks, low, high)
        run_rows(gather_block, len(image), *arguments, threads=self.threads)
        pairs = [select_median(self.kept[k], self.tallies[k]) for k in range(2)]
        return [np.float32(value) for value, _ in pairs] if all(found for _, found in pairs) else None

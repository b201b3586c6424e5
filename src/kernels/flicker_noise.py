"""Subtract 1/f noise that is measured on the background of the image itself.

Pixels that are read at about the same time share the drift of the electronics. In the difference of two groups (or an
image of rates) the background is subtracted, sources are masked, and what the remaining pixels of a line have in common
is the noise: the median of a line along the slow direction (S. Ravindranath and C. Willott's image1overf), or a fit of
low frequencies, `upramp.kernels.nsclean`.

The order, for an image: divide by the flat; take NaN out of the mask; limits of the background from the lower half of
its distribution, 3 sigma; subtract its level or model; limits again, ``n_sigma``; fit and subtract the noise; undo
level and flat. A ramp is rebuilt from its cleaned differences; a difference without background pixels is left out, and
its group keeps its value. Everything is float32, limits float64 (reference behaviour).

The mask of the background comes from slopes, see `background_mask`.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET
from upramp.kernels._jit import run_rows
from upramp.kernels._layout import as_canonical, check_shape
from upramp.kernels._line_medians import (
    keep_between,
    subtract_column_medians,
    subtract_row_medians,
    take_numbers,
)
from upramp.kernels._tiles import require_in_place
from upramp.kernels.background_mesh import background_mesh
from upramp.kernels.clipping import background_limits, float32_limits, make_sample, median, restrict

__all__ = [
    "CleanedImage",
    "FlickerFit",
    "background_level",
    "background_mask",
    "clean_image",
    "clean_ramp_in_place",
    "clean_rates_in_place",
    "median_ramp",
    "restore_flat",
    "scale_of_integrations",
]

CHANNEL_LINE = 2048  # lines of this length have four channels
CHANNELS = 4


class FlickerFit(NamedTuple):
    """How images are cleaned.

    axis : 1 if a value is fitted to every column of the image, 2 if to every row
    background : 'median', 'model' or None
    box_size : boxes of the background model (rows, columns), None for the default
    n_sigma : limits of the background [standard deviations], 0 for none
    by_channel : fit the four amplifiers of a full frame apart
    detector : name of the detector for a fit of frequencies; '' for medians of lines
    cutoffs : frequencies of its filter for subarrays [Hz]
    """

    axis: int
    background: str | None = "median"
    box_size: tuple | None = None
    n_sigma: float = 2.0
    by_channel: bool = False
    detector: str = ""
    cutoffs: tuple = (1061, 1211, 49943, 49957)


class CleanedImage(NamedTuple):
    """An image without its 1/f noise, and the background that was set aside: a number or an image [units of the image].

    data : (ny, nx) float32
    """

    data: np.ndarray
    background: float | np.ndarray


def background_mask(rate, start=None, *, n_sigma=2.0, fit_histogram=False, threads=None):
    """Pixels that show background: those with a rate, within limits about the typical one.

    Parameters
    ----------
    rate : (ny, nx) or (nint, ny, nx) float32
        Slopes [DN/s]; NaN or exactly 0 where there is none. Limits are found plane by plane.
    start : array of bool of the same shape, optional
        False for pixels that are not to be used.
    n_sigma : float
        Upper limit [standard deviations], the lower one is 3; 0 for no limits.
    fit_histogram : bool
        The standard deviation is that of a Gaussian fitted to the histogram.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    array of bool, of the shape of ``rate``
    """
    mask = np.ones(rate.shape, np.bool_) if start is None else np.array(start, np.bool_)
    mask &= ~np.isnan(rate) & (rate != 0)
    if n_sigma > 0:
        ny, nx = rate.shape[-2:]
        for image, plane in zip(rate.reshape(-1, ny, nx), mask.reshape(-1, ny, nx), strict=True):
            image = np.ascontiguousarray(image, np.float32)
            sample = make_sample(image, plane, threads)
            if sample is not None:
                limits = background_limits(sample, 3.0, n_sigma, fit_histogram=fit_histogram)
                keep_between(plane, image, np.float32(0), *float32_limits(*limits))
    return mask


def background_level(image, mask, background="median", box_size=None):
    """Level or model of the background; the mask loses what is more than 3 sigma from the centre.

    Parameters
    ----------
    image : (ny, nx) float32
    mask : (ny, nx) bool
        Pixels of the background; changed. None of them may be NaN.
    background : {'median', 'model'}
    box_size : (int, int), optional
        See `upramp.kernels.background_mesh`.

    Returns
    -------
    level : float32 or (ny, nx) float32
        A number where the model has no box with enough pixels.
    sample : Sample or None
        Values under the mask, as it is now.
    """
    sample = make_sample(image, mask)
    if sample is not None:
        low, high = float32_limits(*background_limits(sample, 3.0, 3.0, lower_half=True))
        keep_between(mask, image, np.float32(0), low, high)
        sample = restrict(sample, low, high)
    level = background_mesh(image, mask, box_size) if background == "model" else None
    if level is None:
        level = np.float32(np.nan) if sample is None else median(sample)
    return level, sample


def restore_flat(flat):
    """A flat field without holes: zeros and non-finite values become the local background of the others.

    Parameters
    ----------
    flat : (ny, nx) float32

    Returns
    -------
    (ny, nx) float32
    """
    flat = np.array(flat, np.float32)
    bad = (flat == 0) | ~np.isfinite(flat)
    if bad.any():
        level, _ = background_level(flat, ~bad, "model")
        flat[bad] = level if np.ndim(level) == 0 else level[bad]
    return flat


def clean_image(image, mask, fit, flat=None):
    """Clean one image of 1/f noise.

    Parameters
    ----------
    image : (ny, nx) float32
        Changed.
    mask : (ny, nx) bool
        Pixels of the background; changed.
    fit : FlickerFit
    flat : (ny, nx) float32, optional
        Flat field, for images with a strong background.

    Returns
    -------
    CleanedImage or None
        None if no pixel can be used.

    Raises
    ------
    numpy.linalg.LinAlgError
        The frequencies cannot be fitted to the pixels that there are.
    """
    if flat is not None:
        image /= flat
    nan = np.isnan(image)
    n, n_nan = take_numbers(image, mask)
    if n == 0:
        return None
    background, shift = 0.0, np.float32(0)
    if fit.background is not None:
        background, sample = background_level(image, mask, fit.background, fit.box_size)
        if np.ndim(background) == 0:
            shift = np.float32(background)
        else:
            image -= background
            sample = make_sample(image, mask)
        if fit.n_sigma > 0 and sample is not None and sample.size > 0:
            limits = background_limits(sample, fit.n_sigma, fit.n_sigma, shift=shift, lower_half=True)
            keep_between(mask, image, shift, *float32_limits(*limits))
    _subtract_noise(image, mask, shift, fit)
    if np.ndim(background) > 0:
        image += background
    if flat is not None:
        image *= flat
    if n_nan:
        image[nan] = np.nan
    return CleanedImage(image, background)


def _subtract_noise(image, mask, shift, fit):
    """Subtract the noise from an image less ``shift``, and add that again."""
    if fit.detector:
        from upramp.kernels.nsclean import subtract_frequency_noise

        image -= shift
        subtract_frequency_noise(image, mask, fit.detector, fit.cutoffs)
        image += shift
        return
    along = image.shape[fit.axis - 1]
    channels = CHANNELS if fit.by_channel and along == CHANNEL_LINE else 1
    subtract = subtract_column_medians if fit.axis == 1 else subtract_row_medians
    subtract(image, mask, shift, channels)


def clean_rates_in_place(data, mask, fit, *, flat=None, reference=None, background=None, threads=None):
    """Clean images of rates.

    Parameters
    ----------
    data : (n, ny, nx) float32
        Rates [DN/s]; changed. An image without background pixels stays as it is.
    mask : (ny, nx) or (n, ny, nx) bool
        Pixels of the background.
    fit : FlickerFit
    flat : (ny, nx) float32, optional
    reference : callable, optional
        ``reference(n)`` gives an image that is subtracted from image n before it is cleaned, and added after that.
    background : (n, ny, nx) float32, optional
        Where the background goes, for those who want to see it.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    list of int
        Images without a pixel of the background.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    numpy.linalg.LinAlgError
        A fit failed; ``data`` is not valid.
    """
    require_in_place(data, "data", np.float32, 3)
    _check_mask(mask, data)
    done = np.zeros(len(data), np.bool_)

    def clean(first, last):
        for k in range(first, last):
            image = data[k].copy() if reference is None else data[k] - reference(k)
            cleaned = clean_image(image, _plane(mask, k).copy(), fit, flat)
            if cleaned is None:
                continue
            done[k] = True
            data[k] = cleaned.data if reference is None else reference(k) + cleaned.data
            if background is not None:
                background[k] = cleaned.background if reference is None else reference(k)

    run_rows(clean, len(data), threads=threads, block=1)
    return np.flatnonzero(~done).tolist()


def clean_ramp_in_place(data, groupdq, mask, fit, *, flat=None, reference=None, background=None, threads=None):
    """Clean a ramp, difference by difference.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN]; changed. The first group stays, except with ``reference``.
    groupdq : (nint, ngroup, ny, nx) uint8
        Samples flagged DO_NOT_USE or JUMP_DET do not count as background.
    mask : (ny, nx) or (nint, ny, nx) bool
        Pixels of the background.
    fit : FlickerFit
    flat : (ny, nx) float32, optional
    reference : callable, optional
        ``reference(i)`` gives a ramp (ngroup, ny, nx) that is subtracted from the groups of integration i instead of
        the group before them, and added again. Flags do not count then (reference behaviour).
    background : (nint, ngroup, ny, nx) float32, optional
        Where the background goes, for those who want to see it.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    list of (int, int)
        Integration and group of images without a pixel of the background; these groups keep their value.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    numpy.linalg.LinAlgError
        A fit failed; ``data`` is not valid.
    """
    require_in_place(data, "data", np.float32, 4)
    groupdq = as_canonical(groupdq, "groupdq", np.uint8, 4)
    check_shape(groupdq, "groupdq", data.shape)
    _check_mask(mask, data)
    left_out = []
    for i in range(len(data)):
        plane, shown = _plane(mask, i), None if background is None else background[i]
        if reference is not None:
            ramp = reference(i)
            missed = clean_rates_in_place(
                data[i], plane, fit, flat=flat, reference=ramp.__getitem__, background=shown, threads=threads
            )
        else:
            missed = _clean_differences(data[i], groupdq[i], plane, fit, flat, shown, threads)
        left_out += [(i, g) for g in missed]
    return left_out


def _clean_differences(ramp, flags, mask, fit, flat, background, threads):
    """Clean one integration (ngroup, ny, nx); groups that could not be cleaned.

    The differences take the place of the groups, so that no copy of the ramp is needed.
    """
    ng, ny = ramp.shape[:2]

    def usable(g):
        return mask & ((flags[g] & (DO_NOT_USE | JUMP_DET)) == 0)

    missed = [g for g in range(1, ng) if not _has_numbers(ramp[g], ramp[g - 1], usable(g), flat)]
    kept = {g: ramp[g].copy() for g in missed}

    def take_differences(first, last):
        for g in range(ng - 1, 0, -1):
            ramp[g, first:last] -= ramp[g - 1, first:last]

    def clean(first, last):
        for g in range(first + 1, last + 1):
            if g in kept:
                continue
            cleaned = clean_image(ramp[g], usable(g), fit, flat)
            if background is not None:
                background[g] = cleaned.background

    def add_up(first, last):
        for g in range(1, ng):
            if g in kept:
                ramp[g, first:last] = kept[g][first:last]
            else:
                ramp[g, first:last] += ramp[g - 1, first:last]

    run_rows(take_differences, ny, threads=threads)
    run_rows(clean, ng - 1, threads=threads, block=1)
    run_rows(add_up, ny, threads=threads)
    return missed


def _has_numbers(image, before, mask, flat, rows=64):
    """Whether the difference of two images, divided by the flat, is a number at any pixel of the mask."""
    for first in range(0, len(image), rows):
        here = slice(first, first + rows)
        difference = image[here] - before[here]
        if flat is not None:
            difference /= flat[here]
        if (mask[here] & ~np.isnan(difference)).any():
            return True
    return False


def _plane(mask, k):
    return mask[k] if mask.ndim == 3 else mask


def _check_mask(mask, data):
    check_shape(mask, "mask", data.shape[-2:] if mask.ndim == 2 else (data.shape[0], *data.shape[-2:]))


def scale_of_integrations(rates):
    """Brightness of every integration relative to the typical one: from the median of its rates.

    Parameters
    ----------
    rates : (nint, ny, nx) float32
        Slopes [DN/s].

    Returns
    -------
    (nint,) float32, or None
        An integration without a finite value has the median of the others; None if there are no others.
    """
    with np.errstate(all="ignore"):
        flux = np.array([_nanmedian(image) for image in rates], np.float32)
        scale = flux / _nanmedian(flux)
    good = np.isfinite(scale)
    if not good.any():
        return None
    scale[~good] = np.median(scale[good])
    return scale


def _nanmedian(values):
    good = values[~np.isnan(values)]
    return np.median(good) if good.size else np.float32(np.nan)


def median_ramp(data, rows=64):
    """Median over the integrations.

    Parameters
    ----------
    data : (nint, ...) float32
        Ramps or images; NaN do not count.
    rows : int
        Planes are done so many rows at a time.

    Returns
    -------
    (...) float32
        NaN where all integrations are.
    """
    result = np.empty(data.shape[1:], np.float32)
    planes = np.ndindex(*data.shape[1:-2])
    for plane in planes:
        for first in range(0, data.shape[-2], rows):
            part = np.sort(data[(slice(None), *plane, slice(first, first + rows))], axis=0)  # NaN come last
            count = (~np.isnan(part)).sum(axis=0)
            low = np.take_along_axis(part, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
            high = np.take_along_axis(part, np.minimum(count // 2, len(part) - 1)[None], axis=0)[0]
            middle = np.where(count % 2 == 1, low, np.float32(0.5) * (low + high))
            result[(*plane, slice(first, first + rows))] = np.where(count > 0, middle, np.float32(np.nan))
    return result

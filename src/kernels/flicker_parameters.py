"""Choose how an image is to be cleaned of 1/f noise, from the image itself.

The rates are cleaned quickly, sources are replaced by a model of the background, and the profiles of the middle of the
image tell whether the background has a gradient and the amplifiers have levels of their own. Thresholds are those of
the reference pipeline, which found them by experience with images of NIRCam and NIRISS.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from upramp.kernels._layout import as_canonical
from upramp.kernels._line_medians import keep_between, subtract_column_medians, subtract_row_medians
from upramp.kernels.clipping import background_limits, float32_limits, make_sample
from upramp.kernels.flicker_noise import CHANNEL_LINE, CHANNELS, background_level

__all__ = ["NIRCAM", "NIRISS", "ChoiceRules", "ImageStatistics", "choose_fit", "image_statistics"]

MIDDLE = Fraction(3, 8), Fraction(5, 8)
ITERATIONS = 5


class ChoiceRules(NamedTuple):
    """What is peculiar to a detector.

    axis : 1 if its slow direction is along the rows (a value is fitted to every column), 2 if along the columns
    sigma_rows : part of the rows whose profile shows the scatter of a channel
    masked_fraction, slope, steep_slope, slope_ratio : thresholds of `ImageStatistics`; ``steep_slope`` is
        for images with few sources, or with offset channels
    channel_offset, channel_sigma : thresholds, too [DN/s]
    """

    axis: int
    sigma_rows: tuple
    masked_fraction: float
    slope: float
    steep_slope: float
    slope_ratio: float
    channel_offset: float = 0.07
    channel_sigma: float = 0.02


# The amplifier at the top of NIRISS often differs from the others.
NIRISS = ChoiceRules(1, (Fraction(10, 12), Fraction(11, 12)), 0.07, 1e-5, 1e-4, 5.0)
NIRCAM = ChoiceRules(2, MIDDLE, 0.1, 1e-5, 1e-5, 3.0)


class ImageStatistics(NamedTuple):
    """What the choice depends on.

    masked_fraction : part of the pixels that do not show background
    channel_offset : largest step between neighbouring channels [DN/s]; 0 unless lines have 2048 pixels
    slope : the larger of the gradients along rows and columns, without its sign [DN/s per pixel]
    slope_ratio : the larger gradient by the smaller one
    channel_sigma : scatter of a profile about a line [DN/s]
    """

    masked_fraction: float
    channel_offset: float
    slope: float
    slope_ratio: float
    channel_sigma: float


def image_statistics(rate, rules):
    """Measure the background of an image.

    Parameters
    ----------
    rate : (ny, nx) float32
        Slopes [DN/s], divided by the flat field if that is to be used; NaN where there is none.
    rules : ChoiceRules

    Returns
    -------
    ImageStatistics or None
        None if no pixel has a finite rate.

    Raises
    ------
    ShapeError, DTypeError
        The image is not what it should be.
    """
    image = as_canonical(rate, "rate", np.float32, 2).copy()
    mask = ~np.isnan(image)
    if not _clean_quickly(image, mask, rules.axis):
        return None
    background, _ = background_level(image, mask, "model")
    image[~mask] = background if np.ndim(background) == 0 else background[~mask]
    columns, rows = _profile(image, MIDDLE), _profile(image.T, MIDDLE)
    gradients = abs(_fit_line(columns)[0]), abs(_fit_line(rows)[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.float64(max(gradients)) / min(gradients)
    return ImageStatistics(
        masked_fraction=float((~mask).mean()),
        channel_offset=_channel_offset(rows if rules.axis == 1 else columns),
        slope=max(gradients),
        slope_ratio=float(ratio),
        channel_sigma=_fit_line(_profile(image, rules.sigma_rows))[1],
    )


def choose_fit(statistics, rules):
    """Background and channels that suit an image.

    Parameters
    ----------
    statistics : ImageStatistics
    rules : ChoiceRules

    Returns
    -------
    background : {'median', 'model'}
    by_channel : bool

    Notes
    -----
    Many sources hide the levels of the channels, so that these are not fitted. Channels with offsets of their own are,
    about one median, unless there are many sources. A model is for backgrounds with a gradient.
    """
    offset = statistics.channel_offset >= rules.channel_offset
    if statistics.masked_fraction >= rules.masked_fraction:
        sloping = statistics.slope >= (rules.steep_slope if offset else rules.slope)
        return "model" if sloping else "median", False
    if offset:
        return "median", True
    sloping = statistics.slope >= rules.steep_slope or (
        statistics.slope >= rules.slope and not statistics.slope_ratio >= rules.slope_ratio
    )
    by_channel = statistics.channel_offset > 0 and statistics.channel_sigma >= rules.channel_sigma
    return "model" if sloping else "median", by_channel


def _clean_quickly(image, mask, axis):
    """Find the background and subtract medians of lines, in place; False if there is no value.

    Other than in `clean_image`, limits are always 3 sigma below and 2 above, and rates of 0 count.
    """
    sample = make_sample(image, mask)
    if sample is None:
        return False
    keep_between(mask, image, np.float32(0), *float32_limits(*background_limits(sample, 3.0, 2.0)))
    level, sample = background_level(image, mask)
    if sample is not None and sample.size > 0:
        limits = background_limits(sample, 3.0, 2.0, shift=level, lower_half=True)
        keep_between(mask, image, level, *float32_limits(*limits))
    subtract = subtract_column_medians if axis == 1 else subtract_row_medians
    subtract(image, mask, level, 1)
    return True


def _profile(image, part):
    """Mean over a part of the rows: a value for every column."""
    # Bounds of fractions are exact, and halves are rounded as the reference does it.
    first, last = (round(fraction * len(image)) for fraction in part)
    return np.nanmean(image[first:last], axis=0) if last > first else np.full(image.shape[1], np.nan, np.float32)


def _fit_line(profile):
    """Gradient of a profile, and the scatter about the line, values beyond 10 sigma left out."""
    x = np.flatnonzero(np.isfinite(profile)).astype(np.float64)
    y = profile[np.isfinite(profile)].astype(np.float64)
    if x.size == 0:
        return np.nan, np.nan
    x -= x.mean()
    level, square = y.mean(), x @ x
    gradient = float(x @ (y - level) / square) if square > 0 else 0.0
    return gradient, float(_clipped(y - level - gradient * x, 10.0).std())


def _channel_offset(profile):
    """Largest step between the means of neighbouring channels."""
    if profile.size != CHANNEL_LINE:
        return 0.0
    channels = profile.astype(np.float64).reshape(CHANNELS, -1)
    return float(np.abs(np.diff([_clipped(channel, 3.0).mean() for channel in channels])).max())


def _clipped(values, limit):
    """Values within ``limit`` standard deviations of their median, again and again."""
    values = values[np.isfinite(values)]
    for _ in range(ITERATIONS):
        kept = values[np.abs(values - np.median(values)) <= limit * values.std()] if values.size else values
        if kept.size == values.size:
            break
        values = kept
    return values

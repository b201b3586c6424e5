"""Flag showers: faint, extended cosmic-ray events of the mid-infrared detectors, below the noise of single pixels.

Model: the differences ``d = e[k+1] - e[k]`` of the electrons ``e = data * gain`` of a pixel deviate from their median m
by ``|d - m| / sigma``, ``sigma = sqrt(|m| + r^2 / nframes)``, where ``r`` is the read noise of a difference [e-]; in
exposures of many integrations m and sigma are the clipped median and scatter of the difference over the integrations.
A group's plane of deviations is averaged over a ring around each pixel; connected regions above a threshold
(`upramp.kernels.regions`) are showers. Their enlarged ellipses are flagged as jumps in that group and some after it,
once all planes are searched; a pixel whose mean difference would change by more than a shower can do is left alone.

Source: reference behaviour; the average is summed directly in float64, where the reference has a Fourier transform.
NaN: a sample that is NaN, DO_NOT_USE, SATURATED, or has JUMP_DET and no other flag has no differences. Pixels without a
difference, and flagged ones, are left out of the averages; outside the frame the deviation is 0.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, REFERENCE_PIXEL, SATURATED
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._jump_search import _kept_sigma_clip
from upramp.kernels._layout import as_canonical, check_shape, writable_copy
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._rows import fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.jump import common_flags
from upramp.kernels.regions import ANGLE, CENTRE_X, CENTRE_Y, MAJOR, MINOR, ellipse_pixels, find_regions

__all__ = ["ShowerParameters", "ShowerResult", "flag_showers", "flag_showers_in_place"]

MINIMUM_DIFFERENCES = 10
_FLAGGED = DO_NOT_USE | SATURATED | JUMP_DET
_CLIP_SIGMA = 5.0
_WIDTH = 128  # columns whose differences are sorted together


@dataclass(frozen=True)
class ShowerParameters:
    """How showers are found and flagged; the names are those of the jump step.

    Attributes
    ----------
    extend_snr_threshold : float
        Threshold of the averaged deviation [sigma].
    extend_min_area : float
        Smallest region that counts, holes filled [pixel].
    extend_inner_radius, extend_outer_radius : float
        Inner radius of the ring, and its width [pixel].
    extend_ellipse_expand_ratio : float
        By this factor the minor axis grows; the major axis grows by as many pixels.
    time_masked_after_shower : float
        For how long groups after a shower are flagged [s].
    max_extended_radius : float
        No semi-axis grows beyond this [pixel].
    minimum_sigclip_groups : int
        From so many integrations on, m and sigma are clipped statistics over the integrations.
    max_shower_amplitude : float
        Largest change of a pixel's mean difference, for each second of group time [e-/s]. The step leaves the default:
        in the reference its parameter of this name, meant in DN, has no effect.
    """

    extend_snr_threshold: float = 1.2
    extend_min_area: float = 90
    extend_inner_radius: float = 1.0
    extend_outer_radius: float = 2.6
    extend_ellipse_expand_ratio: float = 1.1
    time_masked_after_shower: float = 15.0
    max_extended_radius: float = 200
    minimum_sigclip_groups: int = 100
    max_shower_amplitude: float = 6.0


class ShowerResult(NamedTuple):
    """Group flags (nint, ngroup, ny, nx) uint8 and the number of showers."""

    groupdq: np.ndarray
    n_showers: int


class _Growth(NamedTuple):
    """How far a shower is flagged: factor of its axes, largest full axis [pixel], groups after it, change [e-]."""

    factor: float
    widest: float
    n_after: int
    limit: float


@helper
def _difference_row(out, data, gdq, gain, k, r, left, right):
    """Differences [e-] between the groups k and k + 1 of one integration; NaN where one of them is unusable."""
    a, b = data[k, r, left:right], data[k + 1, r, left:right]
    p, q = gdq[k, r, left:right], gdq[k + 1, r, left:right]
    g = gain[r, left:right]
    bits = np.uint8(0)
    for x in range(g.size):
        out[x] = b[x] * g[x] - a[x] * g[x]
        bits |= p[x] | q[x]
    if (bits & _FLAGGED) != 0:
        for x in range(g.size):
            unusable = ((p[x] | q[x]) & (DO_NOT_USE | SATURATED)) != 0 or p[x] == JUMP_DET or q[x] == JUMP_DET
            out[x] += np.float32(np.nan) if unusable else np.float32(0)


@helper
def _set_aside_nan(values, counts, n, width):
    """Count the numbers among the first ``n`` rows of each column, and make NaN the last in their order."""
    fill_row(counts, np.int32(0))
    for j in range(n):
        v = values[j]
        for x in range(width):
            number = v[x] == v[x]
            counts[x] += np.int32(number)
            v[x] = v[x] if number else np.float32(np.inf)


@kernel
def _noise_tile(median, sigma, data, gdq, gain, read_noise, nframes, first, last, left, right):
    """Median and noise [e-] of all differences of each pixel of the region; NaN where there is none."""
    ni, steps = data.shape[0], data.shape[1] - 1
    values = np.empty((ni * steps, _WIDTH), np.float32)
    counts = np.empty(_WIDTH, np.int32)
    half, reads = np.float32(0.5), np.float32(nframes)
    for r in range(first, last):
        for start in range(left, right, _WIDTH):
            stop = min(start + _WIDTH, right)
            for i in range(ni):
                for k in range(steps):
                    _difference_row(values[i * steps + k], data[i], gdq[i], gain, k, r, start, stop)
            _set_aside_nan(values, counts, ni * steps, stop - start)
            sort_lanes(values, ni * steps, stop - start)
            for x in range(stop - start):
                n = counts[x]
                noise = read_noise[r, start + x] * gain[r, start + x]
                m = np.float32(np.nan)
                if n > 0:
                    m = half * (values[(n - 1) // 2, x] + values[n // 2, x])
                median[r, start + x] = m
                sigma[r, start + x] = np.sqrt(abs(m) + noise * noise / reads)


@kernel
def _clipped_noise_tile(median, sigma, data, gdq, gain, k, first, last, left, right):
    """Clipped median and standard deviation [e-], over the integrations, of the differences after group ``k``."""
    ni = data.shape[0]
    values = np.empty((ni, _WIDTH), np.float32)
    counts = np.empty(_WIDTH, np.int32)
    for r in range(first, last):
        for start in range(left, right, _WIDTH):
            stop = min(start + _WIDTH, right)
            for i in range(ni):
                _difference_row(values[i], data[i], gdq[i], gain, k, r, start, stop)
                for x in range(stop - start):
                    # Infinite differences are no numbers here (reference behaviour).
                    values[i, x] += np.float32(0) * values[i, x]
            _set_aside_nan(values, counts, ni, stop - start)
            sort_lanes(values, ni, stop - start)
            for x in range(stop - start):
                m, scatter = np.nan, np.nan
                if counts[x] > 0:
                    lower, upper = _kept_sigma_clip(values, x, counts[x], _CLIP_SIGMA)
                    m = lane_median(values, x, lower, upper)
                    mean = 0.0
                    for j in range(lower, upper):
                        mean += values[j, x]
                    mean /= upper - lower
                    scatter = 0.0
                    for j in range(lower, upper):
                        scatter += (values[j, x] - mean) ** 2
                    scatter = math.sqrt(scatter / (upper - lower))
                median[r, start + x], sigma[r, start + x] = m, scatter


def _ring(inner, width):
    """The ring of pixels whose centre is at least ``inner`` and at most ``inner + width`` away.

    Returns half-widths of its rows, (2, radius + 1) int64 of the whole disc and of the one left out (-1: nothing), and
    the number of its pixels.
    """
    outer = inner + width
    radius = max(math.floor(outer), 0)
    columns = np.arange(radius + 1)
    squares = columns**2 + columns[:, None] ** 2
    halves = np.array([(squares <= outer**2).sum(axis=1) - 1, (squares < inner**2).sum(axis=1) - 1])
    disc, hole = ((2 * halves + 1) * (halves >= 0) @ np.where(columns > 0, 2, 1)).tolist()
    return halves, float(disc - hole)


@helper
def _load_windows(windows, line, data, gdq, pdq, gain, median, sigma, k, r, reach):
    """Deviations of a row, and where there is none, summed over ``2 w + 1`` columns: windows[0 or 1, w, x].

    ``line`` (nx + 2 * reach) float64 and ``windows[..., reach : nx + reach]`` have a margin of zeros.
    """
    nx = pdq.shape[1]
    d = np.empty(nx, np.float32)
    _difference_row(d, data, gdq, gain, k - 1, r, 0, nx)
    q, p, m, s = gdq[k, r], pdq[r], median[r], sigma[r]
    for kind in range(2):
        inside = line[reach : reach + nx]
        for x in range(nx):
            ratio = abs(d[x] - m[x]) / s[x]
            flagged = ((np.uint32(q[x]) | p[x]) & _FLAGGED) != 0 or p[x] == REFERENCE_PIXEL
            missing = flagged or not ratio < np.inf
            if kind == 0:
                inside[x] = 0.0 if missing else ratio
            else:
                inside[x] = 1.0 if missing else 0.0
        target = windows[kind, 0]
        for x in range(nx):
            target[x] = inside[x]
        for w in range(1, reach + 1):
            below, target = windows[kind, w - 1], windows[kind, w]
            left, right = line[reach - w : reach - w + nx], line[reach + w : reach + w + nx]
            for x in range(nx):
                target[x] = below[x] + (left[x] + right[x])


@kernel
def _mark_extended(mask, data, gdq, pdq, gain, median, sigma, k, ring, size, threshold):
    """Write 1 into ``mask`` where the average of the deviations in group ``k`` is above the threshold, else 0.

    ``ring`` and ``size`` as from `_ring`.
    """
    ny, nx = mask.shape
    reach = ring.shape[1] - 1
    depth = 2 * reach + 1
    windows = np.empty((depth, 2, reach + 1, nx))
    line = np.zeros(nx + 2 * reach)
    total, missing = np.empty(nx), np.empty(nx)
    for r in range(ny + reach):
        if r < ny:
            _load_windows(windows[r % depth], line, data, gdq, pdq, gain, median, sigma, k, r, reach)
        y = r - reach
        if y < 0:
            continue
        fill_row(total, 0.0)
        fill_row(missing, 0.0)
        for row in range(max(y - reach, 0), min(y + reach + 1, ny)):
            sums = windows[row % depth]
            disc, hole = ring[0, abs(row - y)], ring[1, abs(row - y)]
            if disc >= 0:
                a, b = sums[0, disc], sums[1, disc]
                for x in range(nx):
                    total[x] += a[x]
                    missing[x] += b[x]
            if hole >= 0:
                a, b = sums[0, hole], sums[1, hole]
                for x in range(nx):
                    total[x] -= a[x]
                    missing[x] -= b[x]
        centre = windows[y % depth, 1, 0]
        out = mask[y]
        for x in range(nx):
            out[x] = centre[x] == 0 and total[x] > threshold * (size - missing[x]) and missing[x] < size


@kernel
def _first_usable_group(gdq, pdq):
    """First group with a pixel that has not DO_NOT_USE and is no reference pixel; 0 if there is none."""
    for k in range(gdq.shape[0]):
        for r in range(pdq.shape[0]):
            q, p = gdq[k, r], pdq[r]
            for x in range(q.size):
                if (q[x] & DO_NOT_USE) == 0 and p[x] != REFERENCE_PIXEL:
                    return k
    return 0


@helper
def _shower_pixels(ellipse, growth, shape):
    """Pixels of the enlarged ellipse of a shower."""
    minor = min(ellipse[MINOR] * growth.factor, growth.widest)
    major = min(ellipse[MAJOR] + (growth.factor - 1.0) * ellipse[MINOR], growth.widest)
    semi_minor, semi_major = round(minor / 2), round(major / 2)
    x, y = ellipse[CENTRE_X], ellipse[CENTRE_Y]
    return ellipse_pixels(x, y, semi_minor, semi_major, ellipse[ANGLE], shape[0], shape[1])


@helper
def _mean_difference(data, flags, gain, y, x):
    """Mean difference [e-] of the samples of a pixel without flags; float32 sums."""
    total, n = np.float32(0), 0
    for k in range(flags.size - 1):
        if ((flags[k] | flags[k + 1]) & _FLAGGED) == 0:
            d = data[k + 1, y, x] * gain[y, x] - data[k, y, x] * gain[y, x]
            if d == d:
                total += d
                n += 1
    return np.float32(total / float(n))


@kernel
def _flag_integration(gdq, data, pdq, gain, ellipses, groups, growth):
    """Flag the showers of one integration: ``ellipses`` (n, 5), and the group of each."""
    position = np.full(pdq.shape, -1, np.int32)
    columns = np.empty((pdq.size, 2), np.int32)
    n = 0
    for e in range(groups.size):
        pixels = _shower_pixels(ellipses[e], growth, pdq.shape)
        for j in range(pixels.shape[0]):
            y, x = pixels[j, 0], pixels[j, 1]
            if position[y, x] < 0 and pdq[y, x] != REFERENCE_PIXEL:
                position[y, x] = n
                columns[n, 0], columns[n, 1] = y, x
                n += 1
    ng = gdq.shape[0]
    flags = np.empty((n, ng), np.uint8)
    for j in range(n):
        for k in range(ng):
            flags[j, k] = gdq[k, columns[j, 0], columns[j, 1]]
    for e in range(groups.size):
        pixels = _shower_pixels(ellipses[e], growth, pdq.shape)
        for j in range(pixels.shape[0]):
            p = position[pixels[j, 0], pixels[j, 1]]
            for k in range(groups[e], min(groups[e] + growth.n_after + 1, ng)):
                if p < 0 or (flags[p, k] & SATURATED) != 0:
                    break
                flags[p, k] |= JUMP_DET
    before = np.empty(ng, np.uint8)
    for j in range(n):
        y, x = columns[j, 0], columns[j, 1]
        for k in range(ng):
            before[k] = gdq[k, y, x]
        change = abs(_mean_difference(data, before, gain, y, x) - _mean_difference(data, flags[j], gain, y, x))
        # Not finite: the pixel has no difference left, and would be lost.
        if change <= np.float32(growth.limit):
            for k in range(ng):
                gdq[k, y, x] = flags[j, k]


def _search(groupdq, data, pixeldq, gain, read_noise, nframes, p, threads):
    """Ellipses of all showers: lists, by integration, of (group, ellipses)."""
    ni, ng = data.shape[:2]
    ring, size = _ring(float(p.extend_inner_radius), float(p.extend_outer_radius))
    median, sigma = np.empty(pixeldq.shape, np.float32), np.empty(pixeldq.shape, np.float32)
    starts = [_first_usable_group(groupdq[i], pixeldq) + 1 for i in range(ni)]
    found = [[] for _ in range(ni)]

    def search_planes(planes):
        results = [None] * len(planes)

        def search(first, last):
            for n in range(first, last):
                i, k = planes[n]
                mask = np.empty(pixeldq.shape, np.uint8)
                arrays = mask, data[i], groupdq[i], pixeldq, gain, median, sigma
                _mark_extended(*arrays, k, ring, size, float(p.extend_snr_threshold))
                results[n] = find_regions(mask, float(p.extend_min_area))

        run_rows(search, len(planes), threads=threads, block=1)
        for (i, k), ellipses in zip(planes, results, strict=True):
            if len(ellipses):
                found[i].append((k, ellipses))

    if ni < p.minimum_sigclip_groups:
        run_tile(_noise_tile, median, sigma, data, groupdq, gain, read_noise, int(nframes), threads=threads, block=8)
        search_planes([(i, k) for i in range(ni) for k in range(starts[i], ng)])
    else:
        for k in range(1, ng):
            run_tile(_clipped_noise_tile, median, sigma, data, groupdq, gain, k - 1, threads=threads, block=8)
            search_planes([(i, k) for i in range(ni) if k >= starts[i]])
    return found


def flag_showers_in_place(
    data, groupdq, pixeldq, gain, read_noise, *, nframes, group_time, parameters=None, threads=None
):
    """`flag_showers` without the copy: changes the group flags, returns the number of showers."""
    p = parameters or ShowerParameters()
    data = as_canonical(data, "data", np.float32, 4)
    require_in_place(groupdq, "groupdq", np.uint8, 4)
    pixeldq = as_canonical(pixeldq, "pixeldq", np.uint32, 2)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    check_shape(groupdq, "groupdq", data.shape)
    for array, name in ((pixeldq, "pixeldq"), (gain, "gain"), (read_noise, "read_noise")):
        check_shape(array, name, data.shape[-2:])
    ni, ng = data.shape[:2]
    if data.size == 0 or ni * (ng - 1) - int((common_flags(groupdq) & DO_NOT_USE).sum()) < MINIMUM_DIFFERENCES:
        return 0
    found = _search(groupdq, data, pixeldq, gain, read_noise, nframes, p, threads)
    growth = _Growth(
        float(p.extend_ellipse_expand_ratio),
        2.0 * p.max_extended_radius,
        int(p.time_masked_after_shower // group_time),
        float(p.max_shower_amplitude * group_time),
    )

    def flag(first, last):
        for i in range(first, last):
            if found[i]:
                ellipses = np.concatenate([one for _, one in found[i]])
                groups = np.concatenate([np.full(len(one), k) for k, one in found[i]])
                _flag_integration(groupdq[i], data[i], pixeldq, gain, ellipses, groups, growth)

    run_rows(flag, ni, threads=threads, block=1)
    return sum(len(ellipses) for one in found for _, ellipses in one)


def flag_showers(data, groupdq, pixeldq, gain, read_noise, *, nframes, group_time, parameters=None, threads=None):
    """Find and flag showers in an exposure whose jumps are flagged.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts, linear and dark-subtracted [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags.
    pixeldq : (ny, nx) uint32
        Pixel flags; DO_NOT_USE pixels, and those that are REFERENCE_PIXEL and nothing else, are left out.
    gain : (ny, nx) float32
        Gain [e-/DN].
    read_noise : (ny, nx) float32
        Noise of the difference of two reads [DN].
    nframes : int
        Reads averaged into a group.
    group_time : float
        Time between groups [s].
    parameters : ShowerParameters, optional
        The defaults of the jump step if None.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    ShowerResult
        New group flags with JUMP_DET in showers, and the number of showers. Exposures of fewer than 10 differences that
        the frame can use stay as they are.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source and NaN rule: see the module. Cost: a sort of the differences of every pixel and some 40 operations per
    sample; memory is two planes of the frame, and a plane of flags per thread.
    """
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    count = flag_showers_in_place(
        data,
        groupdq,
        pixeldq,
        gain,
        read_noise,
        nframes=nframes,
        group_time=group_time,
        parameters=parameters,
        threads=threads,
    )
    return ShowerResult(groupdq, count)

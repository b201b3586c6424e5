"""Flag showers: faint, extended cosmic-ray events of the mid-infrared detectors, below the noise of single pixels.

Model: the differences ``d = e[k+1] - e[k]`` of the electrons ``e = data * gain`` of a pixel deviate from their median m
by ``|d - m| / sigma``, ``sigma = sqrt(|m| + r^2 / nframes)``, where ``r`` is the read noise of a difference [e-]; in
exposures of many integrations m and sigma are the clipped median and scatter of the difference over the integrations.
A group's plane of deviations is averaged over a ring around each pixel; connected regions above a threshold
(`upramp.kernels.regions`) are showers. Their enlarged ellipses are flagged as jumps in that group and some after it,
once all planes are searched; a pixel whose mean difference would change by more than a shower can do is left alone.

Source: reference behaviour; the average is summed directly, in float32 and once more in float64 where rounding could
decide, where the reference has a Fourier transform.
NaN: a sample that is NaN, DO_NOT_USE, SATURATED, or has JUMP_DET and no other flag has no differences. Pixels without a
difference, and flagged ones, are left out of the averages; outside the frame the deviation is 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, REFERENCE_PIXEL, SATURATED
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._jump_rules import clip_limits, median_of_rows
from upramp.kernels._layout import as_canonical, as_count, as_time, check_shape, writable_copy
from upramp.kernels._median import sort_lanes
from upramp.kernels._ring_average import mark_extended_tile, ring_of_pixels
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels._vectors import LANES, doubles, floats, load, select, splat, sqrt, store
from upramp.kernels.jump import common_flags
from upramp.kernels.regions import ANGLE, CENTRE_X, CENTRE_Y, MAJOR, MINOR, ellipse_pixels, find_regions

__all__ = ["ShowerParameters", "ShowerResult", "flag_showers", "flag_showers_in_place"]

MINIMUM_DIFFERENCES = 10
_FLAGGED = DO_NOT_USE | SATURATED | JUMP_DET
_CLIP_SIGMA = 5.0
_WIDTH = 352  # columns whose differences are sorted together: a third of a row of MIRI, and a multiple of 16
_PLANES = 32  # groups that are searched together: there is a mask for each


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
    """Differences [e-] between the groups k and k + 1 of one integration; NaN where one of them is unusable.

    Returns 0, and leaves ``out`` as it is, if that is so in all columns because of DO_NOT_USE or SATURATED.
    """
    a, b = data[k, r, left:right], data[k + 1, r, left:right]
    p, q = gdq[k, r, left:right], gdq[k + 1, r, left:right]
    g = gain[r, left:right]
    bits, common = np.uint8(0), np.uint8(255)
    for x in range(g.size):
        here = p[x] | q[x]
        bits |= here
        common &= here | (here >> 1)
    if (common & DO_NOT_USE) != 0:
        return 0
    for x in range(g.size):
        out[x] = b[x] * g[x] - a[x] * g[x]
    if (bits & _FLAGGED) != 0:
        for x in range(g.size):
            unusable = ((p[x] | q[x]) & (DO_NOT_USE | SATURATED)) != 0 or p[x] == JUMP_DET or q[x] == JUMP_DET
            out[x] += np.float32(np.nan) if unusable else np.float32(0)
    return 1


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


@helper
def _leave_out(median, pdq):
    """Make the median of pixels NaN that have no deviation in any group."""
    for x in range(pdq.size):
        flagged = (pdq[x] & _FLAGGED) != 0 or pdq[x] == REFERENCE_PIXEL
        median[x] += np.float32(np.nan) if flagged else np.float32(0)


@kernel
def _noise_tile(median, sigma, data, gdq, pdq, gain, read_noise, nframes, first, last, left, right):
    """Median and noise [e-] of all differences of each pixel of the region; NaN where there is none.

    The median of pixels that are flagged themselves is NaN too.
    """
    ni, steps = data.shape[0], data.shape[1] - 1
    # Zeros: lanes beyond the end of a row are sorted with the others. A whole row of every group is loaded at once, for
    # short ones wait for memory (twice the time of loading).
    values = np.zeros(((right - left + _WIDTH - 1) // _WIDTH, ni * steps, _WIDTH), np.float32)
    rows = np.empty(values.shape[0], np.int64)
    counts = np.empty(_WIDTH, np.int32)
    half, reads = np.float32(0.5), np.float32(nframes)
    for r in range(first, last):
        fill_row(rows, 0)
        for i in range(ni):
            for k in range(steps):
                for piece in range(rows.size):
                    start = left + piece * _WIDTH
                    stop = min(start + _WIDTH, right)
                    d = values[piece, rows[piece]]
                    rows[piece] += _difference_row(d, data[i], gdq[i], gain, k, r, start, stop)
        for piece in range(rows.size):
            start = left + piece * _WIDTH
            width = min(_WIDTH, right - start)
            ordered = values[piece]
            _set_aside_nan(ordered, counts, rows[piece], width)
            # A multiple of 16 lanes takes only the packed loop.
            sort_lanes(ordered, rows[piece], (width + 15) // 16 * 16)
            for x in range(width):
                n = counts[x]
                noise = read_noise[r, start + x] * gain[r, start + x]
                m = np.float32(np.nan)
                if n > 0:
                    m = half * (ordered[(n - 1) // 2, x] + ordered[n // 2, x])
                median[r, start + x] = m
                sigma[r, start + x] = np.sqrt(abs(m) + noise * noise / reads)
        _leave_out(median[r, left:right], pdq[r, left:right])


@helper
def _clipped_statistics(ordered, count, n):
    """Median and standard deviation (float32) of what is between the limits of sigma clipping; NaN without values."""
    zero, one = np.float32(0), np.float32(1)
    low, high = clip_limits(ordered, count, n, _CLIP_SIGMA)
    below, inside, total, squares = splat(zero), splat(zero), splat(0.0), splat(0.0)
    for j in range(n):
        v = doubles(load(ordered[j], 0))
        kept = (count > np.float32(j)) & (v >= low) & (v <= high)
        below = below + select(v < low, one, zero)
        inside = inside + select(kept, one, zero)
        total = total + select(kept, v, 0.0)
    size = doubles(inside)
    mean = total / size
    for j in range(n):
        v = doubles(load(ordered[j], 0))
        kept = (count > np.float32(j)) & (v >= low) & (v <= high)
        squares = squares + select(kept, (v - mean) * (v - mean), 0.0)
    median = median_of_rows(ordered, below, inside, n)
    nan, some = np.float32(np.nan), inside > zero
    return select(some, floats(median), nan), select(some, floats(sqrt(squares / size)), nan)


@kernel
def _clipped_noise_tile(median, sigma, data, gdq, pdq, gain, k, first, last, left, right):
    """Clipped median and standard deviation [e-], over the integrations, of the differences after group ``k``.

    The median of pixels that are flagged themselves is NaN.
    """
    ni = data.shape[0]
    # Zeros: lanes beyond the end of a row are clipped with the others.
    values = np.zeros((ni, _WIDTH), np.float32)
    counts = np.zeros(_WIDTH, np.int32)
    ordered, clipped = np.empty((ni, LANES), np.float32), np.empty((2, LANES), np.float32)
    for r in range(first, last):
        for start in range(left, right, _WIDTH):
            stop = min(start + _WIDTH, right)
            rows = 0
            for i in range(ni):
                if _difference_row(values[rows], data[i], gdq[i], gain, k, r, start, stop) == 0:
                    continue
                for x in range(stop - start):
                    # Infinite differences are no numbers here (reference behaviour).
                    values[rows, x] += np.float32(0) * values[rows, x]
                rows += 1
            _set_aside_nan(values, counts, rows, stop - start)
            sort_lanes(values, rows, stop - start)
            for x in range(0, stop - start, LANES):
                count = floats(load(counts, x))
                for j in range(rows):
                    store(ordered[j], 0, load(values[j], x))
                m, scatter = _clipped_statistics(ordered, count, rows)
                store(clipped[0], 0, m)
                store(clipped[1], 0, scatter)
                n = min(LANES, stop - start - x)
                copy_row(median[r, start + x : start + x + n], clipped[0, :n])
                copy_row(sigma[r, start + x : start + x + n], clipped[1, :n])
            _leave_out(median[r, start:stop], pdq[r, start:stop])


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
def _shower_pixels(ellipse, growth, first, last, shape):
    """Pixels of the enlarged ellipse of a shower; none if it does not come near the rows first ... last - 1."""
    minor = min(ellipse[MINOR] * growth.factor, growth.widest)
    major = min(ellipse[MAJOR] + (growth.factor - 1.0) * ellipse[MINOR], growth.widest)
    semi_minor, semi_major = round(minor / 2), round(major / 2)
    x, y = ellipse[CENTRE_X], ellipse[CENTRE_Y]
    reach = max(semi_minor, semi_major) + 2
    if y + reach < first or y - reach > last:
        return np.empty((0, 2), np.int32)
    return ellipse_pixels(x, y, semi_minor, semi_major, ellipse[ANGLE], shape[0], shape[1])


@helper
def _changes(scratch, data, gdq, flags, gain, places):
    """Change of the mean difference [e-] of the samples without flags of some pixels by new flags; float32 sums.

    ``data`` and ``gdq`` are (ngroup, ny * nx), ``gain`` (ny * nx); the columns of ``flags`` (ngroup, n) are those of
    the pixels at ``places`` (n). Returns a part of ``scratch``.
    """
    n = places.size
    g, before, after, change = scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n]
    sum_old, n_old, sum_new, n_new = scratch[4, :n], scratch[5, :n], scratch[6, :n], scratch[7, :n]
    for row in range(4, 8):
        fill_row(scratch[row, :n], np.float32(0))
    for m in range(n):
        g[m] = gain[places[m]]
        before[m] = data[0, places[m]] * g[m]
    zero, one = np.float32(0), np.float32(1)
    for k in range(flags.shape[0] - 1):
        p, q = flags[k], flags[k + 1]
        for m in range(n):
            after[m] = data[k + 1, places[m]] * g[m]
        for m in range(n):
            d = after[m] - before[m]
            there = (((gdq[k, places[m]] | gdq[k + 1, places[m]]) & _FLAGGED) == 0) & (d == d)
            sum_old[m] += d if there else zero
            n_old[m] += one if there else zero
        for m in range(n):
            d = after[m] - before[m]
            there = (((p[m] | q[m]) & _FLAGGED) == 0) & (d == d)
            sum_new[m] += d if there else zero
            n_new[m] += one if there else zero
        for m in range(n):
            before[m] = after[m]
    for m in range(n):
        change[m] = abs(sum_old[m] / n_old[m] - sum_new[m] / n_new[m])
    return change


@kernel
def _flag_rows(first, last, gdq, data, pdq, gain, ellipses, groups, growth):
    """Flag the showers of one integration in some rows: ``ellipses`` (n, 5), and the group of each."""
    ng, ny, nx = gdq.shape
    position = np.full((last - first, nx), -1, np.int32)
    # Unsigned: compiled code does not ask whether an index is negative.
    places = np.empty((last - first) * nx, np.uint32)
    n = 0
    for e in range(groups.size):
        pixels = _shower_pixels(ellipses[e], growth, first, last, pdq.shape)
        for j in range(pixels.shape[0]):
            y, x = pixels[j, 0], pixels[j, 1]
            if first <= y < last and position[y - first, x] < 0 and pdq[y, x] != REFERENCE_PIXEL:
                position[y - first, x] = n
                places[n] = y * nx + x
                n += 1
    plane = ny * nx
    samples, old, gains = data.reshape((ng, plane)), gdq.reshape((ng, plane)), gain.reshape(plane)
    flags = np.empty((ng, n), np.uint8)
    for k in range(ng):
        q = flags[k]
        for j in range(n):
            q[j] = old[k, places[j]]
    for e in range(groups.size):
        pixels = _shower_pixels(ellipses[e], growth, first, last, pdq.shape)
        for j in range(pixels.shape[0]):
            y = pixels[j, 0]
            p = position[y - first, pixels[j, 1]] if first <= y < last else -1
            for k in range(groups[e], min(groups[e] + growth.n_after + 1, ng)):
                if p < 0 or (flags[k, p] & SATURATED) != 0:
                    break
                flags[k, p] |= JUMP_DET
    scratch = np.empty((8, _WIDTH), np.float32)
    for start in range(0, n, _WIDTH):
        some, new = places[start : min(start + _WIDTH, n)], flags[:, start:]
        change = _changes(scratch, samples, old, new, gains, some)
        for k in range(ng):
            q = new[k]
            for m in range(change.size):
                # Not finite: the pixel has no difference left, and would be lost.
                if change[m] <= np.float32(growth.limit):
                    old[k, some[m]] = q[m]


def _search(groupdq, data, pixeldq, gain, read_noise, nframes, p, threads):
    """Ellipses of all showers: lists, by integration, of (group, ellipses)."""
    ni, ng = data.shape[:2]
    ring, size = ring_of_pixels(float(p.extend_inner_radius), float(p.extend_outer_radius))
    median, sigma = np.empty(pixeldq.shape, np.float32), np.empty(pixeldq.shape, np.float32)
    starts = [_first_usable_group(groupdq[i], pixeldq) + 1 for i in range(ni)]
    found = [[] for _ in range(ni)]
    masks = np.empty((min(_PLANES, ni * ng), *pixeldq.shape), np.uint8)

    def search_planes(planes):
        for start in range(0, len(planes), len(masks)):
            some = planes[start : start + len(masks)]
            arrays = masks, data, groupdq, gain, median, sigma, np.array(some, np.int64)
            threshold = float(p.extend_snr_threshold)
            run_tile(mark_extended_tile, *arrays, ring, size, threshold, threads=threads)
            results = [None] * len(some)

            def search(first, last, results=results):
                for n in range(first, last):
                    results[n] = find_regions(masks[n], float(p.extend_min_area))

            run_rows(search, len(some), threads=threads, block=1)
            for (i, k), ellipses in zip(some, results, strict=True):
                if len(ellipses):
                    found[i].append((k, ellipses))

    arrays = median, sigma, data, groupdq, pixeldq, gain
    if ni < p.minimum_sigclip_groups:
        run_tile(_noise_tile, *arrays, read_noise, int(nframes), threads=threads, block=8)
        search_planes([(i, k) for i in range(ni) for k in range(starts[i], ng)])
    else:
        for k in range(1, ng):
            run_tile(_clipped_noise_tile, *arrays, k - 1, threads=threads, block=8)
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

    for i in range(ni):
        if found[i]:
            ellipses = np.concatenate([one for _, one in found[i]])
            groups = np.concatenate([np.full(len(one), k) for k, one in found[i]])
            arrays = groupdq[i], data[i], pixeldq, gain
            run_rows(_flag_rows, data.shape[2], *arrays, ellipses, groups, growth, threads=threads, block=128)
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
    ParameterError
        The ring has more than 65535 pixels, the group time is not positive, or ``nframes`` not a count.

    Notes
    -----
    Source and NaN rule: see the module. Cost: a sort of the differences of every pixel and some 40 operations per
    sample; memory is two planes of the frame, and one of bytes for each of 32 groups.
    """
    group_time = as_time(group_time, "group_time")
    nframes = as_count(nframes, "nframes")
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

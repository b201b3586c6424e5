"""The least-squares fit of every segment: what `ramp_fit` combines, laid out segment by segment.

For a segment of n >= 3 groups ``y_k`` with the weights ``w_k = |(k - mid)/mid|^p / rn^2`` of `ramp_fit` at the times
``x_k`` (the numbers of the groups), with centre ``c``:

    slope per group b, its error         1 / sqrt(M),  M = sum w (x - c)^2
    intercept ``sum w y / sum w - b c``  and its error  sqrt(1 / sum w + c^2 / M)

Source: Fixsen et al. (2000), PASP 112, 1350; reference behaviour for what is stored, and for its units: the errors of
slope and intercept are those of electrons per group. NaN samples count as 0, as in `ramp_fit`.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import as_canonical, as_count, as_time, check_shape
from upramp.kernels._segments import (
    N_BAD,
    POWER_LIMITS,
    SUPPRESSED,
    UNUSABLE,
    ZEROFRAME,
    find_segments,
    integration_kind,
    lone_time,
    median_rate,
    segment_shape,
    segment_slope,
    survey_flags,
)
from upramp.kernels._tiles import run_tile
from upramp.kernels.ramp_fit import choose_groups, segment_weights, suppresses_one_group

__all__ = ["SegmentDetails", "fit_segments"]

_POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)
_SLOPE, _SIGSLOPE, _VAR_POISSON, _VAR_RNOISE, _YINT, _SIGYINT, _WEIGHT = range(7)


class SegmentDetails(NamedTuple):
    """Results per segment, (nint, nsegment, ny, nx) float32, 0 where a ramp has fewer segments.

    slope [DN/s], var_poisson, var_rnoise [(DN/s)^2], yint [DN], sigslope, sigyint [e-], weights [(s/DN)^2];
    pedestal (nint, ny, nx) [DN]; crmag (nint, ncr, ny, nx), the height of the jumps in time order [DN].
    """

    slope: np.ndarray
    sigslope: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    yint: np.ndarray
    sigyint: np.ndarray
    weights: np.ndarray
    pedestal: np.ndarray
    crmag: np.ndarray


@helper
def _take_ramp(flags, survey, gdq, reads, suppress, start, i):
    """Copy the flags of one ramp into ``flags`` (nint, ngroup, 1) and survey them.

    Returns what the integration is and the number of its unusable groups. A first read that stands in for the first
    group makes that one good.
    """
    for k in range(flags.shape[1]):
        flags[i, k, 0] = gdq[i, k]
    survey_flags(survey[i], flags[i], 1)
    kind = integration_kind(survey, flags, reads, suppress, start, i, 0)
    n_bad = int(survey[i, N_BAD, 0])
    if kind == SUPPRESSED:
        n_bad = flags.shape[1]
    if kind == ZEROFRAME:
        n_bad -= 1
        flags[i, 0, 0] = 0
    return kind, n_bad


@helper
def _median_difference(values, flags, scratch, i):
    """Median of the usable first differences of a ramp (float32); NaN if there are none."""
    count = 0
    for k in range(1, values.shape[1]):
        difference = values[i, k, 0] - values[i, k - 1, 0]
        usable = ((flags[i, k - 1] & UNUSABLE) | (flags[i, k] & (UNUSABLE | JUMP_DET))) == 0
        if usable and difference == difference:
            place = count
            while place > 0 and scratch[place - 1] > difference:
                scratch[place] = scratch[place - 1]
                place -= 1
            scratch[place] = difference
            count += 1
    if count == 0:
        return np.nan
    return 0.5 * (float(scratch[(count - 1) // 2]) + float(scratch[count // 2]))


@helper
def _fit_segment(out, values, i, first, n, gain, rn, photons, weights, times, lone):
    """Fit one segment into ``out`` (7); ``lone`` is the time of a lone group, in group times."""
    noise = rn / (times[0] * gain)
    shape = segment_shape(n, lone)
    variance = 12.0 * noise * noise / shape if n < 3 or gain > 0 else 0.0
    span = float(n - 1) if n > 1 else lone
    out[_VAR_POISSON] = photons / (times[0] * gain * span)
    out[_VAR_RNOISE] = variance
    out[_WEIGHT] = 1.0 / variance
    slope = segment_slope(values[i], 0, first, n, gain, rn, weights, times, lone)
    out[_SLOPE] = slope
    out[_SIGSLOPE], out[_YINT], out[_SIGYINT] = 0.0, 0.0, 0.0
    if n == 1:
        return
    start, end = float(values[i, first, 0]), float(values[i, first + n - 1, 0])
    if n == 2:
        out[_YINT] = start * (first + 1) - end * first
        out[_SIGSLOPE], out[_SIGYINT] = np.sqrt(2.0) * rn, np.sqrt(2.0) * rn
        return
    signal = (end - start) * gain
    noise = rn * rn + signal
    power = 0
    for limit in POWER_LIMITS:
        power += not (signal <= 0 or noise <= 0 or signal * signal < limit * limit * noise)
    arm = 0.5 * (n - 1)
    total, mean, moment = 0.0, 0.0, 0.0
    for k in range(n):
        # Without read noise all weights are infinite, and the fit is NaN.
        w = (abs(k - arm) / arm) ** _POWERS[power] / (rn * rn) if rn != 0 else np.nan
        y = float(values[i, first + k, 0])
        total += w
        mean += w * (y if y == y else 0.0)
        moment += w * (k - arm) ** 2
    centre = first + arm
    out[_SLOPE] = slope + (total - total)
    out[_SIGSLOPE] = np.sqrt(1.0 / moment)
    out[_YINT] = mean / total - slope * times[0] * centre
    out[_SIGYINT] = np.sqrt(1.0 / total + centre * centre / moment)


@kernel
def _count_tile(counts, gdq, zeroframe, start, stop, suppress, first, last, left, right):
    """Largest numbers of segments and of jumps of an integration in every row, into ``counts`` (2, ny, nx)."""
    ni, n = gdq.shape[0], stop - start
    flags = np.empty((ni, n, 1), np.uint8)
    survey = np.empty((ni, 5, 1), np.uint16)
    segments = np.empty((2, n), np.int64)
    reads = np.empty(zeroframe.shape[0], np.float32)
    for r in range(first, last):
        for x in range(left, right):
            counts[0, r, x] = 0
            counts[1, r, x] = 0
            q = gdq[:, start:stop, r, x]
            for i in range(reads.size):
                reads[i] = zeroframe[i, r, x]
            for i in range(ni):
                n_jumps = 0
                for k in range(1, n):
                    n_jumps += (q[i, k] & JUMP_DET) != 0
                counts[1, r, x] = max(counts[1, r, x], n_jumps)
                _, n_bad = _take_ramp(flags, survey, q, reads, suppress, start, i)
                if (flags[i, 0, 0] & SATURATED) == 0 and n_bad < n:
                    found, n_lone = find_segments(segments, flags, i, 0)
                    # The product has room for all lone groups where there are no others.
                    room = found if found > 0 and segments[1, 0] > 1 else n_lone
                    counts[0, r, x] = max(counts[0, r, x], room)


@kernel
def _fit_tile(
    pedestal,
    details,
    crmag,
    slopes,
    gdq,
    data,
    gain,
    read_noise,
    zeroframe,
    dark,
    weights,
    start,
    stop,
    suppress,
    noise_scale,
    times,
    origin,
    first,
    last,
    left,
    right,
):
    """Fit the segments of the region into ``details`` (7, nint, nsegment, ny, nx), pedestal and crmag.

    ``slopes`` (nint, ny, nx) are those of the integrations; ``times`` (3) of a group, a frame and a lone first group;
    ``origin`` is the time of the first group after the reset, in groups.
    """
    ni = gdq.shape[0]
    n = stop - start
    flags = np.empty((ni, n, 1), np.uint8)
    values = np.empty((ni, n, 1), np.float32)
    survey = np.empty((ni, 5, 1), np.uint16)
    scratch = np.empty(n, np.float32)
    segments = np.empty((2, n), np.int64)
    kinds, n_bad = np.empty(ni, np.int64), np.empty(ni, np.int64)
    medians = np.empty((ni, 1), np.float64)
    reads = np.empty(zeroframe.shape[0], np.float32)
    out = np.empty(7, np.float64)
    times = (times[0], times[1], times[2])
    for r in range(first, last):
        for x in range(left, right):
            q = gdq[:, start:stop, r, x]
            g = float(gain[r, x])
            rn = float(np.float32(float(read_noise[r, x]) * (g / noise_scale)))
            for i in range(reads.size):
                reads[i] = zeroframe[i, r, x]
            for i in range(ni):
                for k in range(n):
                    values[i, k, 0] = data[i, start + k, r, x]
                kinds[i], n_bad[i] = _take_ramp(flags, survey, q, reads, suppress, start, i)
                medians[i, 0] = _median_difference(values, q, scratch, i) / times[0]
                if kinds[i] == ZEROFRAME:
                    values[i, 0, 0] = reads[i]
            added = float(dark[r, x]) if dark.size > 0 else 0.0
            photons = median_rate(flags, values, medians, reads, kinds, 0, added, times)
            for i in range(ni):
                usable = (flags[i, 0, 0] & SATURATED) == 0
                height = float(values[i, 0, 0]) - slopes[i, r, x] * origin
                pedestal[i, r, x] = height if usable and height == height else 0.0
                n_jumps = 0
                for k in range(1, n):
                    if (q[i, k] & JUMP_DET) != 0:
                        saturated = ((q[i, k] | q[i, k - 1]) & SATURATED) != 0
                        step = float(data[i, start + k, r, x]) - float(data[i, start + k - 1, r, x])
                        crmag[i, n_jumps, r, x] = np.nan if saturated else step
                        n_jumps += 1
                if not usable or n_bad[i] == n:
                    continue
                count, _ = find_segments(segments, flags, i, 0)
                lone = lone_time(kinds[i], times)
                for s in range(count):
                    _fit_segment(out, values, i, segments[0, s], segments[1, s], g, rn, photons, weights, times, lone)
                    for k in range(7):
                        details[k, i, s, r, x] = out[k]


def _canonical_inputs(data, gdq, gain, read_noise, slopes, zeroframe, dark):
    """The arrays of `fit_segments` as kernels take them; absent ones have size 0."""
    data = as_canonical(data, "data", np.float32, 4)
    gdq = as_canonical(gdq, "groupdq", np.uint8, 4)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    slopes = as_canonical(slopes, "slopes", np.float32, 3)
    zeroframe = as_canonical(np.empty((0, 0, 0)) if zeroframe is None else zeroframe, "zeroframe", np.float32, 3)
    dark = as_canonical(np.empty((0, 0)) if dark is None else dark, "average_dark_current", np.float32, 2)
    ni, _, *frame = data.shape
    checked = [(gdq, "groupdq", data.shape), (gain, "gain", frame), (read_noise, "read_noise", frame)]
    checked += [(slopes, "slopes", (ni, *frame))]
    checked += [(zeroframe, "zeroframe", (ni, *frame))] if zeroframe.size else []
    checked += [(dark, "average_dark_current", frame)] if dark.size else []
    for array, name, shape in checked:
        check_shape(array, name, shape)
    return data, gdq, gain, read_noise, slopes, zeroframe, dark


def fit_segments(
    data,
    groupdq,
    gain,
    read_noise,
    slopes,
    *,
    group_time,
    frame_time,
    nframes=1,
    groupgap=0,
    drop_frames=0,
    suppress_one_group=True,
    zeroframe=None,
    average_dark_current=None,
    miri=False,
    threads=None,
):
    """Fit every segment by itself, as `fit_ramps` does before it combines them.

    Parameters
    ----------
    data, groupdq, gain, read_noise
        As for `fit_ramps`; the group flags may have those added that it sets, but none removed: it clears some jumps.
    slopes : (nint, ny, nx) float32
        Slopes of the integrations from `fit_ramps` [DN/s]; NaN where a ramp is unusable.
    group_time, frame_time : float
        Times between groups and between frames [s].
    nframes, groupgap, drop_frames : int
        Frames averaged in a group, left out after it, and left out before the first one.
    suppress_one_group, zeroframe, average_dark_current, miri, threads
        As for `fit_ramps`.

    Returns
    -------
    SegmentDetails or None
        None if there is nothing to fit (`choose_groups`).

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree.
    ParameterError
        A time is not positive, or ``nframes`` not a count.

    Notes
    -----
    Source, units and NaN rule: see the module. The pedestal is ``y_0 - slope ((nframes + 1)/2 + drop_frames) /
    (nframes + groupgap)``: a slope per second times a number of groups (reference behaviour); 0 for unusable ramps.
    Cost: O(ngroup^2) per ramp; not made for speed.
    """
    group_time = as_time(group_time, "group_time")
    frame_time = as_time(frame_time, "frame_time")
    nframes = as_count(nframes, "nframes")
    data, gdq, gain, read_noise, slopes, zeroframe, dark = _canonical_inputs(
        data, groupdq, gain, read_noise, slopes, zeroframe, average_dark_current
    )
    ni, n_groups, *frame = data.shape
    suppress = int(suppresses_one_group(suppress_one_group, n_groups))
    groups = choose_groups(gdq, suppress_one_group=bool(suppress), miri=miri)
    if groups is None:
        return None
    counts = np.zeros((2, *frame), np.int64)
    run_tile(_count_tile, counts, gdq, zeroframe, *groups, suppress, threads=threads)
    n_segments, n_jumps = (int(one.max()) for one in counts)
    details = np.zeros((7, ni, n_segments, *frame), np.float32)
    crmag = np.zeros((ni, n_jumps, *frame), np.float32)
    pedestal = np.zeros((ni, *frame), np.float32)
    frame_time = float(np.float32(frame_time))
    times = np.array([np.float32(group_time), frame_time, (nframes + 1) * frame_time / 2], np.float64)
    run_tile(
        _fit_tile,
        pedestal,
        details,
        crmag,
        slopes,
        gdq,
        data,
        gain,
        read_noise,
        zeroframe,
        dark,
        segment_weights(groups[1] - groups[0], group_time),
        *groups,
        suppress,
        float(np.sqrt(2.0 * nframes)),
        times,
        ((nframes + 1) / 2 + drop_frames) / (nframes + groupgap),
        threads=threads,
    )
    return SegmentDetails(*details, pedestal, crmag)

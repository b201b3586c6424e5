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
from upramp.kernels._layout import as_canonical, check_shape
from upramp.kernels._segments import (
    POWER_LIMITS,
    UNUSABLE,
    _kind,
    _load,
    _lone_time,
    _median_rate,
    _next_segment,
    _read_variance,
    _segment_slope,
)
from upramp.kernels._tiles import run_tile
from upramp.kernels.ramp_fit import choose_groups, segment_weights

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
def _find_segments(spans, flags):
    """Segments that are fitted, into ``spans`` (n, 2): all of two groups or more, else the first group by itself.

    Returns their number, and the number that the product has room for: lone groups are not dropped from that.
    """
    n_long, n_lone, lone = 0, 0, -1
    first, last = _next_segment(flags, 0)
    while first < last:
        if last - first > 1:
            spans[n_long, 0], spans[n_long, 1] = first, last
            n_long += 1
        else:
            n_lone += 1
            lone = first if lone < 0 else lone
        first, last = _next_segment(flags, last)
    if n_long > 0 or n_lone == 0:
        return n_long, n_long
    spans[0, 0], spans[0, 1] = lone, lone + 1
    return 1, n_lone


@helper
def _median_difference(ramp, flags, scratch):
    """Median of the usable first differences of a ramp, rounded to float32; NaN if there are none."""
    count = 0
    for k in range(1, ramp.size):
        difference = np.float32(ramp[k]) - np.float32(ramp[k - 1])
        usable = ((flags[k - 1] & UNUSABLE) | (flags[k] & (UNUSABLE | JUMP_DET))) == 0
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
def _fit_segment(out, ramp, first, last, gain, rn, photons, weights, times):
    """Fit one segment into ``out`` (7); ``times`` are those of a group and of a lone one."""
    n = last - first
    time = times[0] if n > 1 else times[1]
    variance = _read_variance(n, gain, rn, time)
    out[_VAR_POISSON] = photons / (time * gain * max(n - 1, 1))
    out[_VAR_RNOISE] = variance
    out[_WEIGHT] = 1.0 / variance
    if n == 1:
        out[_SLOPE] = ramp[first] / time
        out[_SIGSLOPE], out[_YINT], out[_SIGYINT] = 0.0, 0.0, 0.0
        return
    slope = _segment_slope(ramp, first, last, gain, rn, weights, time)
    if n == 2:
        out[_SLOPE] = slope
        out[_YINT] = ramp[first] * (first + 1) - ramp[first + 1] * first
        out[_SIGSLOPE], out[_SIGYINT] = np.sqrt(2.0) * rn, np.sqrt(2.0) * rn
        return
    signal = (ramp[last - 1] - ramp[first]) * gain
    noise = rn * rn + signal
    power = 0
    for limit in POWER_LIMITS:
        power += not (signal <= 0 or noise <= 0 or signal * signal < limit * limit * noise)
    arm = 0.5 * (n - 1)
    total, mean, moment = 0.0, 0.0, 0.0
    for k in range(n):
        # Without read noise all weights are infinite, and the fit is NaN.
        w = (abs(k - arm) / arm) ** _POWERS[power] / (rn * rn) if rn != 0 else np.nan
        y = ramp[first + k]
        total += w
        mean += w * (y if y == y else 0.0)
        moment += w * (k - arm) ** 2
    centre = first + arm
    out[_SLOPE] = slope + (total - total)
    out[_SIGSLOPE] = np.sqrt(1.0 / moment)
    out[_YINT] = mean / total - slope * time * centre
    out[_SIGYINT] = np.sqrt(1.0 / total + centre * centre / moment)


@kernel
def _count_tile(counts, gdq, zeroframe, start, stop, suppress, first, last, left, right):
    """Largest numbers of segments and of jumps of an integration in every row, into ``counts`` (2, ny, nx)."""
    flags = np.empty(stop - start, np.uint8)
    ramp = np.empty(stop - start, np.float64)
    spans = np.empty((stop - start, 2), np.int64)
    nothing = np.zeros((gdq.shape[0], stop - start), np.float32)
    reads = np.empty(zeroframe.shape[0], np.float32)
    for r in range(first, last):
        for x in range(left, right):
            counts[0, r, x] = 0
            counts[1, r, x] = 0
            q = gdq[:, start:stop, r, x]
            for i in range(reads.size):
                reads[i] = zeroframe[i, r, x]
            for i in range(gdq.shape[0]):
                n_jumps = 0
                for k in range(1, stop - start):
                    n_jumps += (q[i, k] & JUMP_DET) != 0
                counts[1, r, x] = max(counts[1, r, x], n_jumps)
                kind = _kind(q, reads, suppress, i)
                n_bad, _, _ = _load(ramp, flags, q, nothing, reads, kind, start, i)
                if (flags[0] & SATURATED) == 0 and n_bad < flags.size:
                    _, room = _find_segments(spans, flags)
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
    flags = np.empty(n, np.uint8)
    ramp = np.empty(n, np.float64)
    scratch = np.empty(n, np.float32)
    spans = np.empty((n, 2), np.int64)
    kinds = np.empty(ni, np.int64)
    medians = np.empty(ni, np.float64)
    reads = np.empty(zeroframe.shape[0], np.float32)
    out = np.empty(7, np.float64)
    times = (times[0], times[1], times[2])
    for r in range(first, last):
        for x in range(left, right):
            q = gdq[:, start:stop, r, x]
            y = data[:, start:stop, r, x]
            g = float(gain[r, x])
            rn = float(np.float32(float(read_noise[r, x]) * (g / noise_scale)))
            for i in range(reads.size):
                reads[i] = zeroframe[i, r, x]
            for i in range(ni):
                kinds[i] = _kind(q, reads, suppress, i)
                _load(ramp, flags, q, y, reads, kinds[i], start, i)
                medians[i] = _median_difference(ramp, flags, scratch) / times[0]
            added = float(dark[r, x]) if dark.size > 0 else 0.0
            photons = _median_rate(q, y, medians, reads, kinds, n, added, times)
            for i in range(ni):
                n_bad, _, _ = _load(ramp, flags, q, y, reads, kinds[i], start, i)
                height = ramp[0] - slopes[i, r, x] * origin
                pedestal[i, r, x] = height if height == height else 0.0
                n_jumps = 0
                for k in range(1, n):
                    if (q[i, k] & JUMP_DET) != 0:
                        saturated = ((q[i, k] | q[i, k - 1]) & SATURATED) != 0
                        crmag[i, n_jumps, r, x] = np.nan if saturated else float(y[i, k]) - float(y[i, k - 1])
                        n_jumps += 1
                if (flags[0] & SATURATED) != 0 or n_bad == n:
                    continue
                count, _ = _find_segments(spans, flags)
                pair = (times[0], _lone_time(kinds[i], times))
                for s in range(count):
                    _fit_segment(out, ramp, spans[s, 0], spans[s, 1], g, rn, photons, weights, pair)
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
        As for `fit_ramps`; the group flags may also be those that it leaves.
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

    Notes
    -----
    Source, units and NaN rule: see the module. The pedestal is ``y_0 - slope ((nframes + 1)/2 + drop_frames) /
    (nframes + groupgap)``: a slope per second times a number of groups (reference behaviour); 0 for unusable ramps.
    Cost: O(ngroup^2) per ramp; not made for speed.
    """
    data, gdq, gain, read_noise, slopes, zeroframe, dark = _canonical_inputs(
        data, groupdq, gain, read_noise, slopes, zeroframe, average_dark_current
    )
    ni, n_groups, *frame = data.shape
    suppress = int(suppress_one_group and n_groups > 1)
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

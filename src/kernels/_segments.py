"""The careful ramp fit of one pixel: any mixture of flags, NaN and bad references. Symbols are those of `ramp_fit`."""

import numpy as np

from upramp.kernels._flags import CHARGELOSS, DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, PERSISTENCE, SATURATED
from upramp.kernels._jit import kernel

__all__ = [
    "ERR",
    "LARGEST_VARIANCE",
    "POWER_LIMITS",
    "SLOPE",
    "UNUSABLE",
    "VAR_POISSON",
    "VAR_RNOISE",
    "fit_flagged_pixel",
    "good_groups",
    "weight_offset",
    "write_back",
]

UNUSABLE = DO_NOT_USE | SATURATED

LARGEST_VARIANCE = 1.0e6  # [(DN/s)^2]; larger ones are reported as 0 (reference behaviour)
POWER_LIMITS = (5.0, 10.0, 20.0, 50.0, 100.0)  # signal-to-noise ratios where the power of the weights changes

# Rows of the results.
SLOPE, ERR, VAR_POISSON, VAR_RNOISE = 0, 1, 2, 3

# What one integration of a pixel is:
_RAMP = 0
_FIRST_GROUP = 1  # only the first group is good: its own exposure time
_ZEROFRAME = 2  # nothing is good: the first read stands in for the first group
_SUPPRESSED = 3  # one group is good: not fitted on request


@kernel
def weight_offset(n):
    """Where the weights of segments of ``n`` groups start in the table."""
    return 6 * ((n - 1) ** 2 // 4)


@kernel
def good_groups(gdq, i, tolerated):
    """Number of groups of one ramp without flags other than ``tolerated`` ones."""
    count = 0
    for k in range(gdq.shape[1]):
        count += (gdq[i, k] & ~tolerated) == 0
    return count


@kernel
def _kind(gdq, zeroframe, suppress, i):
    """Which of the four cases an integration of a pixel is."""
    if suppress != 0:
        return _SUPPRESSED if good_groups(gdq, i, PERSISTENCE) == 1 else _RAMP
    good = good_groups(gdq, i, 0)
    if good == 1 and gdq[i, 0] == 0:
        return _FIRST_GROUP
    if good == 0 and zeroframe.size > 0 and zeroframe[i] != 0:
        return _ZEROFRAME
    return _RAMP


@kernel
def _load(ramp, flags, gdq, data, zeroframe, kind, start, i):
    """Copy one ramp and its flags. Saturated samples become NaN.

    Returns the numbers of unusable and of saturated groups, and all flags that occur, also in a group that the
    ZEROFRAME replaces.
    """
    n_bad = 0
    n_saturated = 0
    bits = 0
    for k in range(ramp.size):
        q = gdq[i, k]
        if kind == _SUPPRESSED:
            q |= DO_NOT_USE
        if k == 0 and start > 0:
            q &= ~JUMP_DET
        n_bad += (q & UNUSABLE) != 0
        n_saturated += (q & SATURATED) != 0
        ramp[k] = np.nan if (q & SATURATED) != 0 else data[i, k]
        bits |= q
        if k == 0 and kind == _ZEROFRAME:
            ramp[k] = zeroframe[i]
            q = 0
        flags[k] = q
    if kind == _ZEROFRAME:
        n_bad -= 1
        n_saturated -= n_saturated == ramp.size
    return n_bad, n_saturated, bits


@kernel
def _next_segment(flags, k):
    """First segment whose good groups begin at ``k`` or later, as a half-open range; empty if there is none.

    A group with a jump and nothing else is the first sample of the segment that follows.
    """
    n = flags.size
    while k < n and (flags[k] & ~PERSISTENCE) != 0:
        k += 1
    first = k
    while k < n and (flags[k] & ~PERSISTENCE) == 0:
        k += 1
    if 0 < first < n and (flags[first - 1] & ~PERSISTENCE) == JUMP_DET:
        first -= 1
    return first, k


@kernel
def _segment_slope(ramp, first, last, gain, rn, weights, time):
    """Slope [DN/s] of one segment of two groups or more."""
    n = last - first
    if n == 2:
        return (ramp[first + 1] - ramp[first]) / time
    if rn == 0:
        return np.nan
    signal = (ramp[last - 1] - ramp[first]) * gain
    variance = rn * rn + signal
    index = 0
    for limit in POWER_LIMITS:
        # A NaN at an end falls through to the last power (reference behaviour).
        index += not (signal <= 0 or variance <= 0 or signal * signal < limit * limit * variance)
    half = n // 2
    base = weight_offset(n) + index * half
    slope = 0.0
    for j in range(half):
        a = ramp[first + j]
        b = ramp[last - 1 - j]
        slope += weights[base + j] * ((b if b == b else 0.0) - (a if a == a else 0.0))
    return slope


@kernel
def _read_variance(n, gain, rn, time):
    """Variance of the slope of a segment of ``n`` groups from read noise [(DN/s)^2]."""
    if n > 2 and not gain > 0:
        return 0.0
    shape = 6.0 if n < 3 else float(n * n * n - n)
    noise = rn / time
    return 12.0 * noise * noise / (shape * gain * gain)


@kernel
def _combine_segments(ramp, flags, gain, rn, photons, weights, time):
    """Sums over the segments of an integration: 1/vr, 1/vp, 1/(vp+vr), slope/vr.

    Segments of one group count only if there is no longer one, and then only the first. ``time`` is that of a group,
    and that of a lone one.
    """
    by_read, by_photons, by_both, slopes = 0.0, 0.0, 0.0, 0.0
    lone = -1
    longer = False
    first, last = _next_segment(flags, 0)
    while first < last:
        n = last - first
        if n == 1:
            lone = first if lone < 0 else lone
        else:
            longer = True
            vr = _read_variance(n, gain, rn, time[0])
            vp = photons / (time[0] * gain * (n - 1))
            weight = 1.0 / vr
            by_read += weight
            by_photons += 1.0 / vp if vp > 0 else 0.0
            by_both += 1.0 / (vp + vr)
            slopes += _segment_slope(ramp, first, last, gain, rn, weights, time[0]) * weight
        first, last = _next_segment(flags, last)
    if lone >= 0 and not longer:
        vr = _read_variance(1, gain, rn, time[1])
        vp = photons / (time[1] * gain)
        by_read = 1.0 / vr
        by_photons = 1.0 / vp if vp > 0 else 0.0
        by_both = 1.0 / (vp + vr)
        slopes = ramp[lone] / time[1] * by_read
    return by_read, by_photons, by_both, slopes


@kernel
def _sum_inverse_read_variances(flags, gain, rn, time):
    """The first of the sums of `_combine_segments`, but without segments whose variance is 0 (reference behaviour)."""
    total = 0.0
    found = False
    longer = False
    first, last = _next_segment(flags, 0)
    while first < last:
        n = last - first
        found = True
        if n > 1:
            longer = True
            vr = _read_variance(n, gain, rn, time[0])
            total += 1.0 / vr if vr > 0 else 0.0
        first, last = _next_segment(flags, last)
    if found and not longer:
        vr = _read_variance(1, gain, rn, time[1])
        total = 1.0 / vr if vr > 0 else 0.0
    return total


@kernel
def _reciprocal(total):
    """Variance from a sum of inverse variances: 0 if it is too large to mean anything, NaN if the noise is NaN."""
    variance = 1.0 / total if total != 0 else 0.0
    return 0.0 if variance >= LARGEST_VARIANCE else variance


@kernel
def _median_rate(gdq, data, medians, zeroframe, kinds, n_groups, dark, times):
    """Photon rate P [DN/s] of a pixel: mean over the integrations of their median rates, plus dark current."""
    total = 0.0
    for i in range(kinds.size):
        first = np.nan
        if (gdq[i, 0] & SATURATED) == 0:
            first = float(data[i, 0])
        if kinds[i] == _ZEROFRAME:
            first = float(zeroframe[i])
        if n_groups == 1 or kinds[i] == _FIRST_GROUP:
            total += first / times[2]
        elif kinds[i] == _ZEROFRAME:
            total += first / times[1]
        elif kinds[i] == _RAMP and medians[i] == medians[i]:
            total += medians[i]
        elif kinds[i] == _RAMP and (gdq[i, 0] & DO_NOT_USE) == 0 and first == first:
            total += first / times[0]
    median = total / kinds.size
    return median + dark if median > 0 else dark


@kernel
def _restore_charge_loss(results, gdq, gain, rn, kinds, times, flags):
    """Read variances of a pixel as if the groups left out for charge migration had been used."""
    total = 0.0
    touched = False
    for i in range(kinds.size):
        found = False
        for k in range(flags.size):
            flags[k] = gdq[i, k]
            if (flags[k] & CHARGELOSS) != 0:
                flags[k] ^= CHARGELOSS | DO_NOT_USE
                found = True
        if found:
            by_read = _sum_inverse_read_variances(flags, gain, rn, (times[0], _lone_time(kinds[i], times)))
            results[i, VAR_RNOISE] = _reciprocal(by_read)
            total += by_read
            touched = True
        elif results[i, VAR_RNOISE] > 0:
            # The stored number is what the reference combines, rounded as it is.
            total += 1.0 / float(np.float32(results[i, VAR_RNOISE]))
    if touched and total > 0:
        results[kinds.size, VAR_RNOISE] = _reciprocal(total)


@kernel
def _lone_time(kind, times):
    """Exposure time of a segment of one group [s]."""
    if kind == _FIRST_GROUP:
        return times[2]
    return times[1] if kind == _ZEROFRAME else times[0]


@kernel
def fit_flagged_pixel(
    results,
    bits,
    broken,
    gdq,
    data,
    pixel_bits,
    gain,
    rn,
    dark,
    medians,
    zeroframe,
    weights,
    start,
    suppress,
    times,
    ramp,
    flags,
    kinds,
):
    """Fit one pixel, ``data`` and ``gdq`` (nint, ngroup).

    ``broken`` (nint) is 0 for integrations without any flag or NaN of a pixel without any defect: they are one segment,
    whose slope stands in ``results`` already.

    ``results`` (nint + 1, 4) gets slope, error and two variances, ``bits`` (nint + 1) the flags, of the integrations
    and last of the exposure; ``kinds`` says what the integrations were taken for. ``zeroframe`` (nint) may be empty.
    ``times`` are those of a group, a frame and a lone first group; the rest as in `fit_ramps_tile`.
    """
    n = ramp.size
    ni = kinds.size
    if not gain > 0:
        pixel_bits |= NO_GAIN_VALUE | DO_NOT_USE
    for i in range(ni):
        kinds[i] = _RAMP if broken[i] == 0 else _kind(gdq, zeroframe, suppress, i)
    photons = _median_rate(gdq, data, medians, zeroframe, kinds, n, dark, times)
    by_read_all, by_photons_all, slopes_all = 0.0, 0.0, 0.0
    n_unusable, n_full, all_bits = 0, 0, 0
    for i in range(ni):
        n_bad, n_saturated, found = 0, 0, 0
        if broken[i] != 0:
            n_bad, n_saturated, found = _load(ramp, flags, gdq, data, zeroframe, kinds[i], start, i)
        result = pixel_bits | (found & (JUMP_DET | PERSISTENCE))
        by_read, by_photons, by_both, slopes = 0.0, 0.0, 0.0, 0.0
        if broken[i] == 0:
            by_read = 1.0 / _read_variance(n, gain, rn, times[0])
            by_photons = times[0] * gain * (n - 1) / photons if photons > 0 else 0.0
            by_both = by_read * by_photons / (by_read + by_photons) if photons > 0 else by_read
            slopes = results[i, SLOPE] * by_read
        elif (flags[0] & SATURATED) != 0:
            result |= UNUSABLE
        elif n_bad == n:
            result |= UNUSABLE if n_saturated == n else DO_NOT_USE
        else:
            time = (times[0], _lone_time(kinds[i], times))
            by_read, by_photons, by_both, slopes = _combine_segments(ramp, flags, gain, rn, photons, weights, time)
        by_read_all += by_read
        by_photons_all += by_photons
        slopes_all += slopes
        usable = (result & UNUSABLE) == 0
        variance = _reciprocal(by_read)
        both = 1.0 / by_both if by_both != 0 else 0.0
        results[i, SLOPE] = slopes * variance if usable else np.nan
        results[i, ERR] = 0.0 if not usable or both > LARGEST_VARIANCE else np.sqrt(both)
        results[i, VAR_POISSON] = _reciprocal(by_photons) if usable else 0.0
        results[i, VAR_RNOISE] = variance if usable else 0.0
        n_unusable += (result & DO_NOT_USE) != 0
        n_full += (result & SATURATED) != 0
        all_bits |= found | (SATURATED if n_saturated > 0 else 0)
        bits[i] = result | (SATURATED if n_saturated > 0 else 0)
    result = pixel_bits | (all_bits & (JUMP_DET | PERSISTENCE))
    result |= DO_NOT_USE if n_unusable == ni else 0
    result |= SATURATED if n_full == ni else 0
    usable = (result & UNUSABLE) == 0
    variance_r = _reciprocal(by_read_all)
    variance_p = _reciprocal(by_photons_all)
    results[ni, SLOPE] = slopes_all * variance_r if usable else np.nan
    results[ni, ERR] = np.sqrt(variance_p + variance_r) if usable else 0.0
    results[ni, VAR_POISSON] = variance_p if usable else 0.0
    results[ni, VAR_RNOISE] = variance_r if usable else 0.0
    bits[ni] = result | (all_bits & SATURATED)
    if (all_bits & CHARGELOSS) != 0:
        _restore_charge_loss(results, gdq, gain, rn, kinds, times, flags)


@kernel
def write_back(gdq, kinds, start, r, column):
    """Leave suppressed ramps, and the jump flags of a first group that was not the first, as they were fitted."""
    for i in range(kinds.size):
        if kinds[i] == _SUPPRESSED:
            for k in range(gdq.shape[1]):
                gdq[i, k, r, column] |= DO_NOT_USE
        if start > 0:
            gdq[i, start, r, column] &= ~JUMP_DET

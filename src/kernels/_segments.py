"""The careful ramp fit of one pixel: any mixture of flags, NaN and bad references. Symbols are those of `ramp_fit`."""

import numpy as np

from upramp.kernels._flags import CHARGELOSS, DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, PERSISTENCE, SATURATED
from upramp.kernels._jit import helper
from upramp.kernels._rows import fill_row

__all__ = [
    "ERR",
    "FOUND",
    "LARGEST_VARIANCE",
    "N_BAD",
    "N_GOOD",
    "N_SATURATED",
    "PERSISTENCE",
    "POWER_LIMITS",
    "SLOPE",
    "SUPPRESSED",
    "UNUSABLE",
    "VAR_POISSON",
    "VAR_RNOISE",
    "ZEROFRAME",
    "find_segments",
    "fit_flagged_pixel",
    "good_groups",
    "integration_kind",
    "lone_time",
    "median_rate",
    "segment_shape",
    "segment_slope",
    "survey_flags",
    "weight_offset",
    "write_back",
]

UNUSABLE = DO_NOT_USE | SATURATED

LARGEST_VARIANCE = 1.0e6  # [(DN/s)^2]; larger ones are reported as 0 (reference behaviour)
POWER_LIMITS = (5.0, 10.0, 20.0, 50.0, 100.0)  # signal-to-noise ratios where the power of the weights changes

# Rows of the results.
SLOPE, ERR, VAR_POISSON, VAR_RNOISE = 0, 1, 2, 3

# Rows of a survey of flags: numbers of groups that are unusable, saturated, good, without any flag; all flags.
N_BAD, N_SATURATED, N_GOOD, N_PLAIN, FOUND = 0, 1, 2, 3, 4

# What one integration of a pixel is:
_RAMP = 0
_FIRST_GROUP = 1  # only the first group is good: its own exposure time
ZEROFRAME = 2  # nothing is good: the first read stands in for the first group
SUPPRESSED = 3  # one group is good: not fitted on request


@helper(counted=False)
def weight_offset(n):
    """Where the weights of segments of ``n`` groups start in the table."""
    return 6 * ((n - 1) ** 2 // 4)


@helper(counted=False)
def good_groups(gdq, i, tolerated):
    """Number of groups of one ramp without flags other than ``tolerated`` ones."""
    count = 0
    for k in range(gdq.shape[1]):
        count += (gdq[i, k] & ~tolerated) == 0
    return count


@helper(counted=False)
def survey_flags(survey, flags, n):
    """Count the groups of each ramp by their flags: survey (5, width) uint16 from flags (ngroup, width).

    PERSISTENCE does not make a group bad.
    """
    for row in range(5):
        fill_row(survey[row, :n], np.uint16(0))
    bad, saturated, good, plain, found = survey[0], survey[1], survey[2], survey[3], survey[4]
    for k in range(flags.shape[0]):
        q = flags[k]
        for x in range(n):
            bad[x] += (q[x] | (q[x] >> 1)) & 1
            saturated[x] += (q[x] >> 1) & 1
        for x in range(n):
            good[x] += (q[x] & ~PERSISTENCE) == 0
            plain[x] += q[x] == 0
        for x in range(n):
            found[x] |= q[x]


@helper(counted=False)
def integration_kind(survey, flags, zeroframe, suppress, start, i, x):
    """Which of the four cases an integration of a pixel is.

    Clears the jump flag of a first group that was not the first of the exposure, after lone groups are suppressed
    (order of the reference).
    """
    lone = survey[i, N_GOOD, x] == 1
    if start > 0 and (flags[i, 0, x] & JUMP_DET) != 0:
        flags[i, 0, x] ^= JUMP_DET
        survey_flags(survey[i, :, x : x + 1], flags[i, :, x : x + 1], 1)
    if suppress != 0:
        return SUPPRESSED if lone else _RAMP
    if survey[i, N_PLAIN, x] == 1 and flags[i, 0, x] == 0:
        return _FIRST_GROUP
    if survey[i, N_PLAIN, x] == 0 and zeroframe.size > 0 and zeroframe[i] != 0:
        return ZEROFRAME
    return _RAMP


@helper(counted=False)
def find_segments(segments, flags, i, x):
    """Cut one ramp into segments: first groups and numbers of groups into ``segments`` (2, ngroup).

    A segment is a run of good groups; a group before it with a jump and nothing else is its first sample. Segments of
    one group count only if there is no longer one, and then only the first. Returns how many there are, and how many
    of one group were found.
    """
    n = flags.shape[1]
    count, n_lone = 0, 0
    lone = -1
    start = -1
    before = DO_NOT_USE
    for k in range(n + 1):
        bits = int(flags[i, k, x]) & ~PERSISTENCE if k < n else DO_NOT_USE
        if bits == 0:
            if start < 0:
                start = k - 1 if before == JUMP_DET else k
        elif start >= 0:
            if k - start > 1:
                segments[0, count] = start
                segments[1, count] = k - start
                count += 1
            else:
                lone = start if lone < 0 else lone
                n_lone += 1
            start = -1
        before = bits
    if count == 0 and lone >= 0:
        segments[0, 0] = lone
        segments[1, 0] = 1
        count = 1
    return count, n_lone


@helper(counted=False)
def segment_shape(n, lone):
    """What the inverse read variance of a segment of ``n`` groups goes with; that of one group is ``lone``.

    The reference gives a lone group the read variance of two.
    """
    return float(n * n * n - n) if n > 1 else 6.0 * lone * lone


@helper(counted=False, inlined=True)
def segment_slope(values, x, first, n, gain, rn, weights, times, lone):
    """Slope [DN/s] of the segment of ``n`` groups in column ``x`` of ``values`` (ngroup, width)."""
    start = float(values[first, x])
    end = float(values[first + n - 1, x])
    if n == 1:
        return start / (lone * times[0])
    if n == 2:
        return (end - start) / times[0]
    if rn == 0 or abs(rn) == np.inf:
        return np.nan  # the weights are infinite, or all 0
    signal = (end - start) * gain
    variance = rn * rn + signal
    square = signal * signal
    index = 5
    if signal <= 0 or variance <= 0:
        index = 0
    elif signal == signal:  # A NaN at an end falls through to the last power (reference behaviour).
        index = 0
        for limit in POWER_LIMITS:
            index += square >= limit * limit * variance
    # Unsigned: compiled code does not ask whether an index is negative.
    half = np.uint64(n // 2)
    base, column = np.uint64(weight_offset(n) + index * (n // 2)), np.uint64(x)
    head, tail = np.uint64(first), np.uint64(first + n - 1)
    slope = 0.0
    for j in range(half):
        a = float(values[head + j, column])
        b = float(values[tail - j, column])
        slope += weights[base + j] * ((b if b == b else 0.0) - (a if a == a else 0.0))
    # An infinite sample makes the slope NaN (reference behaviour), the one in the middle too, which has no weight here.
    odd = float(values[head + half, column]) if n % 2 else 0.0
    return slope + (slope + (odd if odd == odd else 0.0)) * 0.0


@helper(counted=False)
def _sum_segments(segments, count, values, i, x, gain, rn, read, photons, weights, times, lone):
    """Sums over the segments of an integration: of shapes, spans, shape * slope and 1 / (vp + vr).

    A segment has the variances ``vr = read / shape`` and ``vp = photons / span``.
    """
    shapes, spans, slopes, by_both = 0.0, 0.0, 0.0, 0.0
    for j in range(count):
        n = segments[1, j]
        shape = segment_shape(n, lone)
        span = float(n - 1) if n > 1 else lone
        shapes += shape
        spans += span
        slopes += shape * segment_slope(values[i], x, segments[0, j], n, gain, rn, weights, times, lone)
        by_both += shape * span / (photons * shape + read * span)
    return shapes, spans, slopes, by_both


@helper(counted=False)
def _reported(variance):
    """A variance as it is reported: 0 if it is too large to mean anything."""
    return 0.0 if variance >= LARGEST_VARIANCE else variance


@helper(counted=False)
def median_rate(flags, values, medians, zeroframe, kinds, x, dark, times):
    """Photon rate P [DN/s] of a pixel: mean over the integrations of their median rates, plus dark current."""
    total = 0.0
    for i in range(kinds.size):
        first = np.nan
        if (flags[i, 0, x] & SATURATED) == 0:
            first = float(values[i, 0, x])
        if kinds[i] == ZEROFRAME:
            first = float(zeroframe[i])
        if values.shape[1] == 1:
            total += first / times[2]
        elif kinds[i] == _FIRST_GROUP or kinds[i] == ZEROFRAME:
            # Without a rate an integration counts as 0; that of a single group makes all of them NaN (the reference).
            if first == first:
                total += first / (times[2] if kinds[i] == _FIRST_GROUP else times[1])
        elif kinds[i] == _RAMP and medians[i, x] == medians[i, x]:
            total += medians[i, x]
        elif kinds[i] == _RAMP and (flags[i, 0, x] & DO_NOT_USE) == 0 and first == first:
            total += first / times[0]
    median = total / kinds.size
    return median + dark if median > 0 else dark


@helper(counted=False)
def lone_time(kind, times):
    """Exposure time of a segment of one group, in group times."""
    if kind == _FIRST_GROUP:
        return times[2] / times[0]
    return times[1] / times[0] if kind == ZEROFRAME else 1.0


@helper(counted=False)
def _restore_charge_loss(results, segments, flags, gdq, place, x, gain, read, kinds, times):
    """Read variances of a pixel as if the groups left out for charge migration had been used.

    ``flags`` get the flags of the exposure again, which ``gdq`` still has at the first group, row and column of
    ``place``.
    """
    first, r, column = place
    total = 0.0
    touched = False
    for i in range(kinds.size):
        found = False
        for k in range(flags.shape[1]):
            bits = gdq[i, first + k, r, column]
            if (bits & CHARGELOSS) != 0:
                bits ^= CHARGELOSS | DO_NOT_USE
                found = True
            flags[i, k, x] = bits
        if found:
            lone = lone_time(kinds[i], times)
            shapes = 0.0
            count, _ = find_segments(segments, flags, i, x)
            # Segments whose variance is 0 do not count here: those of three groups or more without a gain (reference
            # behaviour).
            for j in range(count):
                shapes += segment_shape(segments[1, j], lone) if segments[1, j] < 3 or gain > 0 else 0.0
            by_read = shapes / read if read > 0 else 0.0
            results[i, VAR_RNOISE, x] = _reported(1.0 / by_read) if by_read > 0 else 0.0
            total += by_read
            touched = True
        elif results[i, VAR_RNOISE, x] > 0:
            # The stored number is what the reference combines, rounded as it is.
            total += 1.0 / float(np.float32(results[i, VAR_RNOISE, x]))
    if touched and total > 0:
        results[kinds.size, VAR_RNOISE, x] = _reported(1.0 / total)


@helper(counted=False)
def _set_results(results, i, x, shapes, spans, slopes, read, photons, usable):
    """Slope and variances of one integration, or of the exposure, of a pixel from sums over its segments."""
    slope, variance_r, variance_p = 0.0, 0.0, 0.0
    if shapes > 0:
        variance_r = _reported(read / shapes)
        # Weights are inverse read variances: without noise they are infinite, noise beyond all limits is 0
        # (reference behaviour), unless a sample is NaN.
        slope = slopes / shapes if variance_r > 0 else (0.0 * slopes if read > 0 else np.nan)
        variance_p = _reported(photons / spans) if photons > 0 else 0.0
    results[i, SLOPE, x] = slope if usable else np.nan
    results[i, VAR_POISSON, x] = variance_p if usable else 0.0
    results[i, VAR_RNOISE, x] = variance_r if usable else 0.0


@helper(counted=False)
def _judge_integration(flags, values, survey, zeroframe, kind, pixel_bits, segments, i, x):
    """Flags of an integration that has flags or NaN, and its segments, whose groups go to ``segments``.

    Returns its flags without SATURATED of some groups, those of any group, SATURATED if some group has it (else 0), and
    the number of segments.
    """
    n = values.shape[1]
    n_bad, n_saturated, found = survey[i, N_BAD, x], survey[i, N_SATURATED, x], survey[i, FOUND, x]
    if kind == SUPPRESSED:
        n_bad = n
    if kind == ZEROFRAME:
        # The first read stands in for the first group, whose flags are told all the same.
        values[i, 0, x] = zeroframe[i]
        flags[i, 0, x] = 0
        n_bad -= 1
        n_saturated -= n_saturated == n
    result, count = pixel_bits | (found & (JUMP_DET | PERSISTENCE)), 0
    if (flags[i, 0, x] & SATURATED) != 0:
        result |= UNUSABLE
    elif n_bad == n:
        result |= UNUSABLE if n_saturated == n else DO_NOT_USE
    else:
        count, _ = find_segments(segments, flags, i, x)
    return result, found, SATURATED if n_saturated > 0 else 0, count


@helper(counted=False)
def fit_flagged_pixel(
    results,
    bits,
    broken,
    flags,
    values,
    survey,
    x,
    pixel_bits,
    gain,
    rn,
    dark,
    medians,
    zeroframe,
    weights,
    gdq,
    place,
    ranges,
    suppress,
    times,
    segments,
    kinds,
):
    """Fit the pixel in column ``x`` of a piece: ``values`` and ``flags`` (nint, ngroup, width), which are changed.

    They are copies of the data and of ``gdq`` from the first group, row and column of ``place`` on; ``survey`` is that
    of the flags (`survey_flags`). ``broken`` (nint, width) is 0 for integrations without any flag or NaN of a pixel
    without any defect: they are one segment, the groups of ``ranges``, whose slope stands in ``results`` already.

    ``results`` (nint + 1, 4, width) gets slope, error and two variances, ``bits`` (nint + 1, width) the flags, of the
    integrations and last of the exposure; ``kinds`` says what the integrations were taken for. ``zeroframe`` (nint) may
    be empty. ``segments`` (2, ngroup) is scratch. ``times`` are those of a group, a frame and a lone first group; the
    rest as in `fit_ramps_tile`.

    Returns whether one of the integrations is suppressed.
    """
    ni = kinds.size
    if not gain > 0:
        pixel_bits |= NO_GAIN_VALUE | DO_NOT_USE
    suppressed = False
    for i in range(ni):
        kinds[i] = _RAMP if broken[i, x] == 0 else integration_kind(survey, flags, zeroframe, suppress, place[0], i, x)
        suppressed |= kinds[i] == SUPPRESSED
    photons = median_rate(flags, values, medians, zeroframe, kinds, x, dark, times) / (times[0] * gain)
    noise = rn / (times[0] * gain)
    read = 12.0 * noise * noise
    shapes_all, spans_all, slopes_all = 0.0, 0.0, 0.0
    n_unusable, n_full, all_bits = 0, 0, 0
    for i in range(ni):
        result, found, partial = pixel_bits, 0, 0
        if broken[i, x] != 0:
            result, found, partial, count = _judge_integration(
                flags, values, survey, zeroframe, kinds[i], pixel_bits, segments, i, x
            )
            lone = lone_time(kinds[i], times)
            shapes, spans, slopes, by_both = _sum_segments(
                segments, count, values, i, x, gain, rn, read, photons, weights, times, lone
            )
        else:
            length = ranges[i, 1] - ranges[i, 0]
            shapes, spans = segment_shape(length, 1.0), float(length - 1)
            slopes = results[i, SLOPE, x] * shapes
            by_both = shapes * spans / (photons * shapes + read * spans)
        shapes_all += shapes
        spans_all += spans
        slopes_all += slopes
        usable = (result & UNUSABLE) == 0
        _set_results(results, i, x, shapes, spans, slopes, read, photons, usable)
        both = 1.0 / by_both if by_both != 0 else 0.0
        results[i, ERR, x] = np.sqrt(both) if usable and not both > LARGEST_VARIANCE else 0.0
        n_unusable += (result & DO_NOT_USE) != 0
        n_full += (result & SATURATED) != 0
        all_bits |= (found & ~SATURATED) | partial
        bits[i, x] = result | partial
    result = pixel_bits | (all_bits & (JUMP_DET | PERSISTENCE))
    result |= DO_NOT_USE if n_unusable == ni else 0
    result |= SATURATED if n_full == ni else 0
    _set_results(results, ni, x, shapes_all, spans_all, slopes_all, read, photons, (result & UNUSABLE) == 0)
    results[ni, ERR, x] = np.sqrt(results[ni, VAR_POISSON, x] + results[ni, VAR_RNOISE, x])
    bits[ni, x] = result | (all_bits & SATURATED)
    if (all_bits & CHARGELOSS) != 0:
        _restore_charge_loss(results, segments, flags, gdq, place, x, gain, read, kinds, times)
    return suppressed


@helper(counted=False)
def write_back(gdq, kinds, start, r, column):
    """Leave suppressed ramps, and the jump flags of a first group that was not the first, as they were fitted."""
    for i in range(kinds.size):
        if kinds[i] == SUPPRESSED:
            for k in range(gdq.shape[1]):
                gdq[i, k, r, column] |= DO_NOT_USE
        if start > 0:
            gdq[i, start, r, column] &= ~JUMP_DET

"""Fit slopes to ramps of unevenly averaged resultants by least squares, with jump detection on the way.

Model: resultant i is the mean of N_i reads at the mean time t_i with the variance-weighted time tau_i. A segment of
resultants a ... b with the signal-to-noise ratio ``s = S / sqrt(rn^2 + S)``, ``S = R_b - R_a``, gets the weights

    w_i = (1 + P) N_i / (1 + P N_i) |(t_i - t_mid) / t_half|^P,

with P one of 0, 0.4, 1, 3, 6, 10 by s. Its slope is ``sum K_i R_i`` with ``K_i = (F0 t_i - F1) w_i / (F2 F0 - F1^2)``,
``F_k = sum w t^k``; its variance ``rn^2 sum K_i^2 / N_i`` from read noise, and the slope times
``sum K_i^2 tau_i + 2 sum_{i<j} K_i K_j t_i`` from photons. K depends on a, b and P only: a table of `_plan` leaves
one multiplication per resultant. Segments are combined with their inverse read variances.

Jumps: the largest of the slopes between resultants one and two apart, in units of its error about the fitted slope, is
compared with ``intercept - constant log10(slope)``; above it two resultants are flagged, and both parts fitted anew.

Source: Casertano (2022), Roman-STScI-000394 for the fit, Sharma & Casertano (2024), PASP 136, 054504 for the statistic;
reference behaviour for all rules. Arithmetic is float64 (the reference: float32 in part).

NaN: a segment with a resultant that is not a number is left out; a ramp without any other gets 0, not NaN. Not here:
the intercept, which the reference sets to 0.

Pixels without flags are done a piece of a row at a time; every other one, and those that may have a jump, one by one.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import JUMP_DET
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ShapeError, as_canonical, as_time, check_shape
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._segments import POWER_LIMITS
from upramp.kernels.likelihood_model import as_read_times, resultant_times

__all__ = ["THRESHOLD_CONSTANT", "THRESHOLD_INTERCEPT", "CasertanoFit", "fit_ramps_casertano"]

THRESHOLD_INTERCEPT = 5.5
THRESHOLD_CONSTANT = 1.0 / 3.0

_POWERS = np.array([0.0, 0.4, 1.0, 3.0, 6.0, 10.0])
_PIECE = 256
_ROW = _PIECE + 16
_BLOCK = 1 << 14  # pixels of a block
_FAINTEST, _BRIGHTEST = 1.0, 1.0e4  # slopes between which the threshold of a jump falls [e-/s]


class CasertanoFit(NamedTuple):
    """Slope [e-/s] and its variances from read noise, photons and both [(e-/s)^2], float32; flags uint32."""

    slope: np.ndarray
    var_read: np.ndarray
    var_poisson: np.ndarray
    var_total: np.ndarray
    dq: np.ndarray


class _Plan(NamedTuple):
    """All that a read pattern says beforehand; n resultants.

    coefficients (n, n, 6, n): K of the segment a ... b, for every power; variances (n, n, 6, 2): its factors.
    pairs (2, 3, n): of the slopes from i to i+1 and i+2, 1/dt and the factors of rn^2 and slope in their variance.
    """

    coefficients: np.ndarray
    variances: np.ndarray
    pairs: np.ndarray
    times: np.ndarray


@lru_cache(maxsize=8)
def _plan(read_time, read_pattern):
    reads, mean, weighted = resultant_times([np.asarray(one, np.float64) * read_time for one in read_pattern])
    mean, weighted = (one.astype(np.float32).astype(np.float64) for one in (mean, weighted))  # as the reference
    n = reads.size
    coefficients = np.zeros((n, n, 6, n))
    variances = np.zeros((n, n, 6, 2))
    powers = _POWERS[:, np.newaxis]
    for a in range(n):
        for b in range(a + 1, n):
            t, tau, count = mean[a : b + 1], weighted[a : b + 1], reads[a : b + 1]
            arm = np.abs(t - (t[0] + t[-1]) / 2) / ((t[-1] - t[0]) / 2)
            w = (1 + powers) * count / (1 + powers * count) * arm**powers
            f0, f1, f2 = (np.sum(w * t**k, axis=1, keepdims=True) for k in (0, 1, 2))
            k = (f0 * t - f1) * w / (f2 * f0 - f1**2)
            coefficients[a, b, :, a : b + 1] = k
            variances[a, b, :, 0] = np.sum(k**2 / count, axis=1)
            # The resultants after i have in common with it the photons up to its mean time.
            after = np.cumsum(k[:, ::-1], axis=1)[:, ::-1] - k
            variances[a, b, :, 1] = np.sum(k**2 * tau + 2 * k * after * t, axis=1)
    pairs = np.zeros((2, 3, n))
    for step in (1, 2):
        i, j = np.arange(n - step), np.arange(step, n)
        interval = mean[j] - mean[i]
        pairs[step - 1, 0, : n - step] = 1 / interval
        pairs[step - 1, 1, : n - step] = (1 / reads[i] + 1 / reads[j]) / interval**2
        pairs[step - 1, 2, : n - step] = (weighted[i] + weighted[j] - 2 * mean[i]) / interval**2
    return _Plan(coefficients, variances, pairs, mean)


@helper
def _power(signal, variance):
    """Index of the power of the weights."""
    index = 0
    for limit in POWER_LIMITS:
        index += signal > 0 and signal * signal >= limit * limit * (variance + signal)
    return index


@helper
def _excess(ramp, i, step, slope, variance, common, pairs):
    """How many sigma the slope from resultant i to i + step lies above the fitted one."""
    difference = (ramp[i + step] - ramp[i]) * pairs[step - 1, 0, i] - slope
    return difference / np.sqrt(variance * pairs[step - 1, 1, i] + slope * (pairs[step - 1, 2, i] - common))


@helper
def _worst(ramp, a, b, slope, variance, pairs, times):
    """Largest excess in a segment, and where it is. A NaN at its end is never exceeded (reference behaviour)."""
    common = 1.0 / (times[b] - times[a])
    place = b - 1
    largest = _excess(ramp, place, 1, slope, variance, common, pairs)
    for i in range(a, b - 1):
        single = _excess(ramp, i, 1, slope, variance, common, pairs)
        double = _excess(ramp, i, 2, slope, variance, common, pairs)
        value = double if double > single or single != single else single
        if value > largest:
            largest = value
            place = i
    return largest, place


@helper
def _fit_pixel(ramp, flags, stack, noise, detect, intercept, constant, coefficients, variances, pairs, times):
    """Slope and variances of one pixel, segment by segment; jumps are assigned to ``flags``."""
    n = ramp.size
    variance = noise * noise
    weights, slopes, by_read, by_photons = 0.0, 0.0, 0.0, 0.0
    count = 0
    start = -1
    for i in range(n + 1):
        good = i < n and flags[i] == 0
        if good and start < 0:
            start = i
        if not good and start >= 0:
            stack[count, 0], stack[count, 1] = start, i - 1
            count += 1
            start = -1
    while count > 0:
        count -= 1
        a, b = stack[count, 0], stack[count, 1]
        if a == b:
            continue
        index = _power(ramp[b] - ramp[a], variance)
        slope = 0.0
        for i in range(a, b + 1):
            slope += coefficients[a, b, index, i] * ramp[i]
        if detect != 0:
            largest, place = _worst(ramp, a, b, slope, variance, pairs, times)
            threshold = intercept - constant * np.log10(min(max(slope, _FAINTEST), _BRIGHTEST))
            if largest > threshold:
                flags[place], flags[place + 1] = JUMP_DET, JUMP_DET
                if place > a:
                    stack[count, 0], stack[count, 1] = a, place - 1
                    count += 1
                if place + 1 < b:
                    stack[count, 0], stack[count, 1] = place + 2, b
                    count += 1
                continue
        own = variance * variances[a, b, index, 0]
        if slope != slope or not own > 0:
            continue
        weight = 1.0 / own
        weights += weight
        slopes += weight * slope
        by_read += weight
        by_photons += weight * weight * variances[a, b, index, 1]
    if weights == 0:
        return 0.0, 0.0, 0.0
    slope = slopes / weights
    return slope, by_read / (weights * weights), max(slope, 0.0) * by_photons / (weights * weights)


@helper
def _fit_clean(slope, var_read, var_poisson, power, other, samples, variance, coefficients, variances, n):
    """Slopes and variances of unbroken ramps, lane by lane; ``power`` and ``other`` are scratch."""
    last = samples.shape[0] - 1
    for x in range(n):
        signal = samples[last, x] - samples[0, x]
        index = 0.0
        for limit in POWER_LIMITS:
            index += 1.0 if signal > 0 and signal * signal >= limit * limit * (variance[x] + signal) else 0.0
        power[x] = index
    lowest = 5.0
    highest = 0.0
    for x in range(n):
        lowest = power[x] if power[x] < lowest else lowest
        highest = power[x] if power[x] > highest else highest
    fill_row(slope[:n], 0.0)
    fill_row(var_read[:n], 0.0)
    fill_row(var_poisson[:n], 0.0)
    # Neighbouring pixels share one or two powers: a pass for each is faster than looking weights up per pixel.
    for index in range(int(lowest), int(highest) + 1):
        fill_row(other[:n], 0.0)
        for i in range(last + 1):
            c = coefficients[0, last, index, i]
            y = samples[i]
            for x in range(n):
                other[x] += c * y[x]
        by_read = variances[0, last, index, 0]
        by_photons = variances[0, last, index, 1]
        for x in range(n):
            chosen = power[x] == index
            slope[x] += other[x] if chosen else 0.0
            var_read[x] += by_read * variance[x] if chosen else 0.0
            var_poisson[x] += by_photons * (other[x] if other[x] > 0 else 0.0) if chosen else 0.0


@helper
def _mark_suspects(careful, samples, slope, variance, lowest, pairs, times, n):
    """Mark ramps in which some slope exceeds the fitted one by the lowest threshold there can be."""
    last = samples.shape[0] - 1
    common = 1.0 / (times[last] - times[0])
    square = lowest * lowest if lowest > 0 else 0.0
    for step in range(1, 3):
        for i in range(last + 1 - step):
            inverse, by_read, by_slope = pairs[step - 1, 0, i], pairs[step - 1, 1, i], pairs[step - 1, 2, i] - common
            y0, y1 = samples[i], samples[i + step]
            for x in range(n):
                difference = (y1[x] - y0[x]) * inverse - slope[x]
                limit = square * (variance[x] * by_read + slope[x] * by_slope)
                above = difference * difference > limit and (difference > 0 or lowest < 0)
                careful[x] |= np.uint8(1) if above else np.uint8(0)


@kernel
def _fit_block(
    first, last, out, dq, resultants, read_noise, detect, intercept, constant, coefficients, variances, pairs, times
):
    """Fit the pixels first ... last - 1: ``out`` (4, npixel), ``dq`` and ``resultants`` (n, npixel)."""
    n = resultants.shape[0]
    samples = np.empty((n, _ROW), np.float64)
    rows = np.empty((6, _ROW), np.float64)
    variance, slope, var_read, var_poisson, power, other = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    careful = np.empty(_ROW, np.uint8)
    total = np.empty(_ROW, np.float64)
    ramp = np.empty(n, np.float64)
    flags = np.empty(n, np.uint32)
    stack = np.empty((n + 1, 2), np.int64)
    lowest = intercept - max(0.0, constant * np.log10(_BRIGHTEST))
    for left in range(first, last, _PIECE):
        w = min(_PIECE, last - left)
        noise = read_noise[left : left + w]
        fill_row(total[:w], 0.0)
        for x in range(w):
            variance[x] = float(noise[x]) * float(noise[x])
            careful[x] = np.uint8(0) if variance[x] > 0 else np.uint8(1)
        for i in range(n):
            copy_row(samples[i, :w], resultants[i, left : left + w])
            q = dq[i, left : left + w]
            y = samples[i]
            for x in range(w):
                careful[x] |= np.uint8(0) if q[x] == 0 else np.uint8(1)
            for x in range(w):
                total[x] += y[x]
        for x in range(w):
            careful[x] |= np.uint8(0) if total[x] - total[x] == 0 and n > 1 else np.uint8(1)
        if n > 1:
            _fit_clean(slope, var_read, var_poisson, power, other, samples, variance, coefficients, variances, w)
            if detect != 0:
                _mark_suspects(careful, samples, slope, variance, lowest, pairs, times, w)
        for x in range(w):
            if careful[x] != 0:
                for i in range(n):
                    ramp[i] = samples[i, x]
                    flags[i] = dq[i, left + x]
                slope[x], var_read[x], var_poisson[x] = _fit_pixel(
                    ramp, flags, stack, float(noise[x]), detect, intercept, constant, coefficients, variances, pairs,
                    times,
                )  # fmt: skip
                for i in range(n):
                    dq[i, left + x] = flags[i]
        copy_row(out[0, left : left + w], slope)
        copy_row(out[1, left : left + w], var_read)
        copy_row(out[2, left : left + w], var_poisson)
        for x in range(w):
            out[3, left + x] = var_read[x] + var_poisson[x]


def fit_ramps_casertano(
    resultants,
    dq,
    read_noise,
    *,
    read_time,
    read_pattern,
    detect_jumps=False,
    threshold_intercept=THRESHOLD_INTERCEPT,
    threshold_constant=THRESHOLD_CONSTANT,
    threads=None,
):
    """Fit a slope to every ramp of unevenly averaged resultants (Casertano 2022).

    Parameters
    ----------
    resultants : (n, ...) float32
        Mean of the reads of every resultant [e-].
    dq : (n, ...) unsigned integers
        Flags; a resultant with any flag cuts the ramp.
    read_noise : (...) float32, or a number
        Noise of one read [e-].
    read_time : float
        Time between reads [s].
    read_pattern : sequence of n sequences of int
        The reads of every resultant, counted from 1 and increasing.
    detect_jumps : bool
        Whether to look for jumps (Sharma & Casertano 2024).
    threshold_intercept, threshold_constant : float
        The threshold of a jump is ``intercept - constant * log10(slope)`` sigma, the slope limited to 1 ... 1e4 e-/s.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    CasertanoFit
        Slope and variances with the shape of the read noise, and the flags with those of the jumps. 0 for ramps
        without two usable resultants in a row (reference behaviour).

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, with each other or with the read pattern.
    ParameterError
        The read time is not positive.

    Notes
    -----
    Source, equations and NaN rule: see the module. Cost: O(n) per pixel; a table of 6 n^3 numbers per read pattern.
    """
    read_time = as_time(read_time, "read_time")
    resultants = np.asarray(resultants)
    shape = resultants.shape
    read_pattern = as_read_times(read_pattern, "read_pattern")
    if len(read_pattern) != (shape[0] if shape else 0):
        raise ShapeError(f"read_pattern has {len(read_pattern)} resultants; resultants have the shape {shape}")
    check_shape(np.asarray(dq), "dq", shape)
    noise = np.broadcast_to(np.asarray(read_noise, np.float32), shape[1:]) if np.ndim(read_noise) == 0 else read_noise
    check_shape(np.asarray(noise), "read_noise", shape[1:])
    samples = as_canonical(resultants.reshape(shape[0], -1), "resultants", np.float32, 2)
    flags = as_canonical(np.asarray(dq).reshape(shape[0], -1), "dq", np.uint32, 2).copy()
    noise = as_canonical(np.asarray(noise).reshape(-1), "read_noise", np.float32, 1).copy()
    plan = _plan(float(read_time), tuple(tuple(one.tolist()) for one in read_pattern))
    out = np.empty((4, samples.shape[1]), np.float32)
    samples = samples if samples.flags.writeable else samples.copy()
    run_rows(
        _fit_block,
        samples.shape[1],
        out,
        flags,
        samples,
        noise,
        int(detect_jumps),
        float(threshold_intercept),
        float(threshold_constant),
        *plan,
        threads=threads,
        block=_BLOCK,
    )
    return CasertanoFit(*(plane.reshape(shape[1:]) for plane in out), flags.reshape(shape))

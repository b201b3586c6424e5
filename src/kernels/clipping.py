"""Sigma clipping of many values at once: the values are sorted once, and every clip is then a range of them.

A *sample* is the sorted finite values with the sums of its blocks, so that mean and standard deviation of any range
cost one pass over the blocks. Rules are those of the reference, which clips at 3 sigma (population standard deviation
about the median) up to five times; sums are float64 about a value in the middle.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import helper, kernel

__all__ = ["Sample", "background_limits", "float32_limits", "make_sample", "median", "restrict"]

BLOCK = 1024  # values whose sums are kept
CLIP = 3.0
ITERATIONS = 5
BINS = 2000
DIGITS = 2048  # 11 bits


class Sample(NamedTuple):
    """Sorted values; those from ``first`` to ``last`` (exclusive) are the sample.

    values : (n,) float32, ascending
    sums : (n // BLOCK + 1, 2) float64, sum and sum of squares of every block, of values less the pivot
    """

    values: np.ndarray
    sums: np.ndarray
    pivot: float
    first: int
    last: int

    @property
    def size(self):
        """Number of values."""
        return self.last - self.first


@kernel
def sort_into(out, values):
    """Sort float32 values (no NaN) into ``out`` by their bits, eleven at a time; ``values`` is overwritten."""
    counts = np.zeros((3, DIGITS), np.int64)
    source, target = values.view(np.uint32), out.view(np.uint32)
    sign = np.uint32(0x80000000)
    for k in range(source.size):
        word = source[k]
        # Bits of floats are in order once those of negative ones are all turned, and the sign of the others.
        word = ~word if word & sign else word | sign
        source[k] = word
        counts[0, word & np.uint32(2047)] += 1
        counts[1, (word >> np.uint32(11)) & np.uint32(2047)] += 1
        counts[2, word >> np.uint32(22)] += 1
    for digit in range(3):
        total = 0
        for b in range(DIGITS):
            total, counts[digit, b] = total + counts[digit, b], total
    for k in range(source.size):
        word = source[k]
        b = word & np.uint32(2047)
        target[counts[0, b]] = word
        counts[0, b] += 1
    for k in range(source.size):
        word = target[k]
        b = (word >> np.uint32(11)) & np.uint32(2047)
        source[counts[1, b]] = word
        counts[1, b] += 1
    for k in range(source.size):
        word = source[k]
        b = word >> np.uint32(22)
        target[counts[2, b]] = word & np.uint32(0x7FFFFFFF) if word & sign else ~word
        counts[2, b] += 1


@kernel
def sum_blocks(sums, values, pivot):
    """Sums and sums of squares of values less the pivot, block by block."""
    for b in range(sums.shape[0]):
        s1 = s2 = t1 = t2 = 0.0
        first, last = b * BLOCK, min((b + 1) * BLOCK, values.size)
        for k in range(first, last - 1, 2):
            u, v = values[k] - pivot, values[k + 1] - pivot
            s1, t1 = s1 + u, t1 + v
            s2, t2 = s2 + u * u, t2 + v * v
        if (last - first) % 2 == 1:
            u = values[last - 1] - pivot
            s1, s2 = s1 + u, s2 + u * u
        sums[b, 0], sums[b, 1] = s1 + t1, s2 + t2


@helper
def _range_sums(values, sums, pivot, first, last):
    s1 = s2 = 0.0
    k = first
    while k < last:
        if k % BLOCK == 0 and k + BLOCK <= last:
            s1 += sums[k // BLOCK, 0]
            s2 += sums[k // BLOCK, 1]
            k += BLOCK
        else:
            u = values[k] - pivot
            s1 += u
            s2 += u * u
            k += 1
    return s1, s2


@helper
def _value(values, k, shift):
    return np.float64(values[k] - shift)


@kernel
def clip_range(values, sums, pivot, first, last, shift):
    """Clip the values less ``shift`` (float32); median, mean, standard deviation of what is left, and its range."""
    for iteration in range(ITERATIONS + 1):
        n = last - first
        centre = 0.5 * (_value(values, first + (n - 1) // 2, shift) + _value(values, first + n // 2, shift))
        s1, s2 = _range_sums(values, sums, pivot, first, last)
        mean = s1 / n
        sigma = np.sqrt(max(s2 / n - mean * mean, 0.0))
        if iteration == ITERATIONS:
            break
        low, high, before = centre - CLIP * sigma, centre + CLIP * sigma, n
        while first < last - 1 and _value(values, first, shift) < low:
            first += 1
        while last - 1 > first and _value(values, last - 1, shift) > high:
            last -= 1
        if last - first == before:
            break
    return centre, pivot + mean - shift, sigma, first, last


@kernel
def clip_lower_half(values, sums, pivot, first, last, shift, centre):
    """Standard deviation about ``centre`` of the values below it, less ``shift``, clipped."""
    n = last
    # The last one that is not above the centre, by bisection.
    low = first
    while low < n:
        middle = (low + n) // 2
        if _value(values, middle, shift) <= centre:
            low = middle + 1
        else:
            n = middle
    offset = centre + shift - pivot
    for iteration in range(ITERATIONS + 1):
        s1, s2 = _range_sums(values, sums, pivot, first, n)
        count = n - first
        sigma = np.sqrt(max(s2 - 2 * offset * s1 + count * offset * offset, 0.0) / count)
        if iteration == ITERATIONS:
            break
        before = count
        while first < n - 1 and _value(values, first, shift) < centre - CLIP * sigma:
            first += 1
        if n - first == before:
            break
    return sigma


@kernel
def _bounds(values, first, last, low, high):
    """Range of the sorted values from low to high, both included."""
    while first < last and values[first] < low:
        first += 1
    while last > first and values[last - 1] > high:
        last -= 1
    return first, last


def make_sample(values):
    """Sort values for clipping.

    Parameters
    ----------
    values : (n,) float32
        Without NaN; overwritten. Infinite values are left out of the sample.

    Returns
    -------
    Sample or None
        None if no value is finite.
    """
    ordered = np.empty_like(values)
    sort_into(ordered, values)
    first, last = 0, ordered.size
    while first < last and ordered[first] == -np.inf:
        first += 1
    while last > first and ordered[last - 1] == np.inf:
        last -= 1
    if first == last:
        return None
    ordered = ordered[first:last]
    pivot = float(ordered[ordered.size // 2])
    sums = np.empty((ordered.size // BLOCK + 1, 2))
    sum_blocks(sums, ordered, pivot)
    return Sample(ordered, sums, pivot, 0, ordered.size)


def restrict(sample, low, high):
    """The sample without values outside low ... high (float32 or float64)."""
    first, last = _bounds(sample.values, sample.first, sample.last, float(low), float(high))
    return sample._replace(first=int(first), last=int(last))


def median(sample):
    """Median of the sample in single precision, as `numpy.median` of float32 gives it."""
    n, start = sample.size, sample.first
    if n == 0:
        return np.float32(np.nan)
    low, high = sample.values[start + (n - 1) // 2], sample.values[start + n // 2]
    return low if n % 2 else np.float32(0.5) * (low + high)


def background_limits(sample, lower, upper, *, shift=0.0, lower_half=False, fit_histogram=False):
    """Limits of what is background: values outside are bad or signal.

    Parameters
    ----------
    sample : Sample
        Of at least one value.
    lower, upper : float
        Distance of the limits from the centre [standard deviations].
    shift : float32
        Level that is subtracted from the values, in single precision.
    lower_half : bool
        The standard deviation is that of the lower half, mirrored at the centre: diffuse emission has a tail upwards.
    fit_histogram : bool
        Centre and standard deviation are those of a Gaussian fitted to the histogram (not with ``lower_half``).

    Returns
    -------
    low, high : float
        Limits for values less ``shift``; values on them are kept.
    """
    shift = np.float32(shift)
    arguments = (*sample, shift)
    centre, mean, sigma, _, _ = clip_range(*arguments)
    if lower_half:
        sigma = clip_lower_half(*arguments, centre)
    elif fit_histogram:
        centre, sigma = _fit_histogram(sample.values[sample.first : sample.last] - shift, mean, sigma)
    return centre - lower * sigma, centre + upper * sigma


def float32_limits(low, high):
    """The same limits for comparisons in single precision: the outermost float32 numbers inside them."""
    inner_low, inner_high = np.float32(low), np.float32(high)
    if inner_low < low:
        inner_low = np.nextafter(inner_low, np.float32(np.inf))
    if inner_high > high:
        inner_high = np.nextafter(inner_high, np.float32(-np.inf))
    return inner_low, inner_high


def _fit_histogram(ordered, centre, sigma):
    """Mean and width of a Gaussian fitted to the histogram of sorted values; centre and sigma where that fails."""
    if not (np.isfinite(centre) and sigma > 0):
        return centre, sigma
    counts, edges = np.histogram(
        ordered.astype(np.float64), bins=BINS, range=(centre - 4.0 * sigma, centre + 4.0 * sigma)
    )
    x = 0.5 * (edges[1:] + edges[:-1])
    peak = int(np.argmax(counts))
    start = np.array([float(counts[peak]), x[peak], sigma])
    found = _fit_gaussian(x, counts.astype(np.float64), start) if counts[peak] > 0 else None
    return (centre, sigma) if found is None else (found[1], found[2])


def _fit_gaussian(x, y, start, iterations=200):
    """Least squares by Levenberg and Marquardt, inside the histogram: (amplitude, mean, width) or None."""
    low, high = np.array([0.0, x[0], 0.0]), np.array([np.inf, x[-1], x[-1] - x[0]])

    def residuals(p):
        shape = np.exp(-0.5 * ((x - p[1]) / p[2]) ** 2)
        return p[0] * shape - y, shape

    p = np.clip(start, low, high)
    residual, shape = residuals(p)
    cost, damping = residual @ residual, 1e-3
    for _ in range(iterations):
        z = (x - p[1]) / p[2]
        jacobian = np.stack([shape, p[0] * shape * z / p[2], p[0] * shape * z * z / p[2]])
        normal, gradient = jacobian @ jacobian.T, jacobian @ residual
        if not np.all(np.diag(normal) > 0):
            return None
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
        trial = np.clip(p + step, low, high)
        if trial[2] <= 0:
            damping *= 10
            continue
        new_residual, new_shape = residuals(trial)
        new_cost = new_residual @ new_residual
        if new_cost <= cost:
            converged = np.all(np.abs(trial - p) <= 1e-12 * np.abs(p)) or cost - new_cost <= 1e-15 * cost
            p, residual, shape, cost, damping = trial, new_residual, new_shape, new_cost, damping / 10
            if converged:
                return p
        else:
            damping *= 10
            if damping > 1e12:
                return p
    return None

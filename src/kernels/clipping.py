"""Sigma clipping of many values at once: values are put into buckets once, and every clip is then a range of ranks.

A *sample* is the finite values in narrow buckets that follow each other upwards, with the sums of each. Mean and
standard deviation of a range of ranks cost one pass over the buckets; only buckets at its ends and in its middle have
to be sorted, and they are when somebody looks into them. Rules are those of the reference, which clips at 3 sigma
(population standard deviation about the median) up to five times; sums are float64 about a value in the middle.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._rows import insert

__all__ = ["Sample", "background_limits", "float32_limits", "make_sample", "median", "restrict"]

CLIP = 3.0
ITERATIONS = 5
BINS = 2000
DIGITS = 2048  # 11 bits
BUCKETS = 2048  # at most
BUCKET = 256  # pixels for each bucket, in small images
REACH = 6.0  # buckets of equal width reach so many quartile distances beyond the quartiles
LOOKED_AT = 4096  # pixels that the quartiles are taken from
ROWS = 64  # of an image, sorted into buckets together
FEW = 48  # so many values are sorted by insertion


class Sample(NamedTuple):
    """Values in buckets; those of rank ``first`` to ``last`` (exclusive) are the sample.

    values : (n,) float32, bucket after bucket
    starts : (nbucket + 1,) int64, where the buckets begin
    ready : (nbucket,) bool, whether a bucket is sorted
    sums : (nbucket, 2) float64, sum and sum of squares of every bucket, of values less the pivot
    """

    values: np.ndarray
    starts: np.ndarray
    ready: np.ndarray
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


@helper
def sort_few(values):
    """Sort by insertion, in place."""
    for k in range(1, values.size):
        insert(values, k, values[k])


@kernel
def find_scale(image, mask, n_buckets):
    """Lower end of the buckets, buckets per unit, and the median, from some pixels under the mask."""
    flat, use = image.reshape(image.size), mask.reshape(mask.size)
    step = (image.size // LOOKED_AT) | 1
    some = np.empty(image.size // step + 1, np.float32)
    n = 0
    for k in range(0, image.size, step):
        some[n] = flat[k]
        n += use[k] and flat[k] - flat[k] == 0
    if n == 0:
        return np.float32(0), np.float32(0), 0.0
    ordered = np.empty(n, np.float32)
    sort_into(ordered, some[:n])
    low, high, pivot = ordered[n // 4], ordered[3 * n // 4], np.float64(ordered[n // 2])
    reach = np.float32(REACH) * (high - low)
    width = (high + reach) - (low - reach)
    scale = np.float32(n_buckets) / width if width > 0 else np.float32(0)
    # Without a usable width everything comes into the first bucket.
    return low - reach, scale if scale - scale == 0 else np.float32(0), pivot


@helper
def _choose_buckets(buckets, row, use, low, scale, n_buckets):
    """Buckets of the pixels of a row; what is not under the mask or not finite comes into one of its own, the last."""
    top = np.float32(n_buckets - 1)
    for x in range(row.size):
        place = (row[x] - low) * scale
        place = place if place > 0 else np.float32(0)
        place = place if place < top else top
        buckets[x] = np.int32(place)
    for x in range(row.size):
        buckets[x] = buckets[x] if use[x] & (row[x] - row[x] == 0) else n_buckets


@kernel
def count_in_buckets(first, last, counts, image, mask, low, scale):
    """Count the pixels of rows first ... last - 1 in a row of ``counts`` (blocks of rows, nbucket + 1)."""
    here = counts[first // ROWS]
    buckets = np.empty(image.shape[1], np.int32)
    for r in range(first, last):
        _choose_buckets(buckets, image[r], mask[r], low, scale, here.size - 1)
        for x in range(buckets.size):
            here[buckets[x]] += 1


@kernel
def put_into_buckets(first, last, values, places, image, mask, low, scale):
    """Put the pixels of rows first ... last - 1 into their buckets, at ``places`` (blocks of rows, nbucket + 1)."""
    here = places[first // ROWS]
    buckets = np.empty(image.shape[1], np.int32)
    for r in range(first, last):
        _choose_buckets(buckets, image[r], mask[r], low, scale, here.size - 1)
        row = image[r]
        for x in range(buckets.size):
            values[here[buckets[x]]] = row[x]
            here[buckets[x]] += 1


@kernel
def sum_buckets(sums, values, starts, pivot):
    """Sums and sums of squares of values less the pivot, bucket by bucket."""
    for b in range(sums.shape[0]):
        s1 = s2 = t1 = t2 = 0.0
        first, last = starts[b], starts[b + 1]
        for k in range(first, last - 1, 2):
            u, v = values[k] - pivot, values[k + 1] - pivot
            s1, t1 = s1 + u, t1 + v
            s2, t2 = s2 + u * u, t2 + v * v
        if (last - first) % 2 == 1:
            u = values[last - 1] - pivot
            s1, s2 = s1 + u, s2 + u * u
        sums[b, 0], sums[b, 1] = s1 + t1, s2 + t2


@helper
def _sorted_bucket(values, starts, ready, k):
    """The bucket of rank k, which gets sorted."""
    low, high = 0, ready.size - 1
    while low < high:
        middle = (low + high + 1) // 2
        if starts[middle] <= k:
            low = middle
        else:
            high = middle - 1
    if not ready[low]:
        part = values[starts[low] : starts[low + 1]]
        if part.size <= FEW:
            sort_few(part)
        else:
            ordered = np.empty(part.size, np.float32)
            sort_into(ordered, part)
            for j in range(part.size):
                part[j] = ordered[j]
        ready[low] = True
    return low


@helper
def _value(values, starts, ready, k, shift):
    """The value of rank k less ``shift``, in single precision."""
    _sorted_bucket(values, starts, ready, k)
    return np.float64(values[k] - shift)


@helper
def _rank(values, starts, ready, first, last, limit, above, shift):
    """First rank of those given whose value less ``shift`` is not below the limit, or is ``above`` it."""
    while first < last:
        k = (first + last) // 2
        value = _value(values, starts, ready, k, shift)
        if value > limit if above else not value < limit:
            last = k
        else:
            first = k + 1
    return first


@helper
def _range_sums(values, starts, ready, sums, pivot, first, last):
    s1 = s2 = 0.0
    b = _sorted_bucket(values, starts, ready, first)
    _sorted_bucket(values, starts, ready, last - 1)
    k = first
    while k < last:
        if k == starts[b] and starts[b + 1] <= last:
            s1 += sums[b, 0]
            s2 += sums[b, 1]
            k = starts[b + 1]
        else:
            end = min(starts[b + 1], last)
            while k < end:
                u = values[k] - pivot
                s1 += u
                s2 += u * u
                k += 1
        b += 1
    return s1, s2


@kernel
def clip_range(values, starts, ready, sums, pivot, first, last, shift):
    """Clip the values less ``shift`` (float32); median, mean, standard deviation of what is left, and its range."""
    for iteration in range(ITERATIONS + 1):
        n = last - first
        low = _value(values, starts, ready, first + (n - 1) // 2, shift)
        centre = 0.5 * (low + _value(values, starts, ready, first + n // 2, shift))
        s1, s2 = _range_sums(values, starts, ready, sums, pivot, first, last)
        mean = s1 / n
        sigma = np.sqrt(max(s2 / n - mean * mean, 0.0))
        if iteration == ITERATIONS:
            break
        low, high, before = centre - CLIP * sigma, centre + CLIP * sigma, n
        first = _rank(values, starts, ready, first, last - 1, low, False, shift)
        last = _rank(values, starts, ready, first + 1, last, high, True, shift)
        if last - first == before:
            break
    return centre, pivot + mean - shift, sigma, first, last


@kernel
def clip_lower_half(values, starts, ready, sums, pivot, first, last, shift, centre):
    """Standard deviation about ``centre`` of the values below it, less ``shift``, clipped."""
    last = _rank(values, starts, ready, first, last, centre, True, shift)
    offset = centre + shift - pivot
    for iteration in range(ITERATIONS + 1):
        s1, s2 = _range_sums(values, starts, ready, sums, pivot, first, last)
        count = last - first
        sigma = np.sqrt(max(s2 - 2 * offset * s1 + count * offset * offset, 0.0) / count)
        if iteration == ITERATIONS:
            break
        first = _rank(values, starts, ready, first, last - 1, centre - CLIP * sigma, False, shift)
        if last - first == count:
            break
    return sigma


@kernel
def _bounds(values, starts, ready, first, last, low, high):
    """Range of the ranks whose values are from low to high, both included."""
    nothing = np.float32(0)
    first = _rank(values, starts, ready, first, last, low, False, nothing)
    return first, _rank(values, starts, ready, first, last, high, True, nothing)


@kernel
def _middle_values(values, starts, ready, first, last):
    """The two values in the middle; the same one twice if their number is odd."""
    k, m = first + (last - first - 1) // 2, first + (last - first) // 2
    _sorted_bucket(values, starts, ready, k)
    _sorted_bucket(values, starts, ready, m)
    return values[k], values[m]


def make_sample(image, mask, threads=1):
    """Put the pixels under a mask into buckets for clipping.

    Parameters
    ----------
    image : (ny, nx) float32
    mask : (ny, nx) bool
        Values that are not finite are left out of the sample, whatever it says.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    Sample or None
        None if there is no value.
    """
    n_buckets = min(BUCKETS, max(image.size // BUCKET, 1))
    low, scale, pivot = find_scale(image, mask, n_buckets)
    arguments = image, mask, np.float32(low), np.float32(scale)
    counts = np.zeros((-(-len(image) // ROWS), n_buckets + 1), np.int64)
    run_rows(count_in_buckets, len(image), counts, *arguments, threads=threads, block=ROWS)
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    size = int(starts[n_buckets])
    if size == 0:
        return None
    places = np.cumsum(counts, axis=0) - counts + starts[:-1]
    values, sums = np.empty(image.size, np.float32), np.empty((n_buckets, 2))
    run_rows(put_into_buckets, len(image), values, places, *arguments, threads=threads, block=ROWS)
    sum_buckets(sums, values, starts, pivot)
    return Sample(values[:size], starts[:-1], np.zeros(n_buckets, np.bool_), sums, float(pivot), 0, size)


def restrict(sample, low, high):
    """The sample without values outside low ... high (float32 or float64)."""
    first, last = _bounds(*sample[:3], sample.first, sample.last, float(low), float(high))
    return sample._replace(first=int(first), last=int(last))


def median(sample):
    """Median of the sample in single precision, as `numpy.median` of float32 gives it."""
    if sample.size == 0:
        return np.float32(np.nan)
    low, high = _middle_values(*sample[:3], sample.first, sample.last)
    return np.float32(low) if sample.size % 2 else np.float32(0.5) * (np.float32(low) + np.float32(high))


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

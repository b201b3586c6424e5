"""Find jumps among the differences of a ramp: the compiled part of `jump` that decides.

Nearly all ramps have no jump, and that can be proved without their median. A value ``v`` above the reference level
``c`` is no jump when ``v - c <= T sqrt(c + r^2/nframes)``, which holds for all ``c`` above some limit that depends
on ``v`` alone. So it is enough to count that no more than half the values lie below the limit of the largest value
(and above that of the smallest): two passes over the samples, branch-free, in float32 with a safety margin. Every
ramp that is not proved clean is sorted and goes through the rules in float64.

Symbols, sources and the NaN rule are those of `jump`.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._rows import fill_row

__all__ = ["columns_with_jumps", "detect_jumps_tile", "jump_scratch", "next_jumps"]

UNUSABLE = DO_NOT_USE | SATURATED

DECLINED = -1  # too few usable groups: nothing is looked for
ITERATIVE = 0
SINGLE_PASS = 1
SIGMA_CLIP = 2  # over the integrations, group by group
SIGMA_CLIP_ALL = 3  # over all groups of all integrations

_LANES = 64  # ramps that are sorted together


@helper
def _piece_width(depth):
    """Columns done together: their scratch, ``depth`` rows of float32, shall stay near the processor."""
    # Rows that are a power of two apart would compete for the same cache lines.
    return min(240, max(48, 65536 // max(depth, 1) // 16 * 16))


@helper
def _load_differences(values, data, gdq, gain, unused, k0, k1, magnitude, r, left, right):
    """Fill rows of ``values`` with the differences k0 <= k < k1 of all integrations; returns the number of rows.

    Pairs with a group that no pixel of the frame uses have no row. Unusable differences are NaN.
    """
    g = gain[r, left:right]
    n = 0
    for i in range(data.shape[0]):
        for k in range(k0, k1):
            if (unused[i, k] | unused[i, k + 1]) != 0:
                continue
            v = values[n, : g.size]
            a = data[i, k, r, left:right]
            b = data[i, k + 1, r, left:right]
            p = gdq[i, k, r, left:right]
            q = gdq[i, k + 1, r, left:right]
            bits = np.uint8(0)
            for x in range(p.size):
                bits = np.uint8(bits | p[x] | q[x])
            if magnitude:
                for x in range(g.size):
                    v[x] = abs(b[x] * g[x] - a[x] * g[x])
            else:
                for x in range(g.size):
                    v[x] = b[x] * g[x] - a[x] * g[x]
            if (bits & UNUSABLE) != 0:
                for x in range(g.size):
                    v[x] += np.float32(np.nan) if ((p[x] | q[x]) & UNUSABLE) != 0 else np.float32(0)
            n += 1
    return n


@helper
def _survey(low, high, total, values, n):
    """Smallest and largest value and sum of every column; the sum is not finite if any value is not."""
    zero = np.float32(0)
    fill_row(low, np.float32(np.inf))
    fill_row(high, np.float32(-np.inf))
    fill_row(total, np.float32(0))
    # Two rows at a time: what is accumulated is loaded and stored half as often.
    for j in range(0, n, 2):
        v = values[j, : low.size]
        w = values[min(j + 1, n - 1), : low.size]
        for x in range(low.size):
            least = v[x] if v[x] < w[x] else w[x]
            most = w[x] if v[x] < w[x] else v[x]
            # Adding zero: see _median._exchange.
            a = low[x] + zero
            b = high[x] + zero
            low[x] = least if least < a else a
            high[x] = most if most > b else b
            total[x] += v[x] + w[x]
    if n % 2 == 1:
        # The last row has been taken twice.
        v = values[n - 1, : low.size]
        for x in range(low.size):
            total[x] -= v[x]


@helper
def _limits_from_noise(lowest, highest, low, high, gain, read_noise, threshold, nframes, r, left):
    """Range of reference levels for which neither the smallest nor the largest value is a jump (see module)."""
    t = np.float32(threshold)
    half = np.float32(0.5) * t * t
    reads = np.float32(nframes)
    margin = np.float32(1e-5)  # float32 rounding of what follows is 20 times smaller
    g = gain[r, left : left + low.size]
    s = read_noise[r, left : left + low.size]
    for x in range(low.size):
        noise = g[x] * s[x]
        variance = noise * noise / reads
        floor = t * np.sqrt(variance)
        size = abs(low[x])
        root = t * np.sqrt(np.float32(0.5) * half + size + variance)
        reach = root - half if root - half > floor else floor
        reach = half + root if low[x] >= 0 else reach
        highest[x] = low[x] + reach - margin * (size + half + root)
        size = abs(high[x])
        root = t * np.sqrt(np.float32(0.5) * half + size + variance)
        reach = root - half if root - half > floor else floor
        reach = half + root if high[x] <= 0 else reach
        lowest[x] = high[x] - reach + margin * (size + half + root)


@helper
def _limits_from_scatter(lowest, highest, low, high, total, values, n, threshold):
    """The same for sigma clipping; ``total`` is used up. The standard deviation is taken a little too small."""
    t = np.float32(threshold)
    count = np.float32(n)
    rounding = count * np.float32(2.4e-7)
    for x in range(low.size):
        total[x] /= count
        lowest[x] = np.float32(0)
    for j in range(n):
        v = values[j, : low.size]
        for x in range(low.size):
            d = v[x] - total[x]
            lowest[x] += d * d
    for x in range(low.size):
        largest = abs(low[x]) if abs(low[x]) > abs(high[x]) else abs(high[x])
        sd = np.sqrt(lowest[x] / count) * (np.float32(0.999) - rounding) - rounding * largest
        highest[x] = low[x] + t * sd
        lowest[x] = high[x] - t * sd


@helper(owns=True)
def _prove_clean(suspect, lowest, highest, high, total, values, n, drops_largest):
    """Set ``suspect`` where the median is not certain to lie between ``lowest`` and ``highest``.

    With R values, none of those in the middle lies below a limit if at most (R - 1) / 2 values do. The iterative
    mode drops the largest value with all its ties before taking the median.
    """
    zero = np.float32(0)
    one = np.float32(1)
    below = np.zeros(high.size, np.float32)
    above = np.zeros(high.size, np.float32)
    ties = np.zeros(high.size, np.float32)
    for j in range(0, n - n % 2, 2):
        v = values[j, : high.size]
        w = values[j + 1, : high.size]
        # Three loops: with all arrays in one, LLVM gives up proving that they do not overlap.
        for x in range(high.size):
            below[x] += (one if v[x] < lowest[x] else zero) + (one if w[x] < lowest[x] else zero)
        for x in range(high.size):
            above[x] += (one if v[x] > highest[x] else zero) + (one if w[x] > highest[x] else zero)
        if drops_largest:
            for x in range(high.size):
                ties[x] += (one if v[x] == high[x] else zero) + (one if w[x] == high[x] else zero)
    if n % 2 == 1:
        v = values[n - 1, : high.size]
        for x in range(high.size):
            below[x] += one if v[x] < lowest[x] else zero
            above[x] += one if v[x] > highest[x] else zero
        for x in range(high.size):
            ties[x] += one if drops_largest and v[x] == high[x] else zero
    limit = np.float32(n - 1)
    for x in range(high.size):
        worst = below[x] if below[x] > above[x] else above[x]
        clean = worst + worst + ties[x] <= limit and total[x] - total[x] == zero
        suspect[x] = not clean


@helper
def _take_lanes(lanes, wanted, start, width):
    """Put the next wanted columns, from ``start``, into ``lanes``; returns their number and where to go on."""
    count = 0
    x = start
    while x < width and count < lanes.size:
        if wanted[x]:
            lanes[count] = x
            count += 1
        x += 1
    return count, x


@helper
def _sort_columns(queue, counts, values, n, lanes, n_lanes, finite_only):
    """Copy columns of ``values`` into ``queue`` and sort them; ``counts`` of them exist, the others are at the end."""
    for lane in range(n_lanes):
        x = lanes[lane]
        counts[lane] = 0
        for j in range(n):
            v = values[j, x]
            exists = v == v and not (finite_only and np.isinf(v))
            queue[j, lane] = v if exists else np.float32(np.inf)
            counts[lane] += exists
    # A multiple of 16 lanes takes only the packed loop; the lanes beyond hold old numbers, which do no harm.
    sort_lanes(queue, n, min((n_lanes + 15) // 16 * 16, queue.shape[1]))


@helper
def _kept_iterative(queue, lane, n, variance, threshold, four_group_threshold, three_group_threshold):
    """First and last (exclusive) sorted absolute difference that is no jump.

    The level is always inside the values, so the largest deviation is at one of their ends. After the first pass it
    is rounded to float32 (reference behaviour).
    """
    first = 0
    last = n
    rounds = 0
    while last - first >= 2:
        m = last - first
        if m >= 4:
            rest = last
            while rest > first and queue[rest - 1, lane] == queue[last - 1, lane]:
                rest -= 1
            if rest == first:
                break
            level = lane_median(queue, lane, first, rest)
            limit = threshold
        elif m == 3:
            level = float(queue[first + 1, lane])
            limit = four_group_threshold
        else:
            level = float(queue[first, lane])
            limit = three_group_threshold
        if rounds > 0:
            level = float(np.float32(level))
        sigma = np.sqrt(abs(level) + variance)
        if not sigma > 0:
            break
        up = float(np.float32(abs(float(queue[last - 1, lane]) - level)))
        down = float(np.float32(abs(float(queue[first, lane]) - level)))
        top = up if up > down else down
        if not top / sigma > limit:
            break
        while last > first and np.float32(abs(float(queue[last - 1, lane]) - level)) == top:
            last -= 1
        while last > first and np.float32(abs(float(queue[first, lane]) - level)) == top:
            first += 1
        rounds += 1
    return first, last


@helper
def _kept_single_pass(queue, lane, n, variance, threshold):
    """The same for signed differences against the median of all."""
    median = lane_median(queue, lane, 0, n)
    sigma = np.sqrt(abs(median) + variance)
    first = 0
    last = n
    if sigma > 0:
        while first < last and abs(float(queue[first, lane]) - median) / sigma > threshold:
            first += 1
        while first < last and abs(float(queue[last - 1, lane]) - median) / sigma > threshold:
            last -= 1
    return first, last


@helper
def _kept_sigma_clip(queue, lane, n, threshold):
    """The same for sigma clipping: five rounds about the median; the last bounds apply to all values."""
    first = 0
    last = n
    low = -np.inf
    high = np.inf
    for _ in range(5):
        m = last - first
        median = lane_median(queue, lane, first, last)
        mean = 0.0
        for j in range(first, last):
            mean += float(queue[j, lane])
        mean /= m
        scatter = 0.0
        for j in range(first, last):
            scatter += (float(queue[j, lane]) - mean) ** 2
        reach = threshold * np.sqrt(scatter / m)
        low = median - reach
        high = median + reach
        while first < last and float(queue[first, lane]) < low:
            first += 1
        while first < last and float(queue[last - 1, lane]) > high:
            last -= 1
        if last - first == m or last == first:
            break
    first = 0
    last = n
    while first < last and float(queue[first, lane]) < low:
        first += 1
    while first < last and float(queue[last - 1, lane]) > high:
        last -= 1
    return first, last


@helper
def _flag_outside(gdq, values, unused, low, high, finite_only, k0, k1, r, column, x):
    """Flag the groups of one pixel whose difference, in column ``x`` of ``values``, is outside low..high."""
    j = 0
    for i in range(gdq.shape[0]):
        for k in range(k0, k1):
            if (unused[i, k] | unused[i, k + 1]) != 0:
                continue
            v = values[j, x]
            if (v < low or v > high) and not (finite_only and np.isinf(v)):
                gdq[i, k + 1, r, column] |= JUMP_DET
            j += 1


@helper
def _judge_lanes(
    gdq, gain, read_noise, unused, values, queue, lanes, counts, n_lanes, mode, thresholds, nframes, k0, k1, r, left
):
    """Apply the rules of the mode to sorted ramps and flag their jumps."""
    infinity = np.float32(np.inf)
    for lane in range(n_lanes):
        n = counts[lane]
        if n == 0:
            continue
        column = left + lanes[lane]
        noise = read_noise[r, column] * gain[r, column]
        variance = float(noise * noise) / nframes
        if mode == ITERATIVE:
            first, last = _kept_iterative(queue, lane, n, variance, thresholds[0], thresholds[1], thresholds[2])
        elif mode == SINGLE_PASS:
            first, last = _kept_single_pass(queue, lane, n, variance, thresholds[0])
        else:
            first, last = _kept_sigma_clip(queue, lane, n, thresholds[0])
        if first > 0 or last < n:
            low = queue[first, lane] if first < last else infinity
            high = queue[last - 1, lane] if first < last else -infinity
            _flag_outside(gdq, values, unused, low, high, mode != ITERATIVE, k0, k1, r, column, lanes[lane])


@helper
def columns_with_jumps(bits, gdq, r, left, right):
    """Collect in ``bits`` (right - left) the flags of all groups after the first; returns whether there is a jump."""
    fill_row(bits, np.uint8(0))
    for i in range(gdq.shape[0]):
        for k in range(1, gdq.shape[1]):
            q = gdq[i, k, r, left:right]
            for x in range(q.size):
                bits[x] |= q[x]
    found = np.uint8(0)
    for x in range(bits.size):
        found = np.uint8(found | bits[x])
    return (found & JUMP_DET) != 0


@helper(owns=True)
def jump_scratch(n_differences):
    """Scratch of `next_jumps`: lanes, medians, differences and the same sorted."""
    lanes = np.empty(_LANES, np.int64)
    medians = np.empty(_LANES, np.float64)
    # Zeros: lanes that are not taken are sorted with the others.
    return lanes, medians, np.zeros((n_differences, _LANES), np.float32), np.zeros((n_differences, _LANES), np.float32)


@helper
def next_jumps(lanes, medians, values, queue, bits, start, data, gdq, gain, unused, r, left):
    """Take the next pixels of a row with a jump flag and the medians [e-] of all their usable differences.

    Pixels are looked for in ``bits`` from ``start`` on, and put into ``lanes``. ``values`` gets their differences, for
    pairs of groups that are not ``unused``; unusable ones are NaN. Returns the number of pixels and where to go on.
    """
    n_lanes = 0
    x = start
    while x < bits.size and n_lanes < lanes.size:
        if (bits[x] & JUMP_DET) != 0:
            lanes[n_lanes] = x
            n_lanes += 1
        x += 1
    infinity = np.float32(np.inf)
    nan = np.float32(np.nan)
    for lane in range(n_lanes):
        column = left + lanes[lane]
        g = gain[r, column]
        n, count = 0, 0
        for i in range(data.shape[0]):
            before = data[i, 0, r, column] * g
            bad = gdq[i, 0, r, column]
            for k in range(1, data.shape[1]):
                after = data[i, k, r, column] * g
                q = gdq[i, k, r, column]
                if (unused[i, k - 1] | unused[i, k]) == 0:
                    v = after - before if ((bad | q) & UNUSABLE) == 0 else nan
                    values[n, lane] = v
                    queue[n, lane] = v if v == v else infinity
                    count += v == v
                    n += 1
                before, bad = after, q
        medians[lane] = count
    if n_lanes > 0:
        sort_lanes(queue, n, min((n_lanes + 15) // 16 * 16, lanes.size))
    for lane in range(n_lanes):
        count = int(medians[lane])
        medians[lane] = lane_median(queue, lane, 0, count) if count > 0 else np.nan
    return n_lanes, x


@helper
def _mark_cores(marks, found, scratch, gdq, data, gain, read_noise, unused, limits, nframes, r, left):
    """Mark the jumps of a piece of a row that are to flag their neighbours."""
    lanes, medians, values, queue = scratch
    x = 0
    while x < found.size:
        n_lanes, x = next_jumps(lanes, medians, values, queue, found, x, data, gdq, gain, unused, r, left)
        for lane in range(n_lanes):
            column = left + lanes[lane]
            noise = read_noise[r, column] * gain[r, column]
            sigma = np.sqrt(abs(medians[lane]) + float(noise * noise) / nframes)
            j = 0
            for i in range(data.shape[0]):
                for k in range(1, data.shape[1]):
                    if (unused[i, k - 1] | unused[i, k]) != 0:
                        continue
                    if (gdq[i, k, r, column] & JUMP_DET) != 0 and sigma > 0:
                        ratio = abs(float(values[j, lane]) - medians[lane]) / sigma
                        marks[i, k, r, column] = ratio > limits[0] and ratio < limits[1]
                    j += 1


@kernel
def detect_jumps_tile(
    gdq,
    marks,
    data,
    gain,
    read_noise,
    unused,
    mode,
    threshold,
    four_group_threshold,
    three_group_threshold,
    nframes,
    min_sigma,
    max_sigma,
    first,
    last,
    left,
    right,
):
    """Set JUMP_DET in ``gdq`` of the region, and ``marks`` (like ``gdq``) to 1 for jumps that flag their neighbours.

    ``unused`` (nint, ngroup) uint8 is 1 for groups that have DO_NOT_USE in every pixel of the detector: it only
    saves time, and zeros are always right. ``mode`` and ``nframes`` are integers, thresholds float64 [sigma]; jumps
    between ``min_sigma`` and ``max_sigma`` flag their neighbours. ``marks`` may have size 0.
    """
    per_group = mode == SIGMA_CLIP
    n_differences = data.shape[1] - 1
    step = 1 if per_group else n_differences
    depth = data.shape[0] * step
    width = _piece_width(depth)
    values = np.empty((depth, width), np.float32)
    queue = np.zeros((depth, _LANES), np.float32)
    scratch = np.empty((5, width), np.float32)
    suspect = np.empty(width, np.bool_)
    lanes = np.empty(_LANES, np.int64)
    counts = np.empty(_LANES, np.int64)
    thresholds = (threshold, four_group_threshold, three_group_threshold)
    core_scratch = jump_scratch(data.shape[0] * n_differences if marks.size > 0 else 0)
    found = np.empty(width, np.uint8)
    for r in range(first, last):
        for start in range(left, right, width):
            stop = min(start + width, right)
            w = stop - start
            low, high, total, lowest, highest = (
                scratch[0, :w],
                scratch[1, :w],
                scratch[2, :w],
                scratch[3, :w],
                scratch[4, :w],
            )
            for k0 in range(0, n_differences, step):
                k1 = k0 + step
                n = _load_differences(values, data, gdq, gain, unused, k0, k1, mode == ITERATIVE, r, start, stop)
                if n == 0:
                    continue
                _survey(low, high, total, values, n)
                if mode <= SINGLE_PASS:
                    limit = threshold
                    if mode == ITERATIVE and n < 4:
                        limit = four_group_threshold if n == 3 else three_group_threshold
                    _limits_from_noise(lowest, highest, low, high, gain, read_noise, limit, nframes, r, start)
                else:
                    _limits_from_scatter(lowest, highest, low, high, total, values, n, threshold)
                _prove_clean(suspect, lowest, highest, high, total, values, n, mode == ITERATIVE and n >= 4)
                x = 0
                while x < w:
                    n_lanes, x = _take_lanes(lanes, suspect, x, w)
                    if n_lanes > 0:
                        _sort_columns(queue, counts, values, n, lanes, n_lanes, mode >= SIGMA_CLIP)
                        _judge_lanes(
                            gdq,
                            gain,
                            read_noise,
                            unused,
                            values,
                            queue,
                            lanes,
                            counts,
                            n_lanes,
                            mode,
                            thresholds,
                            nframes,
                            k0,
                            k1,
                            r,
                            start,
                        )
            if marks.size > 0:
                clear_marks(marks, r, start, stop)
                if columns_with_jumps(found[:w], gdq, r, start, stop):
                    limits = (min_sigma, max_sigma)
                    _mark_cores(
                        marks, found[:w], core_scratch, gdq, data, gain, read_noise, unused, limits, nframes, r, start
                    )


@helper
def clear_marks(marks, r, left, right):
    """No marks in a piece of a row."""
    for i in range(marks.shape[0]):
        for k in range(marks.shape[1]):
            fill_row(marks[i, k, r, left:right], np.uint8(0))

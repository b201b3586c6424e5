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
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._vectors import LANES, absolute, any_of, bits_of, load, select, splat, sqrt, store

__all__ = ["columns_with_jumps", "detect_jumps_tile", "jump_scratch", "next_jumps"]

UNUSABLE = DO_NOT_USE | SATURATED

DECLINED = -1  # too few usable groups: nothing is looked for
ITERATIVE = 0
SINGLE_PASS = 1
SIGMA_CLIP = 2  # over the integrations, group by group
SIGMA_CLIP_ALL = 3  # over all groups of all integrations


@helper(counted=False)
def _lane_count(depth):
    """Ramps of so many differences that are sorted together: enough to make long loops, and near the processor."""
    return 128 if depth <= 64 else 64


@helper(counted=False)
def _strip_differences(values, data, gdq, gain, unused, pairs, mode, r, x):
    """Fill rows of ``values`` with the differences between the groups of ``pairs``, for a strip of pixels from ``x``.

    Pairs with a group that no pixel of the frame uses have no row. Unusable differences are NaN. Returns the number of
    rows, and of each pixel the smallest and largest value and how many are usable (NaN in the data are not seen).
    """
    zero, one, nan = np.float32(0), np.float32(1), np.float32(np.nan)
    k0, k1 = pairs
    g = load(gain[r], x)
    low, high = splat(np.float32(np.inf)), splat(np.float32(-np.inf))
    missing = splat(zero)
    n = np.uint64(0)
    for i in range(data.shape[0]):
        before = load(data[i, k0, r], x) * g
        p = load(gdq[i, k0, r], x)
        for k in range(k0 + 1, k1 + 1):
            after = load(data[i, k, r], x) * g
            q = load(gdq[i, k, r], x)
            if (unused[i, k - 1] | unused[i, k]) == 0:
                v = after - before
                if mode == ITERATIVE:
                    v = absolute(v)
                bad = ((p | q) & UNUSABLE) != 0
                if any_of(bad):
                    missing = missing + select(bad, one, zero)
                    v = select(bad, nan, v)
                low = select(v < low, v, low)
                high = select(v > high, v, high)
                store(values[n], 0, v)
                n += np.uint64(1)
            before = after
            p = q
    return np.int64(n), low, high, np.float32(n) - missing


@helper(counted=False)
def _limits_from_noise(low, high, gain, read_noise, threshold, nframes, r, x):
    """Range of reference levels for which neither the smallest nor the largest value is a jump (see module)."""
    t = np.float32(threshold)
    half = np.float32(0.5) * t * t
    quarter = np.float32(0.5) * half
    margin = np.float32(1e-5)  # float32 rounding of what follows is 20 times smaller
    zero = np.float32(0)
    noise = absolute(load(gain[r], x) * load(read_noise[r], x)) * np.float32(1.0 / np.sqrt(float(nframes)))
    variance = noise * noise
    floor = t * noise
    size = absolute(low)
    root = t * sqrt(quarter + size + variance)
    reach = select(root - half > floor, root - half, floor)
    reach = select(low >= zero, half + root, reach)
    highest = low + reach - margin * (size + half + root)
    size = absolute(high)
    root = t * sqrt(quarter + size + variance)
    reach = select(root - half > floor, root - half, floor)
    reach = select(high <= zero, half + root, reach)
    lowest = high - reach + margin * (size + half + root)
    return lowest, highest


@helper(counted=False)
def _limits_from_scatter(low, high, values, n, threshold):
    """The same for sigma clipping. The standard deviation is taken a little too small, or is NaN if a value lacks."""
    t = np.float32(threshold)
    count = np.float32(n)
    rounding = count * np.float32(2.4e-7)
    mean, squares = splat(np.float32(0)), splat(np.float32(0))
    for j in range(n):
        mean = mean + load(values[j], 0)
    mean = mean / count
    for j in range(n):
        d = load(values[j], 0) - mean
        squares = squares + d * d
    size = absolute(low)
    largest = select(size > absolute(high), size, absolute(high))
    sd = sqrt(squares / count) * (np.float32(0.999) - rounding) - rounding * largest
    return high - t * sd, low + t * sd


@helper(counted=False)
def _suspects(lowest, highest, high, usable, values, n, drops_largest):
    """Where the median is not certain to lie between the limits, as bits of an integer.

    With R usable values, it does if more than half of them do. The iterative mode drops the largest value with all its
    ties before taking the median: those do not count. Nor does a value that is NaN, or beside an infinite one. For
    fewer than four values there are other thresholds: they are never enough where ``n`` are more.
    """
    zero, one = np.float32(0), np.float32(1)
    top = highest
    if drops_largest:
        top = select(high < highest, high, highest)
    needed = np.float32(0.5) * (usable + one)
    few = np.float32(min(n, 3))
    needed = select(needed > few, needed, few)
    inside = splat(zero)
    # Nearly always some more than half of the values prove it.
    for j in range(min(n // 2 + 3, n)):
        v = load(values[j], 0)
        inside = inside + select((v >= lowest) & (v < top), one, zero)
    clean = (inside >= needed) | (usable == zero)
    if any_of(clean ^ True):
        for j in range(n // 2 + 3, n):
            v = load(values[j], 0)
            inside = inside + select((v >= lowest) & (v < top), one, zero)
        clean = (inside >= needed) | (usable == zero)
    return bits_of(clean ^ True)


@helper(counted=False)
def _take_lanes(lanes, wanted, start, width):
    """Put the next wanted columns, from ``start``, into ``lanes``; returns their number and where to go on."""
    count = 0
    # In steps that cannot overflow the list, so that nothing depends on what is found.
    while start < width and count < lanes.size:
        stop = min(start + lanes.size - count, width)
        for x in range(start, stop):
            lanes[count] = np.uint32(x)
            count += wanted[x] != 0
        start = stop
    return count, start


@helper(counted=False)
def _sort_lanes(queue, counts, values, n, n_lanes, finite_only):
    """Sort copies of ``n`` rows of values; ``counts`` of each lane exist, the others are at the end."""
    infinity = np.float32(np.inf)
    fill_row(counts[:n_lanes], np.int32(0))
    for j in range(n):
        v, q = values[j, :n_lanes], queue[j, :n_lanes]
        for lane in range(n_lanes):
            exists = v[lane] == v[lane] and not (finite_only and abs(v[lane]) == infinity)
            q[lane] = v[lane] if exists else infinity
        for lane in range(n_lanes):
            counts[lane] += v[lane] == v[lane] and not (finite_only and abs(v[lane]) == infinity)
    # A multiple of 16 lanes takes only the packed loop; the lanes beyond hold old numbers, which do no harm.
    sort_lanes(queue, n, min((n_lanes + 15) // 16 * 16, queue.shape[1]))


@helper(counted=False)
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


@helper(counted=False)
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


@helper(counted=False)
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


@helper(counted=False)
def _take_suspects(taken, places, waiting, values, bits, n, r, left):
    """Put the suspect pixels of a strip, from column ``left`` on, among those that wait: copies of their values.

    Returns how many wait then.
    """
    column = np.uint64(0)
    while bits != 0:
        if (bits & 1) != 0:
            for j in range(n):
                taken[j, waiting] = values[j, column]
            places[0, waiting], places[1, waiting] = r, left + column
            waiting += 1
        bits >>= 1
        column += np.uint64(1)
    return waiting


@helper(counted=False)
def _judge_suspects(gdq, scratch, waiting, noises, unused, mode, thresholds, nframes, n, pairs):
    """Apply the rules of the mode to the ``waiting`` pixels, and flag their jumps.

    ``scratch`` are their ``n`` differences between the groups of ``pairs``, room to sort them, their places and counts;
    ``noises`` are read noise and gain.
    """
    read_noise, gain = noises
    k0, k1 = pairs
    taken, queue, places, counts = scratch
    finite_only = mode != ITERATIVE
    _sort_lanes(queue, counts, taken, n, waiting, mode >= SIGMA_CLIP)
    for lane in range(waiting):
        count = counts[lane]
        if count == 0:
            continue
        r, x = places[0, lane], places[1, lane]
        noise = read_noise[r, x] * gain[r, x]
        variance = float(noise * noise) / nframes
        if mode == ITERATIVE:
            first, last = _kept_iterative(queue, lane, count, variance, thresholds[0], thresholds[1], thresholds[2])
        elif mode == SINGLE_PASS:
            first, last = _kept_single_pass(queue, lane, count, variance, thresholds[0])
        else:
            first, last = _kept_sigma_clip(queue, lane, count, thresholds[0])
        if first == 0 and last == count:
            continue
        lowest = queue[first, lane] if first < last else np.float32(np.inf)
        highest = queue[last - 1, lane] if first < last else np.float32(-np.inf)
        j = 0
        for i in range(gdq.shape[0]):
            for k in range(k0, k1):
                if (unused[i, k] | unused[i, k + 1]) != 0:
                    continue
                v = taken[j, lane]
                outside = (v < lowest) | (v > highest)
                outside &= (not finite_only) | (v - v == 0)
                gdq[i, k + 1, r, x] |= JUMP_DET if outside else 0
                j += 1


@helper(counted=False)
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


@helper
def jump_scratch(n_differences):
    """Scratch of `next_jumps`: lanes, medians, their differences, the same sorted, flags; and parts of its own."""
    n_lanes = _lane_count(n_differences)
    # Zeros: lanes that are not taken are sorted with the others.
    return (
        np.empty(n_lanes, np.uint32),
        np.empty(n_lanes, np.float64),
        np.zeros((n_differences, n_lanes), np.float32),
        np.zeros((n_differences, n_lanes), np.float32),
        np.zeros((n_differences, n_lanes), np.uint8),
        (np.empty((3, n_lanes), np.float32), np.empty((2, n_lanes), np.uint8), np.empty(n_lanes, np.int32)),
    )


@helper(counted=False)
def next_jumps(scratch, bits, start, data, gdq, gain, unused, r, left):
    """Take the next pixels of a row with a jump flag and the medians [e-] of all their usable differences.

    Pixels are looked for in ``bits``, whose other flags are cleared, from ``start`` on. ``scratch`` (`jump_scratch`)
    gets their columns, their medians, and their differences for pairs of groups that are not ``unused``, unusable ones
    NaN, with the flags of the second group. Returns the number of pixels and where to go on.
    """
    lanes, medians, values, queue, flags, (electrons, pair, counts) = scratch
    for x in range(start, bits.size):
        bits[x] &= JUMP_DET
    n_lanes, stop = _take_lanes(lanes, bits, start, bits.size)
    nan = np.float32(np.nan)
    g, before, after = electrons[0, :n_lanes], electrons[1, :n_lanes], electrons[2, :n_lanes]
    bad, q = pair[0, :n_lanes], pair[1, :n_lanes]
    for lane in range(n_lanes):
        g[lane] = gain[r, left + lanes[lane]]
    n = 0
    for i in range(data.shape[0] if n_lanes > 0 else 0):
        for k in range(data.shape[1]):
            y, f = data[i, k, r, left : left + bits.size], gdq[i, k, r, left : left + bits.size]
            for lane in range(n_lanes):
                after[lane] = y[lanes[lane]]
            for lane in range(n_lanes):
                q[lane] = f[lanes[lane]]
            for lane in range(n_lanes):
                after[lane] *= g[lane]
            if k > 0 and (unused[i, k - 1] | unused[i, k]) == 0:
                v, u = values[n, :n_lanes], flags[n, :n_lanes]
                for lane in range(n_lanes):
                    v[lane] = after[lane] - before[lane]
                for lane in range(n_lanes):
                    v[lane] = v[lane] if ((bad[lane] | q[lane]) & UNUSABLE) == 0 else nan
                for lane in range(n_lanes):
                    u[lane] = q[lane]
                n += 1
            for lane in range(n_lanes):
                before[lane] = after[lane]
            for lane in range(n_lanes):
                bad[lane] = q[lane]
    if n_lanes > 0:
        _sort_lanes(queue, counts, values, n, n_lanes, False)
    for lane in range(n_lanes):
        count = counts[lane]
        medians[lane] = lane_median(queue, lane, 0, count) if count > 0 else np.nan
    return n_lanes, stop


@helper
def _mark_cores(marks, data, gdq, gain, read_noise, unused, limits, nframes, first, last, left, right):
    """Mark the jumps of a region that are to flag their neighbours."""
    scratch = jump_scratch(data.shape[0] * (data.shape[1] - 1))
    sigmas, chosen = np.empty(scratch[0].size, np.float64), np.empty(scratch[0].size, np.uint8)
    found = np.empty(right - left, np.uint8)
    for r in range(first, last):
        clear_marks(marks, r, left, right)
        if columns_with_jumps(found, gdq, r, left, right):
            _mark_cores_of_row(
                marks, found, scratch, sigmas, chosen, data, gdq, gain, read_noise, unused, limits, nframes, r, left
            )


@helper(counted=False)
def _mark_cores_of_row(
    marks, found, scratch, sigmas, chosen, data, gdq, gain, read_noise, unused, limits, nframes, r, left
):
    """Mark those of a row; ``sigmas`` and ``chosen`` are scratch."""
    lanes, medians, values, _, flags, _ = scratch
    least, most = limits
    x = 0
    while x < found.size:
        n_lanes, x = next_jumps(scratch, found, x, data, gdq, gain, unused, r, left)
        for lane in range(n_lanes):
            column = left + lanes[lane]
            noise = read_noise[r, column] * gain[r, column]
            sigmas[lane] = float(noise * noise) / nframes
        for lane in range(n_lanes):
            sigma = np.sqrt(abs(medians[lane]) + sigmas[lane])
            # No ratio to NaN is between the limits.
            sigmas[lane] = sigma if sigma > 0 else np.nan
        j = 0
        for i in range(data.shape[0] if n_lanes > 0 else 0):
            for k in range(1, data.shape[1]):
                if (unused[i, k - 1] | unused[i, k]) != 0:
                    continue
                v, q = values[j, :n_lanes], flags[j, :n_lanes]
                m = marks[i, k, r, left : left + found.size]
                j += 1
                jumps = np.uint8(0)
                for lane in range(n_lanes):
                    jumps |= q[lane]
                if (jumps & JUMP_DET) == 0:
                    continue
                for lane in range(n_lanes):
                    ratio = abs(float(v[lane]) - medians[lane]) / sigmas[lane]
                    chosen[lane] = ((q[lane] & JUMP_DET) != 0) & (ratio > least) & (ratio < most)
                for lane in range(n_lanes):
                    m[lanes[lane]] = chosen[lane]


@helper
def _widened(data, gdq, gain, read_noise, first, last, left, width):
    """Copies of a region that is narrower than a vector, as wide as one."""
    h, right = last - first, left + width
    shape = (data.shape[0], data.shape[1], h, LANES)
    d, q = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    g, s = np.zeros((h, LANES), np.float32), np.zeros((h, LANES), np.float32)
    for r in range(first, last):
        copy_row(g[r - first, :width], gain[r, left:right])
        copy_row(s[r - first, :width], read_noise[r, left:right])
        for i in range(data.shape[0]):
            for k in range(data.shape[1]):
                copy_row(d[i, k, r - first, :width], data[i, k, r, left:right])
                copy_row(q[i, k, r - first, :width], gdq[i, k, r, left:right])
    return d, q, g, s


@helper
def _find_jumps(gdq, data, gain, read_noise, unused, mode, thresholds, nframes, first, last, left, width):
    """Set JUMP_DET in ``width`` columns of a region; there have to be `LANES` of them, whatever they hold."""
    step = 1 if mode == SIGMA_CLIP else data.shape[1] - 1
    depth = data.shape[0] * step
    values = np.empty((depth, LANES), np.float32)
    # Few pixels of a strip are suspect. They wait for those of others, since lanes cost little each if there are many.
    n_lanes = _lane_count(depth)
    suspects = (
        np.empty((depth, n_lanes), np.float32),
        np.zeros((depth, n_lanes), np.float32),
        # Unsigned: compiled code does not ask whether an index is negative.
        np.empty((2, n_lanes), np.uint64),
        np.empty(n_lanes, np.int32),
    )
    noises = (read_noise, gain)
    waiting = 0
    for r in range(first, last):
        for k0 in range(0, data.shape[1] - 1, step):
            pairs = (k0, k0 + step)
            n = 0
            for start in range(left, left + width, LANES):
                # The last strip may begin in the one before it.
                x = max(min(start, left + width - LANES), left)
                n, low, high, usable = _strip_differences(values, data, gdq, gain, unused, pairs, mode, r, x)
                if n == 0:
                    break
                if mode > SINGLE_PASS:
                    lowest, highest = _limits_from_scatter(low, high, values, n, thresholds[0])
                else:
                    limit = thresholds[0]
                    if mode == ITERATIVE and n < 4:
                        limit = thresholds[1] if n == 3 else thresholds[2]
                    lowest, highest = _limits_from_noise(low, high, gain, read_noise, limit, nframes, r, x)
                drops_largest = mode == ITERATIVE and n >= 4
                bits = _suspects(lowest, highest, high, usable, values, n, drops_largest)
                bits = (bits & ((1 << min(LANES, left + width - x)) - 1)) >> (start - x) << (start - x)
                if bits != 0:
                    if waiting + LANES > n_lanes:
                        _judge_suspects(gdq, suspects, waiting, noises, unused, mode, thresholds, nframes, n, pairs)
                        waiting = 0
                    waiting = _take_suspects(suspects[0], suspects[2], waiting, values, bits, n, r, x)
            # Pixels wait for those of the next rows, but not for differences of other groups.
            if waiting > 0 and (mode == SIGMA_CLIP or r == last - 1):
                _judge_suspects(gdq, suspects, waiting, noises, unused, mode, thresholds, nframes, n, pairs)
                waiting = 0


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
    thresholds = (threshold, four_group_threshold, three_group_threshold)
    width = right - left
    if width < LANES:
        d, q, g, s = _widened(data, gdq, gain, read_noise, first, last, left, width)
        _find_jumps(q, d, g, s, unused, mode, thresholds, nframes, 0, last - first, 0, width)
        for i in range(gdq.shape[0]):
            for k in range(gdq.shape[1]):
                for r in range(first, last):
                    copy_row(gdq[i, k, r, left:right], q[i, k, r - first])
    else:
        _find_jumps(gdq, data, gain, read_noise, unused, mode, thresholds, nframes, first, last, left, width)
    if marks.size > 0:
        limits = (min_sigma, max_sigma)
        _mark_cores(marks, data, gdq, gain, read_noise, unused, limits, nframes, first, last, left, right)


@helper(counted=False)
def clear_marks(marks, r, left, right):
    """No marks in a piece of a row."""
    for i in range(marks.shape[0]):
        for k in range(marks.shape[1]):
            fill_row(marks[i, k, r, left:right], np.uint8(0))

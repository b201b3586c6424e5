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


@helper(counted=False)
def _lane_count(depth):
    """Ramps of so many differences that are sorted together: enough to make long loops, and near the processor."""
    return 128 if depth <= 64 else 64


@helper(counted=False)
def _piece_width(depth):
    """Columns done together: their scratch, ``depth`` rows of float32, shall stay near the processor."""
    return min(512, max(64, 65536 // max(depth, 1) // 64 * 64))


@helper(counted=False)
def _load_differences(values, partial, data, gdq, gain, unused, k0, k1, magnitude, r, left, right):
    """Fill rows of ``values`` with the differences k0 <= k < k1 of all integrations; returns the number of rows.

    Pairs with a group that no pixel of the frame uses have no row. Unusable differences are NaN; ``partial`` is 1 for
    rows with such.
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
            partial[n] = (bits & UNUSABLE) != 0
            if partial[n]:
                for x in range(g.size):
                    v[x] += np.float32(np.nan) if ((p[x] | q[x]) & UNUSABLE) != 0 else np.float32(0)
            n += 1
    return n


@helper(counted=False)
def _survey(low, high, total, valid, values, partial, n):
    """Smallest and largest value, sum and number of every column, of values that are not NaN in ``partial`` rows.

    The sum is not finite if any other value is not.
    """
    zero, one = np.float32(0), np.float32(1)
    fill_row(low, np.float32(np.inf))
    fill_row(high, np.float32(-np.inf))
    fill_row(total, zero)
    fill_row(valid, np.float32(n))
    j = 0
    while j < n:
        v = values[j, : low.size]
        if partial[j] == 0 and j + 1 < n and partial[j + 1] == 0:
            # Two rows at a time: what is accumulated is loaded and stored half as often.
            w = values[j + 1, : low.size]
            for x in range(low.size):
                least = v[x] if v[x] < w[x] else w[x]
                most = w[x] if v[x] < w[x] else v[x]
                # Adding zero: see _median._exchange.
                a = low[x] + zero
                b = high[x] + zero
                low[x] = least if least < a else a
                high[x] = most if most > b else b
                total[x] += v[x] + w[x]
            j += 2
            continue
        for x in range(low.size):
            a = low[x] + zero
            b = high[x] + zero
            low[x] = v[x] if v[x] < a else a
            high[x] = v[x] if v[x] > b else b
        if partial[j]:
            for x in range(low.size):
                total[x] += v[x] if v[x] == v[x] else zero
                valid[x] -= zero if v[x] == v[x] else one
        else:
            for x in range(low.size):
                total[x] += v[x]
        j += 1


@helper(counted=False)
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


@helper(counted=False)
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


@helper
def _prove_clean(suspect, lowest, highest, high, total, valid, values, n, drops_largest):
    """Set ``suspect`` where the median is not certain to lie between ``lowest`` and ``highest``.

    With R values, none of those in the middle lies below a limit if at most (R - 1) / 2 values do. The iterative
    mode drops the largest value with all its ties before taking the median. It has other thresholds for fewer than four
    values: the limits are those for ``n``, so that columns which lack some of so few are suspect.
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
    few = np.float32(min(n, 4))
    for x in range(high.size):
        worst = below[x] if below[x] > above[x] else above[x]
        inside = (worst + worst + ties[x] <= valid[x] - one) & (valid[x] >= few)
        clean = (inside | (valid[x] == zero)) & (total[x] - total[x] == zero)
        suspect[x] = not clean


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
def _take_suspects(taken, places, waiting, values, suspect, n, r, left, start):
    """Put suspect pixels of a piece of a row, from column ``start``, among those that wait: copies of their values.

    Returns how many wait, and the column to go on with if there is no more room.
    """
    for x in range(start, suspect.size):
        if not suspect[x]:
            continue
        if waiting == places.shape[1]:
            return waiting, x
        column = np.uint64(x)
        for j in range(n):
            taken[j, waiting] = values[j, column]
        places[0, waiting], places[1, waiting] = r, left + x
        waiting += 1
    return waiting, suspect.size


@helper(counted=False)
def _judge_suspects(gdq, scratch, waiting, gain, read_noise, unused, mode, thresholds, nframes, n, k0, k1):
    """Apply the rules of the mode to the ``waiting`` pixels, and flag their jumps.

    ``scratch`` are their ``n`` differences between the groups k0 and k1, room to sort them, their places and counts.
    """
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
    step = 1 if mode == SIGMA_CLIP else data.shape[1] - 1
    depth = data.shape[0] * step
    width = _piece_width(depth)
    # Rows of scratch are a little longer: at a power of two apart they would compete for the same cache lines.
    values = np.empty((depth, width + 16), np.float32)
    scratch = np.empty((6, width + 16), np.float32)
    partial = np.empty(depth, np.uint8)
    suspect = np.empty(width, np.bool_)
    # Few pixels of a piece are suspect. They wait for those of others, since lanes cost little each if there are many.
    n_lanes = _lane_count(depth)
    suspects = (
        np.empty((depth, n_lanes), np.float32),
        np.zeros((depth, n_lanes), np.float32),
        # Unsigned: compiled code does not ask whether an index is negative.
        np.empty((2, n_lanes), np.uint64),
        np.empty(n_lanes, np.int32),
    )
    taken, places = suspects[0], suspects[2]
    thresholds = (threshold, four_group_threshold, three_group_threshold)
    waiting, n = 0, 0
    for r in range(first, last):
        for start in range(left, right, width):
            w = min(start + width, right) - start
            low, high, total, lowest, highest = (
                scratch[0, :w],
                scratch[1, :w],
                scratch[2, :w],
                scratch[3, :w],
                scratch[4, :w],
            )
            valid = scratch[5, :w]
            for k0 in range(0, data.shape[1] - 1, step):
                k1 = k0 + step
                n = _load_differences(
                    values, partial, data, gdq, gain, unused, k0, k1, mode == ITERATIVE, r, start, start + w
                )
                if n == 0:
                    continue
                if mode > SINGLE_PASS:
                    # The scatter is that of all values, or of none.
                    fill_row(partial, np.uint8(0))
                _survey(low, high, total, valid, values, partial, n)
                if mode <= SINGLE_PASS:
                    limit = threshold
                    if mode == ITERATIVE and n < 4:
                        limit = four_group_threshold if n == 3 else three_group_threshold
                    _limits_from_noise(lowest, highest, low, high, gain, read_noise, limit, nframes, r, start)
                else:
                    _limits_from_scatter(lowest, highest, low, high, total, values, n, threshold)
                _prove_clean(suspect, lowest, highest, high, total, valid, values, n, mode == ITERATIVE and n >= 4)
                x = 0
                while x < w:
                    waiting, x = _take_suspects(taken, places, waiting, values, suspect[:w], n, r, start, x)
                    # Others wait for the next pieces, but not with differences of other groups.
                    if x < w or (mode == SIGMA_CLIP and waiting > 0):
                        _judge_suspects(
                            gdq, suspects, waiting, gain, read_noise, unused, mode, thresholds, nframes, n, k0, k1
                        )
                        waiting = 0
    if waiting > 0:
        _judge_suspects(gdq, suspects, waiting, gain, read_noise, unused, mode, thresholds, nframes, n, 0, step)
    if marks.size > 0:
        limits = (min_sigma, max_sigma)
        _mark_cores(marks, data, gdq, gain, read_noise, unused, limits, nframes, first, last, left, right)


@helper(counted=False)
def clear_marks(marks, r, left, right):
    """No marks in a piece of a row."""
    for i in range(marks.shape[0]):
        for k in range(marks.shape[1]):
            fill_row(marks[i, k, r, left:right], np.uint8(0))

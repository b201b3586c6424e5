"""Generalised least squares for many ramps side by side: the recurrences behind `likelihood`, one pass per difference.

The covariance matrix C of the K differences of a ramp is tridiagonal. Its factors C = L D L' are found from the first
difference to the last, together with the forward-solved vectors of ones and of differences (`eliminate`); the solutions
and the diagonal of the inverse come back from the last to the first (`omission_excess`, `weighted_variances`). A
difference that is left out has a row of zeros: the chain is cut there and it takes part in no sum.

A *lane* is one ramp; all arrays are (K, lanes) or (lanes), float64, and every inner loop runs over lanes. The rows of
``readout`` are those of `readout_table`.
"""

import numpy as np

from upramp.kernels._jit import helper
from upramp.kernels._rows import copy_row, fill_row

__all__ = [
    "INVERSE_TIME",
    "PHOTON_BESIDE",
    "PHOTON_DIAGONAL",
    "READ_BESIDE",
    "READ_DIAGONAL",
    "SHARED_READS",
    "drop_worst",
    "eliminate",
    "mark_suspects",
    "refuse_indefinite",
    "weighted_variances",
]

# Rows of the readout table, one column per difference.
INVERSE_TIME = 0  # 1/dt [1/s]
READ_DIAGONAL = 1  # diagonal of C per variance of a read [1/s2]
PHOTON_DIAGONAL = 2  # ... per count rate over gain [1/s]
READ_BESIDE = 3  # element that joins a difference to the next one, the same two parts
PHOTON_BESIDE = 4
SHARED_READS = 5  # number of reads of the resultant that a difference shares with the next one; 0 for the last

_TIE = 1 - 1e-9  # what differs by less is equal

# Rows of the sums.
_S, _B, _A = 0, 1, 2  # 1' C^-1 1, 1' C^-1 d, d' C^-1 d


@helper(counted=False)
def refuse_indefinite(photons, read_var, readout, n):
    """Make the photon rate NaN where it makes C indefinite, which takes a negative gain."""
    for x in range(n):
        if photons[x] >= 0:
            continue
        pivot = 1.0
        beside = 0.0
        for j in range(readout.shape[1]):
            diagonal = read_var[x] * readout[READ_DIAGONAL, j] + photons[x] * readout[PHOTON_DIAGONAL, j]
            pivot = diagonal - beside * beside / pivot
            beside = read_var[x] * readout[READ_BESIDE, j] + photons[x] * readout[PHOTON_BESIDE, j]
            if pivot <= 0:
                photons[x] = np.nan
                break


@helper(counted=False)
def eliminate(work, sums, diffs, use, photons, read_var, readout, n):
    """Factorise C of the first ``n`` lanes and sum up 1'C^-1 1, 1'C^-1 d and d'C^-1 d.

    ``work`` (4, K, lanes) gets the inverse pivots, the factors L(j, j-1) and the forward-solved ones and differences,
    ``sums`` (3, lanes) the sums. ``use`` is 1 for differences that count, else 0; ``photons`` is the count rate over
    the gain [DN2/s per s], ``read_var`` the variance of one read [DN2].
    """
    for k in range(3):
        fill_row(sums[k, :n], 0.0)
    s, b, a = sums[_S], sums[_B], sums[_A]
    for j in range(diffs.shape[0]):
        inverse, factor, ones, values = work[0, j], work[1, j], work[2, j], work[3, j]
        d = diffs[j]
        u = use[j]
        read_part = readout[READ_DIAGONAL, j]
        photon_part = readout[PHOTON_DIAGONAL, j]
        if j == 0:
            for x in range(n):
                inverse[x] = 1.0 / (read_var[x] * read_part + photons[x] * photon_part)
                factor[x] = 0.0
                ones[x] = u[x]
                values[x] = u[x] * d[x]
        else:
            inverse_0, ones_0, values_0, u_0 = work[0, j - 1], work[2, j - 1], work[3, j - 1], use[j - 1]
            read_beside = readout[READ_BESIDE, j - 1]
            photon_beside = readout[PHOTON_BESIDE, j - 1]
            for x in range(n):
                beside = (read_var[x] * read_beside + photons[x] * photon_beside) * (u[x] * u_0[x])
                ratio = beside * inverse_0[x]
                factor[x] = ratio
                inverse[x] = 1.0 / (read_var[x] * read_part + photons[x] * photon_part - ratio * beside)
                ones[x] = u[x] - ratio * ones_0[x]
                values[x] = u[x] * d[x] - ratio * values_0[x]
        for x in range(n):
            one = ones[x] * inverse[x]
            s[x] += one * ones[x]
            b[x] += one * values[x]
            a[x] += values[x] * values[x] * inverse[x]


@helper(counted=False)
def _step_back(back, work, factors, rate, j, n):
    """From difference j + 1 to j: solutions of ones and residuals, and the diagonal of C^-1; ``back`` (3, lanes)."""
    inverse, ones, values = work[0, j], work[2, j], work[3, j]
    x_ones, x_rest, diagonal = back[0], back[1], back[2]
    for x in range(n):
        ratio = factors[x]
        x_ones[x] = ones[x] * inverse[x] - ratio * x_ones[x]
        x_rest[x] = (values[x] - rate[x] * ones[x]) * inverse[x] - ratio * x_rest[x]
        diagonal[x] = inverse[x] + ratio * ratio * diagonal[x]


@helper(counted=False)
def mark_suspects(suspect, back, before, work, sums, rate, readout, threshold_one, threshold_two, n):
    """Mark lanes in which leaving out one difference, or two, may lower chi-squared by more than the threshold.

    A lane with very few differences may be marked without need. ``back`` (3, lanes) and ``before`` (4, lanes) are
    scratch.
    """
    last = work.shape[1] - 1
    for k in range(3):
        fill_row(back[k, :n], 0.0)
    fill_row(suspect[:n], np.uint8(0))
    s, b = sums[_S], sums[_B]
    inverse_s = before[3]
    for x in range(n):
        inverse_s[x] = 1.0 / s[x]
        rate[x] = b[x] * inverse_s[x]
    for j in range(last, -1, -1):
        factors = work[1, min(j + 1, last)]
        pair = readout[SHARED_READS, j] > 1
        if pair:
            for k in range(3):
                copy_row(before[k, :n], back[k])
        _step_back(back, work, factors, rate, j, n)
        for x in range(n):
            p = back[2, x] - back[0, x] * back[0, x] * inverse_s[x]
            suspect[x] |= np.uint8(back[1, x] * back[1, x] > threshold_one * p)
        if pair:
            for x in range(n):
                p = back[2, x] - back[0, x] * back[0, x] * inverse_s[x]
                q = before[2, x] - before[0, x] * before[0, x] * inverse_s[x]
                cross = -factors[x] * before[2, x] - back[0, x] * before[0, x] * inverse_s[x]
                r, t = back[1, x], before[1, x]
                gain = r * r * q - 2 * r * t * cross + t * t * p
                suspect[x] |= np.uint8(gain > threshold_two * (p * q - cross * cross))


@helper(counted=False)
def drop_worst(dropped, use, work, sums, rate, readout, threshold_one, threshold_two, lane):
    """Leave out the one difference, or the two neighbours, that lower chi-squared most beyond their threshold.

    Returns their number; ``dropped`` (2) says which. One is left out only of two or more, two of three or more.
    """
    n_used = 0.0
    for j in range(use.shape[0]):
        n_used += use[j, lane]
    if n_used < 2:
        return 0
    inverse_s = 1.0 / sums[_S, lane]
    best = 0.0
    count = 0
    x_after, r_after, q_after, factor = 0.0, 0.0, 0.0, 0.0
    for j in range(use.shape[0] - 1, -1, -1):
        inverse, ones, values = work[0, j, lane], work[2, j, lane], work[3, j, lane]
        x = ones * inverse - factor * x_after
        r = (values - rate[lane] * ones) * inverse - factor * r_after
        q = inverse + factor * factor * q_after
        p = q - x * x * inverse_s
        excess = r * r / p - threshold_one
        # Of two that are equally bad but for rounding, as the last two always are, the first is left out.
        if use[j, lane] > 0 and excess > best * _TIE:
            best, count, dropped[0] = excess, 1, j
        if readout[SHARED_READS, j] > 1 and n_used > 2 and use[j, lane] * use[j + 1, lane] > 0:
            p_after = q_after - x_after * x_after * inverse_s
            cross = -factor * q_after - x * x_after * inverse_s
            gain = r * r * p_after - 2 * r * r_after * cross + r_after * r_after * p
            excess = gain / (p * p_after - cross * cross) - threshold_two
            if excess > best * _TIE:
                best, count, dropped[0], dropped[1] = excess, 2, j, j + 1
        x_after, r_after, q_after, factor = x, r, q, work[1, j, lane]
    for k in range(count):
        use[dropped[k], lane] = 0.0
    return count


@helper(counted=False)
def weighted_variances(variances, back, work, sums, readout, n):
    """Variances of the rate per read variance, and per photon rate: w' C w with w = C^-1 1 / S; (2, lanes)."""
    last = work.shape[1] - 1
    by_read, by_photons = variances[0], variances[1]
    for k in range(2):
        fill_row(variances[k, :n], 0.0)
    weight, after, inverse_s = back[0], back[1], back[2]
    fill_row(after[:n], 0.0)
    for x in range(n):
        inverse_s[x] = 1.0 / sums[_S, x]
    for j in range(last, -1, -1):
        inverse, ones = work[0, j], work[2, j]
        factors = work[1, min(j + 1, last)]
        read_diagonal, photon_diagonal = readout[READ_DIAGONAL, j], readout[PHOTON_DIAGONAL, j]
        read_beside, photon_beside = 2 * readout[READ_BESIDE, j], 2 * readout[PHOTON_BESIDE, j]
        for x in range(n):
            weight[x] = ones[x] * inverse[x] * inverse_s[x] - factors[x] * after[x]
        for x in range(n):
            w = weight[x]
            by_read[x] += w * (w * read_diagonal + after[x] * read_beside)
            by_photons[x] += w * (w * photon_diagonal + after[x] * photon_beside)
            after[x] = w

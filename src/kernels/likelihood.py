"""Fit slopes to ramps by maximum likelihood, and find jumps by the gain in likelihood.

Model: the differences ``d_j = (y_{j+1} - y_j) / dt_j`` of successive resultants (groups) have the mean ``a``, the count
rate, and a tridiagonal covariance C of read noise and photon noise. With resultants of N reads at the mean time t and
the variance-weighted mean time tau, variance ``r^2`` of one read [DN^2] and gain g [e-/DN],

    C_jj    = [r^2 (1/N_j + 1/N_j+1) + (a/g) (tau_j + tau_j+1 - 2 t_j)] / dt_j^2
    C_j,j+1 = [-r^2 / N_j+1 + (a/g) (t_j+1 - tau_j+1)] / (dt_j dt_j+1).

The rate is ``1'C^-1 d / 1'C^-1 1``, its variance ``1 / 1'C^-1 1``, chi-squared ``d'C^-1 d - (1'C^-1 d)^2 / 1'C^-1 1``.
C is taken first at the median difference; jumps are differences whose omission (alone, or in pairs around a resultant
of several reads) lowers chi-squared by more than a threshold, left out one after the other; the result is a fit with C
at the rate found so far.

Source: Brandt (2024a), PASP 136, 045004, eqs. 4-11, 28-29 and 61-63 for the model; Brandt (2024b), PASP 136, 045005,
sect. 3 for the jumps; reference behaviour for all rules. The sums are found by one elimination of C instead of the
paper's minors, and the gain of an omission from the residuals: with ``P = C^-1 - x x' / S``, ``x = C^-1 1``,
``S = 1'x``, it is ``(P d)_j^2 / P_jj`` (for two, the same with a 2 x 2 block).

Arithmetic is float64 from float32 differences. NaN: a sample that is not finite, flagged or not, makes its integration
NaN (reference behaviour). Not here: a pedestal, and the bias correction of the paper.
"""

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._likelihood_lanes import drop_worst, eliminate, mark_suspects, refuse_indefinite, weighted_variances
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.likelihood_model import LikelihoodFit, as_read_times, empty_planes, readout_table, split_first_group

__all__ = [
    "MINIMUM_GROUPS",
    "ONE_OMISSION",
    "TWO_OMISSIONS",
    "LikelihoodFit",
    "detect_jumps_likelihood",
    "fit_likelihood_tile",
    "fit_ramps_likelihood",
    "fit_ramps_likelihood_into",
]

MINIMUM_GROUPS = 4  # shorter ramps are left to `ramp_fit` (reference behaviour)
ONE_OMISSION = 20.25  # gain in chi-squared that makes one difference a jump: 4.5 sigma
TWO_OMISSIONS = 23.8  # ... and two of them: the same probability with two degrees of freedom

_PIECE = 256  # lanes done together
_ROW = _PIECE + 8
_UNUSABLE = DO_NOT_USE | SATURATED

# Rows of the results of an integration.
_SLOPE, _ERR, _VAR_POISSON, _VAR_RNOISE, _CHI2 = 0, 1, 2, 3, 4


@helper
def _take_differences(diffs, use, ordered, samples, before, data, gdq, zeroframe, readout, nframes, i, r, left, n):
    """Differences [DN/s] of a piece of a row, whether they count, and a float32 copy that can be sorted.

    With a ZEROFRAME the first group is split into the first read and the mean of the others. ``samples`` and
    ``before`` are scratch.
    """
    split = 1 if zeroframe.size > 0 else 0
    one = np.float32(1)
    first = gdq[i, 0, r, left : left + n]
    for x in range(n):
        before[x] = one if first[x] == 0 else np.float32(0)
    if split == 1:
        copy_row(samples[0, :n], zeroframe[i, r, left : left + n])
    else:
        copy_row(samples[0, :n], data[i, 0, r, left : left + n])
    for j in range(diffs.shape[0]):
        k = j + 1 - split
        y = data[i, k, r, left : left + n]
        q = gdq[i, k, r, left : left + n]
        now, last = samples[1], samples[0]
        if k == 0:
            frames = np.float32(nframes)
            others = np.float32(nframes - 1)
            for x in range(n):
                now[x] = (y[x] * frames - last[x]) / others
        else:
            copy_row(now[:n], y)
        scale = readout[0, j]
        d, u, line = diffs[j], use[j], ordered[j]
        for x in range(n):
            d[x] = float(now[x] - last[x]) * scale
        for x in range(n):
            line[x] = np.float32(d[x])
        for x in range(n):
            good = one if q[x] == 0 else np.float32(0)
            u[x] = float(good * before[x])
            before[x] = good
        copy_row(last[:n], now)


@helper
def _first_guess(photons, ordered, inverse_gain, n):
    """Median of all differences, not below zero, over the gain."""
    rows = ordered.shape[0]
    sort_lanes(ordered, rows, n)
    low, high = ordered[(rows - 1) // 2], ordered[rows // 2]
    for x in range(n):
        middle = 0.5 * (float(low[x]) + float(high[x]))
        photons[x] = (middle if middle > 0 else 0.0) * inverse_gain[x]


@kernel
def _search(gdq, rate, suspect, lanes, few, work, sums, diffs, use, photons, read_var, readout, limits, place, n):
    """Look for jumps in the lanes that `mark_suspects` found: flag groups, change ``use`` and the rates.

    The suspects are fitted together: ``few`` (2 K + 3, lanes) holds their differences, what they use, photons, read
    variance and rates; ``lanes`` where they come from. ``place``: integration, row, column and whether the first group
    was split. They leave as soon as nothing more is dropped.
    """
    n_diffs = diffs.shape[0]
    i, r, left, split = place
    few_diffs, few_use, extra = few[:n_diffs], few[n_diffs : 2 * n_diffs], few[2 * n_diffs :]
    dropped = np.empty(2, np.int64)
    m = 0
    for x in range(n):
        if suspect[x] != 0:
            lanes[m] = x
            m += 1
    for c in range(m):
        x = lanes[c]
        for j in range(n_diffs):
            few_diffs[j, c] = diffs[j, x]
            few_use[j, c] = use[j, x]
        extra[0, c] = photons[x]
        extra[1, c] = read_var[x]
    again = False
    while m > 0:
        eliminate(work, sums, few_diffs, few_use, extra[0], extra[1], readout, m)
        for c in range(m):
            extra[2, c] = sums[1, c] / sums[0, c]
        left_over = 0
        for c in range(m):
            x = lanes[c]
            n_used = 0.0
            for j in range(n_diffs):
                n_used += few_use[j, c]
            # From the second pass on at least four differences are needed to tell which is the odd one.
            count = 0
            if not again or n_used > 3:
                count = drop_worst(dropped, few_use, work, sums, extra[2], readout, limits[0], limits[1], c)
            rate[x] = extra[2, c]
            if count == 0:
                continue
            for k in range(count):
                use[dropped[k], x] = 0.0
                gdq[i, dropped[k] + 1 - split, r, left + x] |= JUMP_DET
            for j in range(n_diffs):
                few_diffs[j, left_over] = few_diffs[j, c]
                few_use[j, left_over] = few_use[j, c]
            extra[0, left_over] = extra[0, c]
            extra[1, left_over] = extra[1, c]
            lanes[left_over] = x
            left_over += 1
        m = left_over
        again = True


@helper
def _store_fit(results, sums, variances, photons, read_var, n):
    """Slope, error, variances and chi-squared of an integration from the sums of its last fit."""
    s, b, a = sums[0], sums[1], sums[2]
    slope, err, by_photons, by_read, chi2 = results[0], results[1], results[2], results[3], results[4]
    for x in range(n):
        inverse_s = 1.0 / s[x]
        rate = b[x] * inverse_s
        nothing = rate - rate  # NaN where no difference counts or a sample is NaN, and 0 elsewhere
        slope[x] = np.float32(rate)
        err[x] = np.float32(np.sqrt(inverse_s) + nothing)
        chi2[x] = np.float32(a[x] - b[x] * rate)
    for x in range(n):
        by_photons[x] = np.float32(photons[x] * variances[1, x])
        by_read[x] = np.float32(read_var[x] * variances[0, x])


@kernel
def _combine(results, ordered, scratch, n):
    """The exposure from its integrations, into the last of ``results`` (ni + 1, 5, lanes).

    The photon variances are scaled to a common rate, the median at first, in two rounds (reference behaviour).
    """
    ni = results.shape[0] - 1
    final = results[ni]
    if ni == 1:
        for k in range(5):
            copy_row(final[k, :n], results[0, k])
        return
    rate, total, weighted, by_photons, by_read = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    infinity = np.float32(np.inf)
    fill_row(total[:n], 0.0)
    for i in range(ni):
        slope, line = results[i, _SLOPE], ordered[i]
        for x in range(n):
            known = slope[x] == slope[x]
            line[x] = slope[x] if known else infinity
            total[x] += 1.0 if known else 0.0
    sort_lanes(ordered, ni, n)
    for x in range(n):
        count = int(total[x])
        rate[x] = np.float32(lane_median(ordered, x, 0, count)) if count > 0 else np.nan
    for _ in range(2):
        for k in range(1, 5):
            fill_row(scratch[k, :n], 0.0)
        for i in range(ni):
            slope, vp, vr = results[i, _SLOPE], results[i, _VAR_POISSON], results[i, _VAR_RNOISE]
            for x in range(n):
                scale = rate[x] / float(slope[x])
                scale = scale if 0 < scale < np.inf else 0.0
                photon_var = float(vp[x]) * scale
                weight = 1.0 / (photon_var + float(vr[x]))
                known = weight == weight and slope[x] == slope[x]
                total[x] += weight if known else 0.0
                weighted[x] += weight * float(slope[x]) if known else 0.0
                by_photons[x] += weight * weight * photon_var if known else 0.0
                by_read[x] += weight * weight * float(vr[x]) if known else 0.0
        for x in range(n):
            rate[x] = weighted[x] / total[x]
    for x in range(n):
        square = 1.0 / (total[x] * total[x])
        final[_SLOPE, x] = np.float32(rate[x])
        final[_VAR_POISSON, x] = np.float32(by_photons[x] * square + (rate[x] - rate[x]))
        final[_VAR_RNOISE, x] = np.float32(by_read[x] * square + (rate[x] - rate[x]))
        final[_ERR, x] = np.sqrt(final[_VAR_POISSON, x] + final[_VAR_RNOISE, x])
        final[_CHI2, x] = np.float32(0)
    for i in range(ni):
        for x in range(n):
            final[_CHI2, x] += results[i, _CHI2, x]


@helper
def _compress_flags(bits, gdq, pdq, r, left, n):
    """Flags of the integrations and of the exposure, into ``bits`` (ni + 1, lanes)."""
    ni = bits.shape[0] - 1
    every = np.empty(n, np.uint8)
    final = bits[ni]
    unusable = np.empty(n, np.uint32)
    fill_row(unusable, np.uint32(DO_NOT_USE))
    copy_row(final[:n], pdq[r, left : left + n])
    for i in range(ni):
        line = bits[i]
        fill_row(every, np.uint8(1))
        copy_row(line[:n], pdq[r, left : left + n])
        for k in range(gdq.shape[1]):
            q = gdq[i, k, r, left : left + n]
            for x in range(n):
                every[x] &= (q[x] | (q[x] >> 1)) & 1
            for x in range(n):
                line[x] |= q[x] & (SATURATED | JUMP_DET)
        for x in range(n):
            line[x] |= every[x]
        for x in range(n):
            final[x] |= line[x]
            unusable[x] &= line[x]
    for x in range(n):
        final[x] = (final[x] & ~np.uint32(DO_NOT_USE)) | unusable[x]


@kernel
def _store_row(slope, err, var_poisson, var_rnoise, chi2, dq, results, bits, r, left, n):
    """Write a piece of a row of the exposure, or of one integration."""
    right = left + n
    copy_row(slope[r, left:right], results[_SLOPE])
    copy_row(err[r, left:right], results[_ERR])
    copy_row(var_poisson[r, left:right], results[_VAR_POISSON])
    copy_row(var_rnoise[r, left:right], results[_VAR_RNOISE])
    copy_row(chi2[r, left:right], results[_CHI2])
    copy_row(dq[r, left:right], bits)


@helper
def _add_dark(photons, rate, average_dark, inverse_gain, r, left, n):
    """Photon rate over the gain for the last fit: that of the rate found so far, not below zero, and of the dark."""
    for x in range(n):
        # A product, so that NaN stays NaN.
        photons[x] = rate[x] * (1.0 if rate[x] > 0 else 0.0)
    if average_dark.size > 0:
        dark = average_dark[r, left : left + n]
        for x in range(n):
            photons[x] += float(dark[x])
    for x in range(n):
        photons[x] *= inverse_gain[x]


@kernel
def fit_likelihood_tile(
    slope,
    err,
    var_poisson,
    var_rnoise,
    chi2,
    dq,
    slope_i,
    err_i,
    var_poisson_i,
    var_rnoise_i,
    chi2_i,
    dq_i,
    gdq,
    data,
    pdq,
    gain,
    read_noise,
    zeroframe,
    average_dark,
    readout,
    nframes,
    limit_one,
    limit_two,
    first,
    last,
    left,
    right,
):
    """Find jumps and fit all ramps of the region.

    The first twelve arrays are the results, of the exposure (ny, nx) and of the integrations. Jumps are flagged in
    ``gdq``. ``zeroframe`` (nint, ny, nx) and ``average_dark`` (ny, nx) may have size 0; with a ZEROFRAME ``readout``
    describes the split first group. The limits are the gains in chi-squared that make a jump.
    """
    ni = data.shape[0]
    n_diffs = readout.shape[1]
    split = 1 if zeroframe.size > 0 else 0
    diffs = np.empty((n_diffs, _ROW), np.float64)
    use = np.empty((n_diffs, _ROW), np.float64)
    ordered = np.empty((max(n_diffs, ni), _ROW), np.float32)
    samples = np.empty((2, _ROW), np.float32)
    before = np.empty(_ROW, np.float32)
    work = np.empty((4, n_diffs, _ROW), np.float64)
    few = np.empty((2 * n_diffs + 3, _ROW), np.float64)
    rows = np.empty((17, _ROW), np.float64)
    lanes = np.empty(_ROW, np.int64)
    suspect = np.empty(_ROW, np.uint8)
    results = np.empty((ni + 1, 5, _ROW), np.float32)
    bits = np.empty((ni + 1, _ROW), np.uint32)
    read_var, inverse_gain, photons, rate = rows[0], rows[1], rows[2], rows[3]
    sums, back, scratch, variances = rows[4:7], rows[7:10], rows[10:15], rows[15:17]
    for r in range(first, last):
        for a in range(left, right, _PIECE):
            n = min(_PIECE, right - a)
            for x in range(n):
                read_var[x] = 0.5 * float(read_noise[r, a + x]) * float(read_noise[r, a + x])
                inverse_gain[x] = 1.0 / float(gain[r, a + x])
            for i in range(ni):
                _take_differences(
                    diffs, use, ordered[:n_diffs], samples, before, data, gdq, zeroframe, readout, nframes, i, r, a, n
                )
                _first_guess(photons, ordered[:n_diffs], inverse_gain, n)
                refuse_indefinite(photons, read_var, readout, n)
                eliminate(work, sums, diffs, use, photons, read_var, readout, n)
                mark_suspects(suspect, back, scratch, work, sums, rate, readout, limit_one, limit_two, n)
                place = (i, r, a, split)
                limits = (limit_one, limit_two)
                _search(
                    gdq, rate, suspect, lanes, few, work, sums, diffs, use, photons, read_var, readout, limits, place, n
                )
                _add_dark(photons, rate, average_dark, inverse_gain, r, a, n)
                refuse_indefinite(photons, read_var, readout, n)
                eliminate(work, sums, diffs, use, photons, read_var, readout, n)
                weighted_variances(variances, back, work, sums, readout, n)
                _store_fit(results[i], sums, variances, photons, read_var, n)
            _combine(results, ordered, scratch, n)
            _compress_flags(bits, gdq, pdq, r, a, n)
            for i in range(ni):
                _store_row(
                    slope_i[i], err_i[i], var_poisson_i[i], var_rnoise_i[i], chi2_i[i], dq_i[i], results[i], bits[i],
                    r, a, n,
                )  # fmt: skip
            _store_row(slope, err, var_poisson, var_rnoise, chi2, dq, results[ni], bits[ni], r, a, n)


def fit_ramps_likelihood_into(
    rate,
    integrations,
    chi2,
    chi2_integrations,
    data,
    gdq,
    pdq,
    gain,
    read_noise,
    *,
    read_times,
    zeroframe=None,
    average_dark_current=None,
    limits=(ONE_OMISSION, TWO_OMISSIONS),
    threads=None,
):
    """`fit_ramps_likelihood` into given arrays; jumps are flagged in ``gdq``."""
    data = as_canonical(data, "data", np.float32, 4)
    n_integrations, n_groups, *frame = data.shape
    pdq = as_canonical(pdq, "pixeldq", np.uint32, 2)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    dark = np.empty((0, 0)) if average_dark_current is None else average_dark_current
    dark = as_canonical(dark, "average_dark_current", np.float32, 2)
    require_in_place(gdq, "groupdq", np.uint8, 4)
    check_shape(gdq, "groupdq", data.shape)
    for array, name in ((pdq, "pixeldq"), (gain, "gain"), (read_noise, "read_noise")):
        check_shape(array, name, frame)
    if dark.size:
        check_shape(dark, "average_dark_current", frame)
    read_times = as_read_times(read_times)
    if len(read_times) != n_groups or n_groups < 2:
        raise ShapeError(f"read_times describes {len(read_times)} groups; data has {n_groups}, of at least 2 needed")
    n_reads = np.size(read_times[0])
    zeroframe = None if n_reads < 2 else zeroframe  # without effect on a first group of one read
    if zeroframe is not None:
        check_shape(np.asarray(zeroframe), "zeroframe", (n_integrations, *frame))
        read_times = split_first_group(read_times)
    zeroframe = as_canonical(np.empty((0, 0, 0)) if zeroframe is None else zeroframe, "zeroframe", np.float32, 3)
    for planes, image, shape in ((rate, chi2, frame), (integrations, chi2_integrations, (n_integrations, *frame))):
        for name, array in {**planes._asdict(), "chi2": image}.items():
            require_in_place(array, name, np.uint32 if name == "dq" else np.float32, len(shape))
            check_shape(array, name, shape)
    run_tile(
        fit_likelihood_tile,
        *rate[:4],
        chi2,
        rate.dq,
        *integrations[:4],
        chi2_integrations,
        integrations.dq,
        gdq,
        data,
        pdq,
        gain,
        read_noise,
        zeroframe,
        dark,
        readout_table(read_times),
        n_reads,
        float(limits[0]),
        float(limits[1]),
        threads=threads,
        block=16,
    )


def fit_ramps_likelihood(
    data,
    groupdq,
    pixeldq,
    gain,
    read_noise,
    *,
    read_times,
    zeroframe=None,
    average_dark_current=None,
    detect_jumps=True,
    limits=(ONE_OMISSION, TWO_OMISSIONS),
    threads=None,
):
    """Fit a slope to every ramp by maximum likelihood (Brandt 2024a), after a search for jumps (Brandt 2024b).

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts, linearised [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags. A group with any flag at all makes both of its differences unusable.
    pixeldq : (ny, nx) uint32
        Pixel flags, copied into those of the result.
    gain : (ny, nx) float32
        Gain [e-/DN].
    read_noise : (ny, nx) float32
        Noise of the difference of two reads [DN].
    read_times : sequence of ngroup sequences of float
        Times of the reads that were averaged into each group [s]; `upramp.kernels.even_read_times` makes those of
        evenly spaced groups.
    zeroframe : (nint, ny, nx) float32, optional
        First read of every integration [DN]. Used where the first group has two reads or more: it is then split.
    average_dark_current : (ny, nx) float32, optional
        Added to the photon rate as it is [DN/s].
    detect_jumps : bool
        Whether to look for jumps; `limits` are the gains in chi-squared that make one difference, or two, a jump.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    LikelihoodFit
        Rates of the exposure and of the integrations, chi-squared of both, and the group flags with the jumps. NaN
        where no difference is usable or a sample is not finite.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source, model and NaN rule: see the module. Several integrations are combined with the weights of their variances
    at a common rate (reference behaviour); their chi-squared is the sum.
    Cost: O(ngroup) per ramp and a sort of its differences; scratch 8 * 9 * ngroup * 264 bytes per thread.
    """
    data = as_canonical(data, "data", np.float32, 4)
    n_integrations, _, *frame = data.shape
    fit = LikelihoodFit(
        empty_planes(*frame),
        empty_planes(n_integrations, *frame),
        np.empty(frame, np.float32),
        np.empty((n_integrations, *frame), np.float32),
        writable_copy(groupdq, "groupdq", np.uint8, 4),
    )
    fit_ramps_likelihood_into(
        *fit[:4],
        data,
        fit.groupdq,
        pixeldq,
        gain,
        read_noise,
        read_times=read_times,
        zeroframe=zeroframe,
        average_dark_current=average_dark_current,
        limits=limits if detect_jumps else (np.inf, np.inf),
        threads=threads,
    )
    return fit


def detect_jumps_likelihood(
    data, groupdq, gain, read_noise, *, read_times, limits=(ONE_OMISSION, TWO_OMISSIONS), threads=None
):
    """Find jumps by the gain in likelihood of leaving differences out (Brandt 2024b).

    Parameters
    ----------
    data, groupdq, gain, read_noise, read_times, threads
        As for `fit_ramps_likelihood`.
    limits : (float, float)
        Gains in chi-squared that make one difference, or two around a group of several reads, a jump.

    Returns
    -------
    (nint, ngroup, ny, nx) uint8
        The group flags with JUMP_DET in the group behind every difference that was left out.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree.

    Notes
    -----
    Source: Brandt (2024b), PASP 136, 045005, sects. 3.1 and 3.2. The search stops when nothing exceeds its limit or
    fewer than four differences are left; of two differences that are equally bad the first is left out.
    """
    pixeldq = np.zeros(np.shape(gain), np.uint32)
    return fit_ramps_likelihood(
        data, groupdq, pixeldq, gain, read_noise, read_times=read_times, limits=limits, threads=threads
    ).groupdq

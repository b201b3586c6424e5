"""Generalised least squares of one ramp with dense matrices, and a jump search by trying every omission."""

import numpy as np


def covariance(read_times, read_var, photons):
    """Covariance of the scaled differences; ``photons`` is the rate over the gain."""
    times = [np.atleast_1d(np.asarray(one, float)) for one in read_times]
    n = len(times)
    reads = np.array([len(one) for one in times])
    mean = np.array([one.mean() for one in times])
    # Covariance of two resultants: photons that came before the earlier of every pair of their reads.
    shared = np.array([[np.minimum.outer(a, b).mean() for b in times] for a in times])
    samples = photons * shared + read_var * np.diag(1 / reads)
    step = np.diff(mean)
    difference = (np.eye(n)[1:] - np.eye(n)[:-1]) / step[:, None]
    return difference @ samples @ difference.T, step


def fit(d, matrix, use):
    """Rate, chi-squared, error and weights of the differences ``d`` that are used."""
    inverse = np.linalg.inv(matrix[np.ix_(use, use)])
    one = np.ones(use.sum())
    total = one @ inverse @ one
    rate = one @ inverse @ d[use] / total
    rest = d[use] - rate
    weights = np.zeros(len(d))
    weights[use] = inverse @ one / total
    return rate, rest @ inverse @ rest, 1 / np.sqrt(total), weights


def search(d, matrix, use, pairs, limits):
    """Leave out what exceeds its limit most, again and again; returns what is left and the last rate."""
    use = use.copy()
    first = True
    while True:
        rate, chi2, _, _ = fit(d, matrix, use)
        if use.sum() < 2 or (not first and use.sum() <= 3):
            return use, rate
        candidates = [([j], limits[0]) for j in np.flatnonzero(use)]
        if use.sum() > 2:
            candidates += [([j, j + 1], limits[1]) for j in np.flatnonzero(use[:-1] & use[1:] & pairs)]
        excess = []
        for omitted, limit in candidates:
            rest = use.copy()
            rest[omitted] = False
            excess.append(chi2 - fit(d, matrix, rest)[1] - limit)
        if max(excess) <= 0:
            return use, rate
        use[candidates[int(np.argmax(np.array(excess) > max(excess) * (1 - 1e-9)))][0]] = False
        first = False


def fit_ramp(y, flags, gain, read_noise, read_times, limits):
    """Rate, error, variances, chi-squared and new group flags of one ramp (ngroup)."""
    read_var = read_noise**2 / 2
    matrix, step = covariance(read_times, read_var, 0.0)
    d = np.diff(y.astype(np.float32)).astype(float) / step
    use = (flags[1:] == 0) & (flags[:-1] == 0)
    if not use.any():
        return (np.nan,) * 5, flags
    pairs = np.array([len(np.atleast_1d(one)) > 1 for one in read_times[1:-1]])
    matrix, _ = covariance(read_times, read_var, max(np.median(d), 0) / gain)
    left, rate = search(d, matrix, use, pairs, limits)
    found = flags.copy()
    found[1:][use & ~left] |= 4
    photons = max(rate, 0) / gain
    matrix, _ = covariance(read_times, read_var, photons)
    rate, chi2, error, w = fit(d, matrix, left)
    by_photons = w @ covariance(read_times, 0.0, photons)[0] @ w
    by_read = w @ covariance(read_times, read_var, 0.0)[0] @ w
    return (rate, error, by_photons, by_read, chi2), found

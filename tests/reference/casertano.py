"""The fit of one ramp of uneven resultants as the paper describes it, in plain numpy: slow and obvious."""

import numpy as np


def fit_segment(y, noise, times):
    """Slope and its variances per slope of one unbroken ramp; ``times``: the times of the reads of each resultant."""
    reads = np.array([len(one) for one in times])
    t = np.array([np.mean(one) for one in times])
    signal = max(y[-1] - y[0], 0)
    ratio = signal / np.sqrt(noise**2 + signal)
    power = [0, 0.4, 1, 3, 6, 10][int(np.searchsorted([5, 10, 20, 50, 100], ratio, side="right"))]
    arm = np.abs(t - (t[0] + t[-1]) / 2) / ((t[-1] - t[0]) / 2)
    w = (1 + power) * reads / (1 + power * reads) * arm**power
    f0, f1, f2 = w.sum(), (w * t).sum(), (w * t * t).sum()
    k = (f0 * t - f1) * w / (f2 * f0 - f1**2)
    # Covariance of two resultants from photons: those that came before the earlier of every pair of their reads.
    shared = np.array([[np.minimum.outer(a, b).mean() for b in times] for a in times])
    return k @ y, np.sum(k**2 / reads) * noise**2, k @ shared @ k


def fit_ramp(y, flags, noise, times):
    """Slope, read variance and photon variance of a ramp without jump detection."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], flags != 0, [1]])))
    parts = []
    for a, b in edges.reshape(-1, 2):
        if b - a > 1:
            parts.append(fit_segment(y[a:b].astype(float), noise, times[a:b]))
    if not parts:
        return 0.0, 0.0, 0.0
    slope, by_read, by_photons = np.array(parts).T
    w = 1 / by_read / np.sum(1 / by_read)
    mean = np.sum(w * slope)
    return mean, np.sum(w**2 * by_read), max(mean, 0) * np.sum(w**2 * by_photons)

"""Weighted fit of one ramp segment in plain numpy, by the normal equations: slow and obvious."""

import numpy as np


def segment_slope(y, gain, rn, group_time):
    """Slope [DN/s] of the samples ``y`` of one segment; ``rn`` is the noise of a group [e-]."""
    y = np.asarray(y, np.float64)
    n = len(y)
    signal = (y[-1] - y[0]) * gain
    ratio = max(signal / np.sqrt(rn**2 + max(signal, 0)), 0)
    power = [0, 0.4, 1, 3, 6, 10][int(np.searchsorted([5, 10, 20, 50, 100], ratio, side="right"))]
    mid = (n - 1) / 2
    weight = np.abs((np.arange(n) - mid) / mid) ** power
    x = np.arange(n)
    sw, sx, sxx, sy, sxy = (np.sum(weight * v) for v in (1, x, x * x, y, x * y))
    return (sw * sxy - sx * sy) / (sw * sxx - sx**2) / group_time


def fit_clean(data, gain, read_noise, group_time, nframes):
    """Slope, err, var_poisson, var_rnoise of the exposure for one pixel (ni, ng) without flags."""
    ni, n = data.shape
    data = data.astype(np.float64)
    rn = read_noise * gain / np.sqrt(2 * nframes)
    slopes = [segment_slope(ramp, gain, rn, group_time) for ramp in data]
    photons = max(np.mean([np.median(np.diff(ramp)) for ramp in data]) / group_time, 0)
    vp = photons / (group_time * gain * (n - 1)) / ni
    vr = 12 * (rn / group_time) ** 2 / ((n**3 - n) * gain**2) / ni
    return np.mean(slopes), np.sqrt(vp + vr), vp, vr

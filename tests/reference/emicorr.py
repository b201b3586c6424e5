"""Interference, the slow and obvious way: times of samples, waves at phases, and chi squared of lines by lstsq."""

import numpy as np

__all__ = ["chi_squared", "clocks", "natural_wave"]


def clocks(shape, row, sample, reset=0):
    """When the samples of the quarter rows are read, in clocks: (nint, ngroup, ny, nx // 4)."""
    ni, ng, ny, nx = shape
    frame = ny * row + (1024 - ny) * 7
    times = np.zeros((ni, ng, ny, nx // 4))
    now = 0
    for i in range(ni):
        for g in range(ng):
            for j in range(ny):
                times[i, g, j] = now + j * row + np.arange(nx // 4) * sample
            now += frame
        now += reset
    return times


def natural_wave(values):
    """The wave as a function of the phase: scipy's not-a-knot spline through values that go on at both ends."""
    from scipy.interpolate import CubicSpline

    n = len(values)
    nodes = (np.arange(n + 2) - 0.5) / n
    return CubicSpline(nodes, np.concatenate([values[-1:], values, values[:1]]), bc_type="not-a-knot")


def chi_squared(data, good, noise):
    """Sum of the squares that lines leave of the good ramps (nint, ngroup, ny, nx) after noise is subtracted."""
    t = np.arange(data.shape[1])
    lines = np.stack([np.ones_like(t), t], axis=1).astype(float)
    ramps = np.moveaxis(data.astype(float) - noise, 1, 0).reshape(len(t), -1)[:, good.ravel()]
    return np.linalg.lstsq(lines, ramps, rcond=None)[1].sum()

"""Ramps with known truth, and how good slopes and jumps are that the kernels find in them.

All charges are in electrons per group. A ramp is evenly read with one frame per group, Poisson arrivals and Gaussian
read noise; the bound for the variance of its slope is the Fisher information of the differences, Gaussian with the
covariance C(a) that photons and read noise give them:

    1/var >= 1' C^-1 1 + tr[(C^-1 dC/da)^2] / 2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels import (
    JumpParameters,
    detect_jumps,
    detect_jumps_likelihood,
    even_read_times,
    fit_ramps,
    fit_ramps_casertano,
    fit_ramps_likelihood,
)

__all__ = ["JUMP_METHODS", "SLOPE_METHODS", "Detector", "JumpQuality", "SlopeQuality", "jump_quality", "slope_quality"]

JUMP = 4


@dataclass(frozen=True)
class Detector:
    """A detector and its readout; ``read_noise`` of one read [e-], ``gain`` [e-/DN], ``group_time`` [s]."""

    ngroups: int = 10
    read_noise: float = 12.0
    gain: float = 2.0
    group_time: float = 10.0

    def ramps(self, rng, charge, count):
        """(ngroups, count) float64 ramps [e-]."""
        electrons = rng.poisson(charge, (self.ngroups, count)).cumsum(axis=0)
        return electrons + rng.normal(0, self.read_noise, electrons.shape)

    def difference_noise(self, charge):
        """Standard deviation of the difference of two groups [e-]."""
        return np.sqrt(2 * self.read_noise**2 + charge)

    def cramer_rao(self, charge):
        """Least variance of an unbiased slope [(e-/group)^2]."""
        n = self.ngroups - 1
        beside = np.eye(n, k=1) + np.eye(n, k=-1)
        inverse = np.linalg.inv(charge * np.eye(n) + self.read_noise**2 * (2 * np.eye(n) - beside))
        return 1 / (inverse.sum() + np.trace(inverse @ inverse) / 2)

    def arrays(self, ramps):
        """What the kernels take: data [DN], group flags, pixel flags, gain, read noise of a difference [DN]."""
        data = (ramps / self.gain).astype(np.float32)[np.newaxis, :, np.newaxis, :]
        plane = np.ones((1, ramps.shape[1]), np.float32)
        noise = np.float32(np.sqrt(2) * self.read_noise / self.gain)
        flags = np.zeros(data.shape, np.uint8)
        return data, flags, np.zeros(plane.shape, np.uint32), plane * np.float32(self.gain), plane * noise


def _least_squares(detector, ramps):
    times = {"group_time": detector.group_time, "frame_time": detector.group_time}
    fit = fit_ramps(*detector.arrays(ramps), **times)
    unit = detector.gain * detector.group_time
    return fit.rate.slope[0] * unit, fit.rate.err[0] * unit


def _likelihood(detector, ramps):
    times = even_read_times(detector.ngroups, detector.group_time)
    fit = fit_ramps_likelihood(*detector.arrays(ramps), read_times=times, detect_jumps=False)
    unit = detector.gain * detector.group_time
    return fit.rate.slope[0] * unit, fit.rate.err[0] * unit


def _casertano(detector, ramps):
    flags = np.zeros(ramps.shape, np.uint8)
    pattern = [[read] for read in range(1, detector.ngroups + 1)]
    fit = fit_ramps_casertano(ramps, flags, detector.read_noise, read_time=1.0, read_pattern=pattern)
    return fit.slope, np.sqrt(fit.var_total)


SLOPE_METHODS = {"least squares": _least_squares, "likelihood": _likelihood, "Casertano": _casertano}


class SlopeQuality(NamedTuple):
    """Quality of the slopes of ``count`` ramps: bias, scatter and bound of the variance [e-/group, squared].

    ``pull_mean`` and ``pull_scatter`` are the median and half the central 68 % of the pulls, (slope - truth) / error:
    mean and standard deviation are ruled by the few faint ramps with a small error.
    """

    charge: float
    count: int
    bias: float
    scatter: float
    pull_mean: float
    pull_scatter: float
    bound: float

    @property
    def efficiency(self):
        """Least possible variance over that of the slopes."""
        return self.bound / self.scatter**2


def slope_quality(method, charge, count, seed=1, detector=None):
    """Fit ``count`` ramps of a charge per group by one of `SLOPE_METHODS`: a `SlopeQuality`."""
    detector = detector or Detector()
    ramps = detector.ramps(np.random.default_rng(seed), charge, count)
    slope, err = (one.astype(np.float64) for one in SLOPE_METHODS[method](detector, ramps))
    pull = (slope - charge) / err
    low, high = np.percentile(pull, [15.865, 84.135])
    return SlopeQuality(
        charge,
        count,
        slope.mean() - charge,
        slope.std(ddof=1),
        np.median(pull),
        (high - low) / 2,
        detector.cramer_rao(charge),
    )


def _two_point(detector, ramps):
    data, flags, pixels, gain, noise = detector.arrays(ramps)
    parameters = JumpParameters(flag_4_neighbors=False)
    options = {"nframes": 1, "group_time": detector.group_time, "parameters": parameters}
    found = detect_jumps(data, flags, pixels, gain, noise, **options)
    lost = found.groupdq[0, 1:, 0] == JUMP
    return lost, lost.sum()


def _by_likelihood(detector, ramps):
    data, flags, _, gain, noise = detector.arrays(ramps)
    times = even_read_times(detector.ngroups, detector.group_time)
    lost = detect_jumps_likelihood(data, flags, gain, noise, read_times=times)[0, 1:, 0] == JUMP
    return lost, lost.sum()


def _by_casertano(detector, ramps):
    flags = np.zeros(ramps.shape, np.uint8)
    pattern = [[read] for read in range(1, detector.ngroups + 1)]
    fit = fit_ramps_casertano(ramps, flags, detector.read_noise, read_time=1.0, read_pattern=pattern, detect_jumps=True)
    # A jump flags two resultants, and so costs the differences beside it too.
    flagged = fit.dq == JUMP
    return flagged[1:] | flagged[:-1], flagged.sum() / 2


JUMP_METHODS = {"two-point differences": _two_point, "likelihood": _by_likelihood, "Casertano": _by_casertano}


class JumpQuality(NamedTuple):
    """Part of the hits whose difference is not used (completeness); without hits, jumps found per difference."""

    count: int
    completeness: float
    n_differences: int
    false_alarms: float


def jump_quality(method, charge, height, group, count, seed=1, detector=None):
    """Hit ``count`` ramps between two groups and look for it by one of `JUMP_METHODS`: a `JumpQuality`.

    ``height`` is in standard deviations of a difference; the hit adds to ``group`` and all after it. With height 0
    there are no hits, and what is found is a false alarm.
    """
    detector = detector or Detector()
    ramps = detector.ramps(np.random.default_rng(seed), charge, count)
    ramps[group:] += height * detector.difference_noise(charge)
    lost, n_found = JUMP_METHODS[method](detector, ramps)
    if height == 0:
        return JumpQuality(count, np.nan, lost.size, n_found / lost.size)
    return JumpQuality(count, lost[group - 1].mean(), lost.size, np.nan)

"""Linearity read by read, one pixel and one integration at a time."""

import numpy as np
from tests.reference.linearity import NO_LIN_CORR, SATURATED

__all__ = ["correct_linearity_of_reads"]


def usable(coefficients, flag):
    """Coefficients of a pixel, or the identity; and whether they had to be replaced."""
    if flag & NO_LIN_CORR or np.isnan(coefficients).any() or coefficients[1] == 0:
        identity = np.zeros_like(coefficients)
        identity[1] = 1
        return identity, True
    return coefficients, False


def polynomial(coefficients, x):
    """Horner's scheme in the precision of its arguments."""
    value = coefficients[-1] * x
    for coefficient in coefficients[-2:0:-1]:
        value = (value + coefficient) * x
    return value + coefficients[0]


def correct_ramp(ramp, saturated, forward, inverse, nframes):
    """Corrected groups of one ramp."""
    numbers = 1 + np.arange(len(ramp) * nframes, dtype=np.float64).reshape(len(ramp), nframes)
    middles = numbers.mean(axis=1)
    last = max((~saturated).sum() - 1, 2) - 1
    ends = [ramp[g] if saturated[g] else polynomial(forward, ramp[g]) for g in (0, last)]
    rate = np.float64(ends[1] - ends[0]) / (middles[last] - middles[0])
    out = ramp.copy()
    for g in np.flatnonzero(~saturated):
        expected = [polynomial(inverse, np.float64(ends[0]) + rate * (n - middles[0])) for n in numbers[g]]
        offset = np.float64(ramp[g]) - sum(expected) / nframes
        out[g] = sum(polynomial(forward, one + offset) for one in expected) / nframes
    return out


def correct_linearity_of_reads(data, groupdq, pixeldq, coeffs, inverse, lin_dq, nframes):
    """Data and pixel flags."""
    out, pdq = data.copy(), pixeldq | lin_dq
    for y, x in np.ndindex(pdq.shape):
        forward, replaced = usable(coeffs[:, y, x], lin_dq[y, x])
        backward, replaced_too = usable(inverse[:, y, x], lin_dq[y, x])
        if replaced or replaced_too:
            pdq[y, x] |= NO_LIN_CORR
        for i in range(len(data)):
            saturated = (groupdq[i, :, y, x] & SATURATED) != 0
            out[i, :, y, x] = correct_ramp(data[i, :, y, x], saturated, forward, backward, nframes)
    return out, pdq

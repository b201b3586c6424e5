"""A wave that is known at equal steps of its period, as a function of the phase: cubic splines.

The spline goes through the values at phases (m + 1/2) / n, with one value more at each end from the other end of the
period, and has no knot at the second node from either end. It is periodic in its values, not quite in its slopes.

Source: de Boor (1978), "A Practical Guide to Splines", chapter IV, the not-a-knot end condition.
"""

import numpy as np

from upramp.kernels._jit import helper

__all__ = ["fraction", "wave_at", "wave_at_every_value", "wave_table"]

MINIMUM_VALUES = 2


def wave_table(values):
    """Coefficients of the cubic in every step between two nodes.

    Parameters
    ----------
    values : (n,) array
        The wave, n >= 2.

    Returns
    -------
    (4, n + 1) float64
        Powers 0 ... 3 of the distance from the node, in steps.
    """
    y = np.concatenate([values[-1:], values, values[:1]]).astype(np.float64)
    bends = 6 * (y[:-2] - 2 * y[1:-1] + y[2:])  # right-hand sides of the inner nodes
    second = np.zeros(y.size)  # second derivatives
    # The end condition makes the first and the last inner node equations of their own.
    second[1], second[-2] = bends[0] / 6, bends[-1] / 6
    _solve_inner(second, bends)
    second[0], second[-1] = 2 * second[1] - second[2], 2 * second[-2] - second[-3]
    slopes = np.diff(y) - (2 * second[:-1] + second[1:]) / 6
    return np.stack([y[:-1], slopes, second[:-1] / 2, np.diff(second) / 6])


def _solve_inner(second, bends):
    """Second derivatives of nodes 2 ... n - 3 between known ones: M[i-1] + 4 M[i] + M[i+1] = bends[i-1]."""
    first, last = 2, second.size - 3
    factors = np.zeros(second.size)
    rights = np.zeros(second.size)
    rights[1] = second[1]
    for i in range(first, last + 1):
        pivot = 4 + factors[i - 1]
        factors[i] = -1 / pivot
        rights[i] = (bends[i - 1] - rights[i - 1]) / pivot
    for i in range(last, first - 1, -1):
        second[i] = rights[i] + factors[i] * second[i + 1]


@helper
def fraction(x):
    """``x`` modulo 1, in [0, 1]."""
    return x - np.floor(x)


@helper
def wave_at(table, phase):
    """The wave at a phase in [0, 1]."""
    last = np.int32(table.shape[1] - 1)
    x = phase * last + 0.5
    step = min(np.int32(x), last)
    t = x - step
    return ((table[3, step] * t + table[2, step]) * t + table[1, step]) * t + table[0, step]


@helper
def wave_at_every_value(out, table, phase):
    """The wave at ``phase``, ``phase + 1 / n``, ..., all around the period: (n,) float64.

    All these lie at the same distance from a node, so that coefficients are taken in their order.
    """
    n = out.size
    x = fraction(phase) * n
    first = min(int(x), n - 1)
    t = x - first + 0.5
    step = 0
    if t >= 1:
        t -= 1
        step = 1
    for begin, end, moved in ((0, n - first, first), (n - first, n, first - n)):
        target = out[begin:end]
        c0, c1, c2, c3 = table[0], table[1], table[2], table[3]
        at = begin + moved + step
        c0, c1, c2, c3 = c0[at:], c1[at:], c2[at:], c3[at:]
        for b in range(target.size):
            target[b] = ((c3[b] * t + c2[b]) * t + c1[b]) * t + c0[b]

"""Count rates of guide-star exposures, from differences of correlated groups.

Model, for one pixel of one integration, with group time t, gain G and noise R of a difference of two reads:
``rate = d / t`` and ``err^2 = 2 (R / t)^2 + max(d / (G t), 0)``. The difference d is

* acquisition and tracking: second group minus first group;
* fine guiding: mean of the last four groups minus mean of the first four;
* identification: the smaller one of the second-minus-first differences of the first two integrations, which takes out
  cosmic rays; there is one image for both.

Everything is float32 in the order of the formulas. NaN stays NaN; gain 0 gives an infinite or undefined error, a
negative gain none from photons (reference behaviour). Flags play no part.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ParameterError, ShapeError, as_canonical, as_time, check_shape
from upramp.kernels._tiles import run_tile

__all__ = ["FINE_GUIDING", "IDENTIFICATION", "TWO_GROUPS", "GuiderRates", "count_rates_tile", "guider_count_rates"]

TWO_GROUPS, FINE_GUIDING, IDENTIFICATION = range(3)
FINE_GROUPS = 4  # groups that are averaged at either end in fine guiding


class GuiderRates(NamedTuple):
    """Count rate and its error (nimage, ny, nx) float32 [DN/s]."""

    rate: np.ndarray
    err: np.ndarray


@helper
def _add_groups(total, data, i, start, stop, r, left):
    """Mean of groups start ... stop - 1 of a row, in float32."""
    for x in range(total.size):
        total[x] = data[i, start, r, left + x]
    for g in range(start + 1, stop):
        for x in range(total.size):
            total[x] += data[i, g, r, left + x]
    count = np.float32(stop - start)
    for x in range(total.size):
        total[x] /= count


@kernel
def count_rates_tile(rate, err, data, gain, read_noise, mode, group_time, first, last, left, right):
    """Fill rate and err (n, ny, nx) of the region; n is the number of integrations, or 1 for identification."""
    ng, time, two, zero = data.shape[1], np.float32(group_time), np.float32(2), np.float32(0)
    early, late = np.empty(right - left, np.float32), np.empty(right - left, np.float32)
    for r in range(first, last):
        g, n = gain[r, left:right], read_noise[r, left:right]
        for i in range(rate.shape[0]):
            value, error = rate[i, r, left:right], err[i, r, left:right]
            if mode == FINE_GUIDING:
                _add_groups(early, data, i, 0, min(FINE_GROUPS, ng), r, left)
                _add_groups(late, data, i, max(ng - FINE_GROUPS, 0), ng, r, left)
                for x in range(value.size):
                    value[x] = late[x] - early[x]
            else:
                for x in range(value.size):
                    value[x] = data[i, 1, r, left + x] - data[i, 0, r, left + x]
            if mode == IDENTIFICATION:
                for x in range(value.size):
                    early[x] = data[1, 1, r, left + x] - data[1, 0, r, left + x]
                for x in range(value.size):
                    value[x] = np.minimum(early[x], value[x])
            for x in range(value.size):
                noise = n[x] / time
                photons = value[x] / (g[x] * time)
                photons = zero if photons < zero else photons
                error[x] = np.sqrt(two * (noise * noise) + photons)
            for x in range(value.size):
                value[x] /= time


def guider_count_rates(data, gain, read_noise, mode, group_time, threads=None):
    """Calculate the count rates of a guide-star exposure.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw groups [DN]; two of them or more, and two integrations or more for identification.
    gain : (ny, nx) float32
        [e-/DN].
    read_noise : (ny, nx) float32
        Noise of the difference of two reads [DN].
    mode : int
        `TWO_GROUPS`, `FINE_GUIDING` or `IDENTIFICATION`.
    group_time : float
        Time between groups [s].
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    GuiderRates
        New arrays with one image per integration, one altogether for identification.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or there are too few groups or integrations.
    ParameterError
        There is no such mode, or the group time is not positive.

    Notes
    -----
    Source: reference behaviour; the formulas are in the docstring of this module.
    """
    group_time = as_time(group_time, "group_time")
    data = as_canonical(data, "data", np.float32, 4)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    check_shape(gain, "gain", data.shape[-2:])
    check_shape(read_noise, "read_noise", gain.shape)
    if mode not in (TWO_GROUPS, FINE_GUIDING, IDENTIFICATION):
        raise ParameterError(f"mode is {mode!r}; expected TWO_GROUPS, FINE_GUIDING or IDENTIFICATION of {__name__}")
    ni, ng, ny, nx = data.shape
    needed = 1 if mode == FINE_GUIDING else 2
    if ng < needed or (mode == IDENTIFICATION and ni < 2):
        raise ShapeError(
            f"data has {ni} integrations of {ng} groups; a count rate needs {needed} groups"
            + (" and 2 integrations" if mode == IDENTIFICATION else "")
        )
    shape = (1 if mode == IDENTIFICATION else ni, ny, nx)
    rates = GuiderRates(np.empty(shape, np.float32), np.empty(shape, np.float32))
    run_tile(count_rates_tile, *rates, data, gain, read_noise, int(mode), float(group_time), threads=threads)
    return rates

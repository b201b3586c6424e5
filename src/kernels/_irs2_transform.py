"""Discrete Fourier transforms along the 712 slots of an IRS2 line, for many columns at once.

712 = 8 * 89, and for coprime factors the transform is one of length 8 and one of 89 without factors between them, if
slots are taken in the order ``c = (89 a + 8 b) mod 712`` and frequencies k as ``(k mod 8, k mod 89)`` (Good 1958).

89 is prime, and 3 is a primitive root: with ``b = 3^j`` and ``k = 3^p`` modulo 89 the transform becomes

    X[3^p] = x[0] + sum_j x[3^j] h[p + j],      h[m] = w89^(3^m),

a circular correlation of length 88 (Rader 1968). 88 = 8 * 11, so that j -> (j mod 8, j mod 11) makes it one of 8 by 11;
along the 8 it is done by transforms of length 8, along the 11 as it stands: 8 * 11^2 complex products where the
definition has 88^2. All the rest is transforms of length 8, which are sums and hardly any products.
"""

import numpy as np

from upramp.kernels._irs2_layout import SLOTS
from upramp.kernels._jit import helper, kernel

__all__ = [
    "COLUMNS",
    "FREQUENCY_OFFSETS",
    "LANES",
    "ROW",
    "SIZE",
    "SLOT_OFFSETS",
    "transform_slots",
    "transform_tables",
]

COLUMNS = 32  # that are transformed at once
SHORT, LONG, EIGHT, ELEVEN, ROOT = 8, 89, 8, 11, 3
LANES = SHORT * COLUMNS  # of a row: COLUMNS for each of the residues modulo 8
ROW = 2 * LANES  # the real parts of a row, then the imaginary parts
SIZE = LONG * ROW
_STEP = ELEVEN * ROW  # between rows that differ by one in j mod 8
_HALF = np.float32(np.sqrt(0.5))


def _logarithms():
    """j of each residue 3^j modulo 89; of 0: -1."""
    found, power = np.full(LONG, -1), 1
    for j in range(LONG - 1):
        found[power] = j
        power = power * ROOT % LONG
    return found


def _offsets(short, long):
    """Where the real parts of the columns lie in a block, by their residues."""
    j = _logarithms()[long]
    return np.where(j < 0, 0, 1 + j % EIGHT * ELEVEN + j % ELEVEN) * ROW + short * COLUMNS


_INVERSE = pow(SHORT, -1, LONG)
SLOT_OFFSETS = _offsets(np.arange(SLOTS) % SHORT, np.arange(SLOTS) * _INVERSE % LONG)
FREQUENCY_OFFSETS = _offsets(np.arange(SLOTS) % SHORT, np.arange(SLOTS) % LONG)


def transform_tables():
    """Transforms of h along the 8, forwards and backwards, for p + j: (2, 8, real and imaginary, 21) float32."""
    m = np.arange(LONG - 1)
    powers = np.array([pow(ROOT, int(one), LONG) for one in m])
    grid = np.empty((EIGHT, ELEVEN), np.complex128)
    grid[m % EIGHT, m % ELEVEN] = np.exp(-2j * np.pi * powers / LONG)
    both = np.stack([np.fft.fft(one, axis=0) / EIGHT for one in (grid, grid.conj())])
    twice = np.concatenate([both, both[..., :-1]], axis=-1)
    return np.ascontiguousarray(np.stack([twice.real, twice.imag], axis=2).astype(np.float32))


@helper(counted=False)
def _four(ar, ai, br, bi, cr, ci, dr, di, sign):
    """Transform of length 4 of complex numbers, forwards for sign = 1, backwards for -1."""
    er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
    gr, gi, hr, hi = br + dr, bi + di, sign * (bi - di), sign * (dr - br)
    return er + gr, ei + gi, fr + hr, fi + hi, er - gr, ei - gi, fr - hr, fi - hi


@helper
def _eight(out, rows, step, width, sign):
    """Transforms of length 8 over rows that are ``step`` apart."""
    i = LANES
    for x in range(width):
        er0, ei0, er1, ei1, er2, ei2, er3, ei3 = _four(
            rows[x], rows[x + i],
            rows[x + 2 * step], rows[x + 2 * step + i],
            rows[x + 4 * step], rows[x + 4 * step + i],
            rows[x + 6 * step], rows[x + 6 * step + i],
            sign,
        )  # fmt: skip
        or0, oi0, ar, ai, br, bi, cr, ci = _four(
            rows[x + step], rows[x + step + i],
            rows[x + 3 * step], rows[x + 3 * step + i],
            rows[x + 5 * step], rows[x + 5 * step + i],
            rows[x + 7 * step], rows[x + 7 * step + i],
            sign,
        )  # fmt: skip
        or1, oi1 = (ar + sign * ai) * _HALF, (ai - sign * ar) * _HALF
        or2, oi2 = sign * bi, -sign * br
        or3, oi3 = (sign * ci - cr) * _HALF, (-ci - sign * cr) * _HALF
        out[x], out[x + i] = er0 + or0, ei0 + oi0
        out[x + step], out[x + step + i] = er1 + or1, ei1 + oi1
        out[x + 2 * step], out[x + 2 * step + i] = er2 + or2, ei2 + oi2
        out[x + 3 * step], out[x + 3 * step + i] = er3 + or3, ei3 + oi3
        out[x + 4 * step], out[x + 4 * step + i] = er0 - or0, ei0 - oi0
        out[x + 5 * step], out[x + 5 * step + i] = er1 - or1, ei1 - oi1
        out[x + 6 * step], out[x + 6 * step + i] = er2 - or2, ei2 - oi2
        out[x + 7 * step], out[x + 7 * step + i] = er3 - or3, ei3 - oi3


@helper(counted=False)
def _add_product(real, imaginary, weights, m, rows, x):
    """Add a complex product to a sum."""
    wr, wi, re, im = weights[0, m], weights[1, m], rows[x], rows[x + LANES]
    return real + (wr * re - wi * im), imaginary + (wr * im + wi * re)


@helper
def _correlate(out, rows, first, weights, start):
    """Row q of the correlation along the 11, at s: plus ``start`` times the row ``first``.

    Written out: LLVM does not unroll a loop over the 11, and then vectorises nothing.
    """
    for x in range(LANES):
        a, b = start * first[x], start * first[x + LANES]
        a, b = _add_product(a, b, weights, 0, rows, x)
        a, b = _add_product(a, b, weights, 1, rows, x + ROW)
        a, b = _add_product(a, b, weights, 2, rows, x + 2 * ROW)
        a, b = _add_product(a, b, weights, 3, rows, x + 3 * ROW)
        a, b = _add_product(a, b, weights, 4, rows, x + 4 * ROW)
        a, b = _add_product(a, b, weights, 5, rows, x + 5 * ROW)
        a, b = _add_product(a, b, weights, 6, rows, x + 6 * ROW)
        a, b = _add_product(a, b, weights, 7, rows, x + 7 * ROW)
        a, b = _add_product(a, b, weights, 8, rows, x + 8 * ROW)
        a, b = _add_product(a, b, weights, 9, rows, x + 9 * ROW)
        a, b = _add_product(a, b, weights, 10, rows, x + 10 * ROW)
        out[x], out[x + LANES] = a, b


@kernel
def transform_slots(rows, weights, sign, work):
    """Transform a block in place, without normalisation: slots to frequencies for sign = 1, back for sign = -1.

    A block is (SIZE,) float32, and so is ``work``; ``weights`` are those of the direction, from `transform_tables`.
    """
    one = np.float32(1)
    for b in range(ELEVEN):
        _eight(work[ROW + b * ROW :], rows[ROW + b * ROW :], _STEP, LANES, -one)
    for x in range(ROW):
        total = rows[x]
        for b in range(ELEVEN):
            total += work[ROW + b * ROW + x]
        work[x] = total
    for s in range(EIGHT):
        base = ROW + s * _STEP
        for q in range(ELEVEN):
            _correlate(rows[base + q * ROW :], work[base:], rows, weights[s, :, q:], np.float32(s == 0))
    for b in range(ELEVEN):
        _eight(work[ROW + b * ROW :], rows[ROW + b * ROW :], _STEP, LANES, -one)
    for row in range(LONG):
        _eight(rows[row * ROW :], work[row * ROW :], COLUMNS, COLUMNS, sign)

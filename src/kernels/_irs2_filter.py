"""The linear part of the IRS2 correction, in a domain in which it falls apart into small problems.

The samples of one output in the order of time, ``t = 712 line + slot``, are one vector of N = 712 * 2048. The
correction filters such vectors (multiplies their spectra) and in between replaces the samples in some slots. With the
frequency written as ``k = k1 + 2048 k2`` the spectrum of x is a transform along the lines and one along the slots:

    X[k1 + 2048 k2] = sum_c w712^(c k2) { wN^(c k1) sum_l w2048^(l k1) x[l, c] },      wM = exp(-2 pi i / M).

For the quantity in braces, A[c, k1], a filter is a circulant matrix over the 712 slots c for each k1 by itself, and to
replace slots is to replace rows. Nothing couples different k1, and since x is real only k1 = 0 ... 1024 are needed. So
there is one real transform of 2048 lines for each slot that is read and each that is wanted (3272 in all, where whole
vectors would take 15 transforms of N), and between them work on blocks of k1 that stay in the cache.

Transforms along the slots: `upramp.kernels._irs2_transform`.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._irs2_layout import LINES, SCIENCE_SLOTS, SLOTS, SPREAD_SLOTS, SPREAD_SOURCE
from upramp.kernels._irs2_transform import (
    COLUMNS,
    FREQUENCY_OFFSETS,
    LANES,
    ROW,
    SIZE,
    SLOT_OFFSETS,
    transform_slots,
    transform_tables,
)
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._rows import copy_row, fill_row

__all__ = ["FREQUENCIES", "Coefficients", "Filter", "prepare_coefficients"]

LENGTH = SLOTS * LINES
FREQUENCIES = LINES // 2 + 1
BLOCKS = -(-FREQUENCIES // COLUMNS)

# The low-pass filter of the reference output: passed, then falling like a cosine; the same from the top downwards.
TAPER = 110000 // 22
PASSED = SLOTS // 22 * LINES // 2 - TAPER // 2
ITERATIONS = 3

_SCIENCE, _SPREAD = SLOT_OFFSETS[SCIENCE_SLOTS], SLOT_OFFSETS[SPREAD_SLOTS]
_EVERY_SLOT = np.arange(SLOTS)


class Coefficients(NamedTuple):
    """Filters that turn reference signals into corrections: (blocks of frequencies, 4 sectors, SIZE) float32.

    ``output`` for the reference output, ``pixels`` for the reference pixels.
    """

    output: np.ndarray
    pixels: np.ndarray


class _Tables(NamedTuple):
    """What depends on the readout alone."""

    twiddle: np.ndarray  # (blocks, 712, real and imaginary, COLUMNS) float32: wN^(c k1)
    gain: np.ndarray  # (blocks, SIZE) float32: the low-pass filter
    weights: np.ndarray  # of the transforms forwards and backwards


def _gap_filter():
    """Gain of the low-pass filter for every k: (N,) float64."""
    taper = (np.cos(np.arange(TAPER) * np.pi / TAPER) + 1) / 2
    blocked = np.zeros(LENGTH // 2 - 2 * (PASSED + TAPER))
    half = np.concatenate([np.ones(PASSED), taper, blocked, taper[::-1], np.ones(PASSED)])
    return np.concatenate([half, np.roll(half, -1)[::-1]])


def _make_tables():
    k1 = np.arange(BLOCKS * COLUMNS).reshape(BLOCKS, 1, COLUMNS)
    turns = np.exp(-2j * np.pi * (np.arange(SLOTS)[:, None] * k1) / LENGTH)
    twiddle = np.stack([turns.real, turns.imag], axis=2).astype(np.float32)
    gain = np.zeros((BLOCKS, SIZE), np.float32)
    by_block = _gap_filter().reshape(SLOTS, LINES)[:, : BLOCKS * COLUMNS].reshape(SLOTS, BLOCKS, COLUMNS) / SLOTS
    for part in (0, LANES):
        gain[:, FREQUENCY_OFFSETS[:, None] + np.arange(part, part + COLUMNS)] = by_block.swapaxes(0, 1)
    return _Tables(twiddle, gain, transform_tables())


_tables = None


def _get_tables():
    global _tables
    if _tables is None:
        _tables = _make_tables()
    return _tables


@helper
def _swap(word):
    return np.uint32(
        (word >> np.uint32(24))
        | ((word >> np.uint32(8)) & np.uint32(0xFF00))
        | ((word << np.uint32(8)) & np.uint32(0xFF0000))
        | (word << np.uint32(24))
    )


@kernel
def _prepare_rows(first, last, output, pixels, table, swapped, offsets):
    """Hermitian part of the coefficients of the frequencies k2 in first ... last - 1, over the length of a line."""
    scale = np.float32(0.5 / SLOTS)
    words = np.empty((2, 2, 8), np.uint32)
    values = words.view(np.float32)
    for k2 in range(first, last):
        for k1 in range(FREQUENCIES):
            k = k1 + LINES * k2
            mirror = (LENGTH - k) % LENGTH
            for part in range(2):
                for column in range(8):
                    word, other = table[k, part, column], table[mirror, part, column]
                    words[0, part, column] = _swap(word) if swapped else word
                    words[1, part, column] = _swap(other) if swapped else other
            place = offsets[k2] + k1 % COLUMNS
            for column in range(8):
                real = values[0, 0, column] + values[1, 0, column]
                imaginary = values[0, 1, column] - values[1, 1, column]
                target = output if column < 4 else pixels
                target[k1 // COLUMNS, column % 4, place] = real * scale
                target[k1 // COLUMNS, column % 4, place + LANES] = imaginary * scale


def prepare_coefficients(table, threads=None):
    """Coefficients of the correction from the columns of a reference.

    Parameters
    ----------
    table : (1458176, 2, 8) float32
        In either byte order. Real and imaginary parts of alpha of the sectors 1 to 4 (for the reference output), then
        of beta (for the reference pixels), by frequency.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    Coefficients
        Only the real part of a filtered signal counts, which is what the Hermitian part of the filter gives.
    """
    output, pixels = np.zeros((2, BLOCKS, 4, SIZE), np.float32)
    bits = np.require(table.view(np.uint32), requirements="CW")
    run_rows(_prepare_rows, SLOTS, output, pixels, bits, not table.dtype.isnative, FREQUENCY_OFFSETS, threads=threads)
    return Coefficients(output, pixels)


@helper
def _load_row(row, spectrum, twiddle):
    """A slot of a spectrum, times its factors."""
    for x in range(spectrum.size):
        value, wr, wi = spectrum[x], twiddle[0, x], twiddle[1, x]
        row[x] = value.real * wr - value.imag * wi
        row[LANES + x] = value.real * wi + value.imag * wr


@helper
def _load(rows, offsets, spectra, sources, twiddle, slots, start, stop):
    """Rows ``sources`` of the spectra, times the factors of their ``slots``, into a block."""
    for i in range(slots.size):
        _load_row(rows[offsets[i] :], spectra[sources[i], start:stop], twiddle[slots[i]])


@helper
def _store_row(target, row, twiddle):
    """A slot of a block, without its factors."""
    for x in range(target.size):
        wr, wi, re, im = twiddle[0, x], twiddle[1, x], row[x], row[LANES + x]
        target[x] = complex(re * wr + im * wi, im * wr - re * wi)


@helper
def _store(result, rows, offsets, twiddle, slots, start, stop):
    """Rows of a block, without the factors of their slots, into the result of a sector."""
    for i in range(slots.size):
        _store_row(result[i, start:stop], rows[offsets[i] :], twiddle[slots[i]])


@helper
def _filter_row(out, pixels, pixel_coefficients, output, output_coefficients):
    i = LANES
    for x in range(LANES):
        pr, pi, ar, ai = pixels[x], pixels[x + i], pixel_coefficients[x], pixel_coefficients[x + i]
        qr, qi, br, bi = output[x], output[x + i], output_coefficients[x], output_coefficients[x + i]
        out[x] = (pr * ar - pi * ai) + (qr * br - qi * bi)
        out[x + i] = (pr * ai + pi * ar) + (qr * bi + qi * br)


@helper
def _fill_gaps(rows, given, gain, weights, work):
    """Fill the gaps of the reference output by the low-pass filter, iteratively; leaves its spectrum."""
    copy_row(given, rows)
    transform_slots(rows, weights[0], np.float32(1), work)
    for _ in range(ITERATIONS):
        for x in range(SIZE):
            rows[x] *= gain[x]
        transform_slots(rows, weights[1], np.float32(-1), work)
        for offset in _SCIENCE:
            for first in (offset, offset + LANES):
                copy_row(rows[first : first + COLUMNS], given[first:])
        transform_slots(rows, weights[0], np.float32(1), work)


@kernel
def _filter_frame(result, output, pixels, filters, tables, scratch):
    """Correction of a frame, as `Filter`."""
    twiddles, gain, weights = tables
    alpha, beta = filters
    rows, work, spectrum = scratch
    for block in range(BLOCKS):
        start, twiddle = block * COLUMNS, twiddles[block]
        stop = min(start + COLUMNS, FREQUENCIES)
        _load(spectrum, SLOT_OFFSETS, output, _EVERY_SLOT, twiddle, _EVERY_SLOT, start, stop)
        _fill_gaps(spectrum, rows, gain[block], weights, work)
        for sector in range(4):
            fill_row(rows, np.float32(0))
            _load(rows, _SPREAD, pixels[sector], SPREAD_SOURCE, twiddle, SPREAD_SLOTS, start, stop)
            transform_slots(rows, weights[0], np.float32(1), work)
            a, b = alpha[block, sector], beta[block, sector]
            for x in range(0, SIZE, ROW):
                _filter_row(work[x:], rows[x:], b[x:], spectrum[x:], a[x:])
            transform_slots(work, weights[1], np.float32(-1), rows)
            _store(result[sector], work, _SCIENCE, twiddle, SCIENCE_SLOTS, start, stop)


class Filter:
    """Filters the reference signals of one frame after the other; keeps its scratch.

    Parameters
    ----------
    coefficients : Coefficients
    """

    def __init__(self, coefficients):
        self._coefficients = coefficients
        self._scratch = tuple(np.zeros((3, SIZE), np.float32))
        self._result = np.empty((4, len(SCIENCE_SLOTS), FREQUENCIES), np.complex64)

    def __call__(self, output, pixels):
        """Filter the reference signals of a frame.

        Parameters
        ----------
        output : (712, 1025) complex64
            Transforms along the lines of the reference output, by slot.
        pixels : (4, 128, 1025) complex64
            The same of the reference pixels of each sector.

        Returns
        -------
        (4, 512, 1025) complex64
            Transforms along the lines of what is to be subtracted from the science pixels of each sector; valid until
            the next call.
        """
        _filter_frame(self._result, output, pixels, self._coefficients, _get_tables(), self._scratch)
        return self._result

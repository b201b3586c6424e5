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

import functools
from typing import NamedTuple

import numpy as np

from upramp.kernels._bits import array_at, as_bits
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
from upramp.kernels._layout import ShapeError
from upramp.kernels._pages import own_pages
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


class _Tables(NamedTuple):
    """What depends on the readout alone."""

    twiddle: np.ndarray  # (blocks, 712, real and imaginary, COLUMNS) float32: wN^(c k1)
    gain: np.ndarray  # (blocks, SIZE) float32: the low-pass filter
    weights: np.ndarray  # of the transforms forwards and backwards


class Coefficients(NamedTuple):
    """Filters that turn reference signals into corrections: (blocks of frequencies, 4 sectors, SIZE) float32.

    ``output`` for the reference output, ``pixels`` for the reference pixels; and the tables of the transforms.
    """

    output: np.ndarray
    pixels: np.ndarray
    tables: _Tables


def _gap_filter(k):
    """Gain of the low-pass filter for frequencies k: 1, then falling, and the same from each end of both halves."""
    passed = np.concatenate([np.ones(PASSED), (np.cos(np.arange(TAPER) * np.pi / TAPER) + 1) / 2, [0]])
    half = LENGTH // 2
    from_start = np.where(k < half, k, (LENGTH - k) % half)
    from_end = np.minimum(from_start, half - 1 - from_start)
    return passed[np.minimum(from_end, passed.size - 1)]


@functools.lru_cache(maxsize=1)
def _make_tables(threads):
    """Made a block at a time, for the sake of memory."""
    twiddle = np.empty((BLOCKS, SLOTS, 2, COLUMNS), np.float32)
    gain = np.zeros((BLOCKS, SIZE), np.float32)
    slots = np.arange(SLOTS)[:, None]

    def make_block(block, _):
        k1 = COLUMNS * block + np.arange(COLUMNS)
        turns = np.exp(-2j * np.pi * (slots * k1) / LENGTH)
        twiddle[block, :, 0], twiddle[block, :, 1] = turns.real, turns.imag
        filtered = _gap_filter(k1 + LINES * slots) / SLOTS
        for part in (0, LANES):
            gain[block, FREQUENCY_OFFSETS[:, None] + np.arange(part, part + COLUMNS)] = filtered

    run_rows(make_block, BLOCKS, threads=threads, block=1)
    return _Tables(twiddle, gain, transform_tables())


@helper
def _swap(word):
    return np.uint32(
        (word >> np.uint32(24))
        | ((word >> np.uint32(8)) & np.uint32(0xFF00))
        | ((word << np.uint32(8)) & np.uint32(0xFF0000))
        | (word << np.uint32(24))
    )


@kernel
def _prepare_rows(first, last, output, pixels, source, offsets):
    """Hermitian part of the coefficients of the frequencies k2 in first ... last - 1, over the length of a line."""
    table = array_at(source.address, (LENGTH, 2, 8), np.uint32)
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
                    words[0, part, column] = _swap(word) if source.swapped else word
                    words[1, part, column] = _swap(other) if source.swapped else other
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
    table : (2 * 1458176, 8) or (1458176, 2, 8) float32
        In either byte order, or mapped. Rows are real and imaginary parts in turn, by frequency; columns alpha of the
        sectors 1 to 4 (for the reference output), then beta (for the reference pixels).
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    Coefficients
        Only the real part of a filtered signal counts, which is what the Hermitian part of the filter gives.

    Raises
    ------
    ShapeError, DTypeError
        The table is not one of so many float32 numbers.
    """
    output, pixels = own_pages((2, BLOCKS, 4, SIZE), np.float32)
    source = as_bits(table, np.float32)
    if source.bits.size != 16 * LENGTH:
        raise ShapeError(f"the table of coefficients holds {source.bits.size} numbers; expected {16 * LENGTH}")
    run_rows(_prepare_rows, SLOTS, output, pixels, source.record(), FREQUENCY_OFFSETS, threads=threads)
    return Coefficients(output, pixels, _make_tables(threads))


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
def _load_output(spectrum, lines, slots, twiddles):
    """Transforms along the lines of some slots of the reference output, times their factors, into all blocks."""
    for block in range(BLOCKS):
        start = block * COLUMNS
        stop = min(start + COLUMNS, FREQUENCIES)
        for i in range(slots.size):
            _load_row(spectrum[block, SLOT_OFFSETS[slots[i]] :], lines[i, start:stop], twiddles[block, slots[i]])


@kernel
def _fill_output(spectrum, tables, scratch):
    """Fill the gaps of the reference output in all blocks."""
    rows, work = scratch
    for block in range(BLOCKS):
        _fill_gaps(spectrum[block], rows, tables.gain[block], tables.weights, work)


@kernel
def _filter_sector(result, pixels, spectrum, sector, coefficients, scratch):
    """Correction of a sector, as `Filter.correction`."""
    alpha, beta, tables = coefficients
    rows, work = scratch
    for block in range(BLOCKS):
        start, twiddle = block * COLUMNS, tables.twiddle[block]
        stop = min(start + COLUMNS, FREQUENCIES)
        output, a, b = spectrum[block], alpha[block, sector], beta[block, sector]
        fill_row(rows, np.float32(0))
        _load(rows, _SPREAD, pixels, SPREAD_SOURCE, twiddle, SPREAD_SLOTS, start, stop)
        transform_slots(rows, tables.weights[0], np.float32(1), work)
        for x in range(0, SIZE, ROW):
            _filter_row(work[x:], rows[x:], b[x:], output[x:], a[x:])
        transform_slots(work, tables.weights[1], np.float32(-1), rows)
        _store(result, work, _SCIENCE, twiddle, SCIENCE_SLOTS, start, stop)


class Filter:
    """Filters the reference signals of one frame after the other; keeps its scratch.

    Of each frame it takes the reference output, some slots at a time, and then the reference pixels of a sector, for
    which it gives the correction.

    Parameters
    ----------
    coefficients : Coefficients
    """

    def __init__(self, coefficients):
        self._coefficients = coefficients
        self._spectrum = own_pages((BLOCKS, SIZE), np.float32)
        self._scratch = tuple(np.zeros((2, SIZE), np.float32))
        self._result = own_pages((len(SCIENCE_SLOTS), FREQUENCIES), np.complex64)

    def load_output(self, samples, slots):
        """Take samples (n, 2048) float32 of the reference output in n slots."""
        _load_output(self._spectrum, _along_lines(samples), slots, self._coefficients.tables.twiddle)

    def fill_output(self):
        """Fill the gaps of the reference output, when all its slots are there."""
        _fill_output(self._spectrum, self._coefficients.tables, self._scratch)

    def correction(self, sector, pixels):
        """Filter the reference signals of a sector.

        Parameters
        ----------
        sector : int
            0 to 3.
        pixels : (128, 2048) float32
            Samples of its reference pixels.

        Returns
        -------
        (512, 1025) complex64
            Transforms along the lines of what is to be subtracted from the science pixels of the sector; valid until
            the next call.
        """
        lines, scratch = _along_lines(pixels), self._scratch
        _filter_sector(self._result, lines, self._spectrum, sector, self._coefficients, scratch)
        return self._result


def _along_lines(rows):
    return np.fft.rfft(rows).astype(np.complex64, copy=False)

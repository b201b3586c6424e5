"""The linear part of the IRS2 correction, in a domain in which it falls apart into small problems.

The samples of one output in the order of time, ``t = 712 line + slot``, are one vector of N = 712 * 2048. The
correction filters such vectors (multiplies their spectra) and in between replaces the samples in some slots. With the
frequency written as ``k = k1 + 2048 k2`` the spectrum of x is a transform along the lines and one along the slots:

    X[k1 + 2048 k2] = sum_c w712^(c k2) { wN^(c k1) sum_l w2048^(l k1) x[l, c] },      wM = exp(-2 pi i / M).

For the quantity in braces, A[c, k1], a filter is a circulant matrix over the 712 slots c for each k1 by itself, and to
replace slots is to replace rows. Nothing couples different k1, and since x is real only k1 = 0 ... 1024 are needed. So
there is one real transform of 2048 lines for each slot that is read and each that is wanted (3272 in all, where whole
vectors would take 15 transforms of N), and between them work on blocks of k1 that stay in the cache.

Transforms along the slots: 712 = 8 * 89, and for coprime factors the transform is one of length 8 and one of 89 without
factors between them, if slots are taken in the order ``c = (89 a + 8 b) mod 712`` and frequencies as
``(k2 mod 8, k2 mod 89)``. Both are done as sums of cosines over the even part and of sines over the odd part.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._irs2_layout import GAP_SLOTS, LINES, SCIENCE_SLOTS, SLOTS, SPREAD_SLOTS, SPREAD_SOURCE
from upramp.kernels._jit import helper, kernel, run_rows

__all__ = ["FREQUENCIES", "Coefficients", "correction_spectra", "prepare_coefficients"]

LENGTH = SLOTS * LINES
FREQUENCIES = LINES // 2 + 1
SHORT, LONG = 8, 89
BLOCK = 32  # values of k1 in a block; a row of a block holds their real parts, then their imaginary parts
BLOCKS = -(-FREQUENCIES // BLOCK)

# The low-pass filter of the reference output: passed, then falling like a cosine; the same from the top downwards.
TAPER = 110000 // 22
PASSED = SLOTS // 22 * LINES // 2 - TAPER // 2
ITERATIONS = 3

# Place of slot c, and of frequency k2, among the 8 * 89 rows of a block.
SLOT_PLACE = np.argsort((LONG * np.arange(SHORT)[:, None] + SHORT * np.arange(LONG)).ravel() % SLOTS)
FREQUENCY_PLACE = (np.arange(SLOTS) % SHORT) * LONG + np.arange(SLOTS) % LONG
_GAP_PLACES, _SCIENCE_PLACES = SLOT_PLACE[GAP_SLOTS], SLOT_PLACE[SCIENCE_SLOTS]
_SPREAD_PLACES, _EVERY_SLOT = SLOT_PLACE[SPREAD_SLOTS], np.arange(SLOTS)


class Coefficients(NamedTuple):
    """Filters that turn reference signals into corrections: (blocks, 4 sectors, 712 places of k2, 2 * BLOCK) float32.

    ``output`` for the reference output, ``pixels`` for the reference pixels.
    """

    output: np.ndarray
    pixels: np.ndarray


class _Tables(NamedTuple):
    """What depends on the readout alone."""

    twiddle: np.ndarray  # (712, 1025) complex64: wN^(c k1)
    gain: np.ndarray  # (blocks, 712 places, BLOCK) float32: the low-pass filter
    waves: tuple  # cosines and sines of the transforms of length 8, then 89


def _waves(n):
    """Cosines (q, 0 ... n // 2) and sines, with one more q than the n // 2 + 1 there are if that is odd."""
    half = n // 2
    q = np.minimum(np.arange(half + 1 + (half + 1) % 2), half)
    angle = 2 * np.pi * (np.outer(q, np.arange(half + 1)) % n) / n
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _gap_filter():
    """Gain of the low-pass filter for every k: (N,) float64."""
    taper = (np.cos(np.arange(TAPER) * np.pi / TAPER) + 1) / 2
    blocked = np.zeros(LENGTH // 2 - 2 * (PASSED + TAPER))
    half = np.concatenate([np.ones(PASSED), taper, blocked, taper[::-1], np.ones(PASSED)])
    return np.concatenate([half, np.roll(half, -1)[::-1]])


def _make_tables():
    phase = np.outer(np.arange(SLOTS), np.arange(FREQUENCIES)) / LENGTH
    gain = np.zeros((SLOTS, BLOCKS * BLOCK), np.float32)
    gain[FREQUENCY_PLACE, :FREQUENCIES] = _gap_filter().reshape(SLOTS, LINES)[:, :FREQUENCIES] / SLOTS
    gain = np.ascontiguousarray(gain.reshape(SLOTS, BLOCKS, BLOCK).swapaxes(0, 1))
    return _Tables(np.exp(-2j * np.pi * phase).astype(np.complex64), gain, (*_waves(SHORT), *_waves(LONG)))


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
def _prepare_rows(first, last, output, pixels, table, swapped, places):
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
            lane = k1 % BLOCK
            for column in range(8):
                real = values[0, 0, column] + values[1, 0, column]
                imaginary = values[0, 1, column] - values[1, 1, column]
                target = output if column < 4 else pixels
                target[k1 // BLOCK, column % 4, places[k2], lane] = real * scale
                target[k1 // BLOCK, column % 4, places[k2], BLOCK + lane] = imaginary * scale


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
    output, pixels = np.zeros((2, BLOCKS, 4, SLOTS, 2 * BLOCK), np.float32)
    bits = np.require(table.view(np.uint32), requirements="CW")
    run_rows(_prepare_rows, SLOTS, output, pixels, bits, not table.dtype.isnative, FREQUENCY_PLACE, threads=threads)
    return Coefficients(output, pixels)


@helper
def _split(even, odd, rows, base, n):
    """Even and odd part of n rows about the first one."""
    half = n // 2
    for x in range(rows.shape[1]):
        even[0, x] = rows[base, x]
    for b in range(1, half + 1):
        one, other = base + b, base + n - b
        factor = np.float32(0.5 if 2 * b == n else 1.0)
        for x in range(rows.shape[1]):
            even[b, x] = (rows[one, x] + rows[other, x]) * factor
            odd[b, x] = rows[one, x] - rows[other, x]


@helper
def _correlate(sums, s, parts, waves, q, half):
    """Add the rows 1 ... half of ``parts``, times the waves q and q + 1, to the sums s and s + 1.

    Whole arrays and indices instead of rows: making a row an array costs more than the sum over it.
    """
    for b in range(1, half + 1, 4):
        p0, p1, p2, p3 = waves[q, b], waves[q, b + 1], waves[q, b + 2], waves[q, b + 3]
        q0, q1, q2, q3 = waves[q + 1, b], waves[q + 1, b + 1], waves[q + 1, b + 2], waves[q + 1, b + 3]
        for x in range(parts.shape[1]):
            one, two = parts[b, x], parts[b + 1, x]
            three, four = parts[b + 2, x], parts[b + 3, x]
            sums[s, x] += (p0 * one + p1 * two) + (p2 * three + p3 * four)
            sums[s + 1, x] += (q0 * one + q1 * two) + (q2 * three + q3 * four)


@helper
def _combine(rows, row, mirrored, sums, cosine, sine, sign):
    """Rows q and n - q of a transform; ``sign`` is 1 forwards and -1 backwards."""
    n = BLOCK
    for start in range(0, rows.shape[1], 2 * n):
        for x in range(start, start + n):
            rows[row, x] = sums[cosine, x] + sign * sums[sine, n + x]
            rows[row, n + x] = sums[cosine, n + x] - sign * sums[sine, x]
        for x in range(start, start + n):
            rows[mirrored, x] = sums[cosine, x] - sign * sums[sine, n + x]
            rows[mirrored, n + x] = sums[cosine, n + x] + sign * sums[sine, x]


@helper
def _transform_rows(rows, base, n, cosines, sines, sign, even, odd, sums):
    """Transform of length n over the rows from ``base`` on, in place; without normalisation."""
    half = n // 2
    _split(even, odd, rows, base, n)
    for q in range(0, cosines.shape[0], 2):
        for x in range(rows.shape[1]):
            sums[0, x] = even[0, x]
            sums[1, x] = even[0, x]
            sums[2, x] = np.float32(0)
            sums[3, x] = np.float32(0)
        _correlate(sums, 0, even, cosines, q, half)
        _correlate(sums, 2, odd, sines, q, half)
        # Where a row is its own mirror image (q = 0, n / 2) the sum of sines is 0.
        _combine(rows, base + q, base + (n - q) % n, sums, 0, 2, sign)
        if q + 1 <= half:
            _combine(rows, base + q + 1, base + n - q - 1, sums, 1, 3, sign)


@kernel
def _transform(rows, waves, sign, scratch):
    """Transform along the slots of a block, in place."""
    even, odd, sums, wide_even, wide_odd, wide_sums = scratch
    for a in range(SHORT):
        _transform_rows(rows, a * LONG, LONG, waves[2], waves[3], sign, even, odd, sums)
    wide = rows.reshape((SHORT, LONG * rows.shape[1]))
    _transform_rows(wide, 0, SHORT, waves[0], waves[1], sign, wide_even, wide_odd, wide_sums)


@kernel
def _load(rows, places, spectra, sources, twiddle, slots, start, stop):
    """Rows ``sources`` of the spectra, times the factors of their ``slots``, into the places of a block."""
    n = rows.shape[1] // 2
    for i in range(slots.size):
        row, spectrum, factors = rows[places[i]], spectra[sources[i], start:stop], twiddle[slots[i], start:stop]
        for x in range(spectrum.size):
            value = spectrum[x] * factors[x]
            row[x] = value.real
            row[n + x] = value.imag


@kernel
def _store(result, rows, places, twiddle, slots, start, stop):
    """Rows of a block, without the factors of their slots, into the result of a sector."""
    n = rows.shape[1] // 2
    for i in range(slots.size):
        row, target, factors = rows[places[i]], result[i, start:stop], twiddle[slots[i], start:stop]
        for x in range(target.size):
            target[x] = np.complex64(complex(row[x], row[n + x])) * np.conj(factors[x])


@kernel
def _apply_filters(rows, pixels, output, pixel_coefficients, output_coefficients):
    """Spectrum of a correction from those of the reference pixels and of the reference output."""
    n = rows.shape[1] // 2
    for k in range(rows.shape[0]):
        for x in range(n):
            rows[k, x] = (pixels[k, x] * pixel_coefficients[k, x] - pixels[k, n + x] * pixel_coefficients[k, n + x]) + (
                output[k, x] * output_coefficients[k, x] - output[k, n + x] * output_coefficients[k, n + x]
            )
        for x in range(n):
            rows[k, n + x] = (
                pixels[k, x] * pixel_coefficients[k, n + x] + pixels[k, n + x] * pixel_coefficients[k, x]
            ) + (output[k, x] * output_coefficients[k, n + x] + output[k, n + x] * output_coefficients[k, x])


@kernel
def _pass_low(rows, gain):
    """Times the gain of the low-pass filter."""
    n = rows.shape[1] // 2
    for k in range(rows.shape[0]):
        for x in range(n):
            rows[k, x] *= gain[k, x]
            rows[k, n + x] *= gain[k, x]


def correction_spectra(output, pixels, coefficients):
    """Filter the reference signals of one frame.

    Parameters
    ----------
    output : (712, 1025) complex64
        Transforms along the lines of the reference output, by slot.
    pixels : (4, 128, 1025) complex64
        The same of the reference pixels of each sector.
    coefficients : Coefficients

    Returns
    -------
    (4, 512, 1025) complex64
        Transforms along the lines of what is to be subtracted from the science pixels of each sector.
    """
    tables = _get_tables()
    result = np.empty((4, len(SCIENCE_SLOTS), FREQUENCIES), np.complex64)
    block = _Block(tables)
    for number, start in enumerate(range(0, FREQUENCIES, BLOCK)):
        stop = min(start + BLOCK, FREQUENCIES)
        block.load_output(output, start, stop)
        block.fill_gaps(tables.gain[number])
        for sector in range(4):
            block.load_pixels(pixels[sector], start, stop)
            block.filter(coefficients.pixels[number, sector], coefficients.output[number, sector])
            _store(result[sector], block.work, _SCIENCE_PLACES, tables.twiddle, SCIENCE_SLOTS, start, stop)
    return result


class _Block:
    """Scratch of one block: (712, 2 * BLOCK) float32 arrays of slots or, transformed, of frequencies."""

    def __init__(self, tables):
        shape = (SLOTS, 2 * BLOCK)
        self.tables = tables
        self.output, self.work, self.fixed = (np.zeros(shape, np.float32) for _ in range(3))
        sizes = [(n // 2 + 1, width) for n, width in ((LONG, 2 * BLOCK), (SHORT, LONG * 2 * BLOCK))]
        self.scratch = tuple(np.zeros((n, width), np.float32) for height, width in sizes for n in (height, height, 4))

    def transform(self, rows, sign=1):
        """Forwards (1) or backwards (-1), in place."""
        _transform(rows, self.tables.waves, np.float32(sign), self.scratch)

    def load_output(self, output, start, stop):
        """Slots of the reference output."""
        _load(self.output, SLOT_PLACE, output, _EVERY_SLOT, self.tables.twiddle, _EVERY_SLOT, start, stop)

    def fill_gaps(self, gain):
        """Fill the gaps of the reference output by the low-pass filter, iteratively; leaves its spectrum."""
        np.copyto(self.fixed, self.output)
        self.transform(self.output)
        for _ in range(ITERATIONS):
            _pass_low(self.output, gain)
            self.transform(self.output, -1)
            self.output[_SCIENCE_PLACES] = self.fixed[_SCIENCE_PLACES]
            self.transform(self.output)

    def load_pixels(self, pixels, start, stop):
        """Spectrum of the reference pixels of a sector."""
        self.work[:] = 0
        twiddle = self.tables.twiddle
        _load(self.work, _SPREAD_PLACES, pixels, SPREAD_SOURCE, twiddle, SPREAD_SLOTS, start, stop)
        self.transform(self.work)

    def filter(self, pixel_coefficients, output_coefficients):
        """From the spectra of the reference signals to the slots of the correction, in ``work``."""
        _apply_filters(self.fixed, self.work, self.output, pixel_coefficients, output_coefficients)
        self.work, self.fixed = self.fixed, self.work
        self.transform(self.work, -1)

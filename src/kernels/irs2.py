"""Subtract correlated noise with the reference pixels of an IRS2 readout (NIRSpec).

IRS2 reads reference pixels between the science pixels of every line, and a reference output beside the amplifiers
(layout: `upramp.kernels._irs2_layout`). Both follow the noise of the electronics on all time scales; how each
amplifier follows them was measured, and is a reference: two complex coefficients for every frequency and amplifier.

For every integration by itself, data [DN] after the superbias:

1. Reads of bad reference pixels are replaced by their neighbours (`plan_replacements`).
   On request the offset of every sector is subtracted before (`upramp.kernels._irs2_means`).
2. The mean over the groups is taken from every pixel and put back in the end (zeros that this leaves count as "no
   sample" in what follows).
3. A straight line in time, fitted to the samples of the first and last four lines, is subtracted from each sector of
   each group.
4. Gaps in time of the reference output (jumps, ends of lines, no sample) are filled: first by a mean weighted with
   half a sine wave of 31 slots, then all slots that are not science pixels by a low-pass filter, iterated three times.
5. The reference pixels of each amplifier, spread to the eight slots around them, and the reference output are filtered
   with the coefficients; their sum is subtracted from the science pixels (`upramp.kernels._irs2_filter`).

What comes out are the science pixels alone: 2048 of the 3200 rows.

Source: Rauscher et al. (2017), PASP 129, 105003, and reference behaviour (three iterations, the weights, the
replacement of bad pixels). Differs from it: only what a real signal needs is transformed, and sums are float64.
A NaN sample makes its group, or with it the whole integration, NaN.
"""

import numpy as np

from upramp.kernels._flags import BAD_REF_PIXEL, DO_NOT_USE
from upramp.kernels._irs2_filter import Filter, prepare_coefficients
from upramp.kernels._irs2_layout import (
    DETECTORS,
    EDGE_LINES,
    LINES,
    PAIR_STARTS,
    PERIOD,
    REFERENCE_POSITIONS,
    REFERENCE_SLOTS,
    ROWS,
    SCIENCE_POSITIONS,
    SCIENCE_SLOTS,
    SECTOR,
    SECTORS,
    SLOTS,
    science_rows,
    sector_rows,
)
from upramp.kernels._irs2_means import level, sector_offsets
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ParameterError, ShapeError, as_canonical, check_shape
from upramp.kernels._pages import own_pages
from upramp.kernels._rows import copy_row, fill_row

__all__ = [
    "correct_integration",
    "correct_interleaved",
    "find_bad_reference_rows",
    "plan_replacements",
    "prepare_coefficients",
]

_CENTRE = np.float32((SLOTS * LINES - 1) / 2)
_REACH = 15
_LOADED = 64  # rows that are loaded or transformed at once: they stay in the cache
_MEASURED = 8  # pairs of reads of all groups that are measured at once
_TRANSFORMED_SLOTS = 89  # of the reference output at once
_WEIGHTS = np.sin(np.pi * np.arange(1, 2 * _REACH + 2, dtype=np.float32) / np.float32(2 * _REACH + 2))

# Slot of every position of a sector in the order of reading.
_POSITION_SLOTS = np.empty(SECTOR, np.int64)
_POSITION_SLOTS[SCIENCE_POSITIONS], _POSITION_SLOTS[REFERENCE_POSITIONS] = SCIENCE_SLOTS, REFERENCE_SLOTS
_READ_SLOT = np.zeros(SLOTS, np.bool_)
_READ_SLOT[_POSITION_SLOTS] = True
_REFERENCES = np.arange(REFERENCE_POSITIONS.size)


def _clipped_moments(values, n_sigma, max_iterations=5):
    """Mean and standard deviation after clipping about the median."""
    values = np.asarray(values, np.float64)
    for _ in range(max_iterations):
        centre, width = np.median(values), n_sigma * values.std()
        kept = values[np.abs(values - centre) <= width]
        if kept.size == values.size:
            break
        values = kept
    return values.mean(), values.std()


def find_bad_reference_rows(read, nint, known_bad, n_sigma=3.0, threads=None, after_integration=None):
    """Find reference pixels that differ from the others of their sector.

    Parameters
    ----------
    read : callable
        ``read(integration, rows)`` gives (ngroup, len(rows), 2048) float32, superbias-subtracted counts [DN].
    nint : int
        Number of integrations; what is bad in one is bad in all.
    known_bad : (3200,) bool
        Image rows that are known to be bad; they are left out of the statistics.
    n_sigma : float
        Limit [standard deviations, of the statistic over the pixels of a sector].
    threads : int or None
    after_integration : callable, optional
        Called with the index of every integration that has been read (release of pages).

    Returns
    -------
    (3200,) bool
        ``known_bad`` and both reads of each pixel whose mean, scatter or difference between its two reads is too high.
    """
    bad = known_bad.copy()
    starts = (SECTOR * np.arange(SECTORS)[:, None] + PAIR_STARTS).ravel()
    for i in range(nint):
        statistics = np.empty((starts.size, 3), np.float32)

        def measure(first, last, i=i, statistics=statistics):
            rows = np.stack([starts[first:last], starts[first:last] + 1], axis=1)
            samples = np.ascontiguousarray(read(i, rows.ravel())).reshape(-1, last - first, 2, LINES)
            for n in range(last - first):
                pair = samples[:, n]
                statistics[first + n] = np.abs(pair[:, 1] - pair[:, 0]).mean(), pair.mean(), pair.std()

        run_rows(measure, starts.size, threads=threads, block=_MEASURED)
        if after_integration is not None:
            after_integration(i)
        by_sector = zip(statistics.reshape(SECTORS, -1, 3), starts.reshape(SECTORS, -1), strict=True)
        for values, first_rows in by_sector:
            good = ~(known_bad[first_rows] | known_bad[first_rows + 1])
            if not good.any():
                continue
            for column in values[good].T:
                mean, std = _clipped_moments(column, n_sigma)
                high = first_rows[good][column - mean > n_sigma * std]
                bad[high] = bad[high + 1] = True
    return bad


def _substitutes(place, bad, is_reference, low, high):
    """Places whose mean replaces a bad one: the same read one period before and after, else the other pixel's."""
    found = [p for p in (place - PERIOD, place + PERIOD) if low <= p < high and not bad[p]]
    if found:
        return found
    return [p for p in (place - 2, place + 2) if low <= p < high and is_reference[p] and not bad[p]][:1]


def plan_replacements(bad, flagged_pairs, detector):
    """Which rows are replaced by which, in that order.

    Parameters
    ----------
    bad : (3200,) bool
        Image rows that are bad.
    flagged_pairs : iterable of (int, int, int)
        Of the reference: output (1 to 4), pair of the four reads (1 or 2), and a mask with a bit for each of the 32
        jumps to the reference pixels, from left to right on the detector.
    detector : str

    Returns
    -------
    list of (int, list of int)
        Row, and the rows whose mean replaces it (none: zeros, which count as "no sample").
    """
    is_reference = np.zeros(ROWS, np.bool_)
    is_reference[(SECTOR * np.arange(SECTORS)[:, None, None] + PAIR_STARTS[:, None] + [0, 1]).ravel()] = True
    plan = []
    for place in np.flatnonzero(bad).tolist():
        low = place // SECTOR * SECTOR
        plan.append((place, _substitutes(place, bad, is_reference, low, low + SECTOR)))

    def row_of(place):
        return place if detector == "NRS1" else ROWS - 1 - place

    on_detector = bad.copy() if detector == "NRS1" else bad[::-1].copy()
    for output, pair, mask in flagged_pairs:
        low = output * SECTOR
        which = pair if output % 2 else 3 - pair
        first = [low + PAIR_STARTS[2 * block + which - 1] for block in range(32) if mask >> block & 1]
        new = [p for start in first for p in (int(start), int(start) + 1) if not on_detector[p]]
        on_detector[new] = True
        for place in new:
            sources = _substitutes(place, on_detector, is_reference, low, low + SECTOR)
            plan.append((row_of(place), [row_of(p) for p in sources]))
    return plan


def _replaced_rows(load, group, plan):
    """Samples of the rows that are replaced in a group: row -> (2048,) float32."""
    replaced = {}

    def row_of(row):
        if row in replaced:
            return replaced[row]
        samples = np.empty((1, LINES), np.float32)
        load(samples, group, row, row + 1)
        return samples[0]

    for row, sources in plan:
        if len(sources) == 2:
            replaced[row] = (row_of(sources[0]) + row_of(sources[1])) * np.float32(0.5)
        else:
            replaced[row] = row_of(sources[0]) if sources else np.zeros(LINES, np.float32)
    return replaced


def _mean_of_groups(load, ngroups, plan, threads):
    """Mean over the groups: (3200, 2048) float64."""
    means = np.zeros((ROWS, LINES), np.float64)

    def average(first, last):
        rows, total = np.empty((last - first, LINES), np.float32), means[first:last]
        for group in range(ngroups):
            load(rows, group, first, last)
            _add_rows(total, rows)
        total /= ngroups

    run_rows(average, ROWS, threads=threads, block=_LOADED)
    if plan:
        means[[row for row, _ in plan]] = 0
        for group in range(ngroups):
            for row, samples in _replaced_rows(load, group, plan).items():
                means[row] += samples
        means[sorted({row for row, _ in plan})] /= ngroups
    return means


@kernel
def _add_rows(total, rows):
    for r in range(total.shape[0]):
        for x in range(total.shape[1]):
            total[r, x] += rows[r, x]


@kernel
def _subtract_rows(rows, means):
    for r in range(rows.shape[0]):
        for x in range(rows.shape[1]):
            rows[r, x] = rows[r, x] - means[r, x]


@kernel
def _fit_line(line, frame, rows, slots, edge_lines, backwards):
    """Straight line in time through the samples of the edge lines of a sector: intercept and slope."""
    n_lines = frame.shape[1]
    n, st, sy, stt, sty = 0, 0.0, 0.0, 0.0, 0.0
    for p in range(rows.size):
        row = frame[rows[p]]
        for edge in edge_lines:
            value = row[n_lines - 1 - edge if backwards else edge]
            if value != 0:
                t = np.float64(edge * SLOTS + slots[p]) - _CENTRE
                n += 1
                st += t
                sy += value
                stt += t * t
                sty += t * value
    line[0] = line[1] = np.float32(0)
    if n > 0:
        slope = (sty - st * sy / n) / (stt - st * st / n)
        line[1] = slope
        line[0] = (sy - slope * st) / n


@helper
def _level(out, row, slot, line, backwards):
    """A row without the straight line, in the order of time; samples that are 0 stay 0."""
    n = row.size
    intercept, slope = line[0], line[1]
    for x in range(n):
        value = row[n - 1 - x] if backwards else row[x]
        t = np.float32(x * SLOTS + slot) - _CENTRE
        out[x] = value - (intercept + t * slope) * np.float32(value != 0)


@kernel
def _gather(out, frame, rows, slots, places, line, backwards):
    """Rows of a sector without the straight line, into the rows ``places`` of ``out``, in the order of time."""
    for i in range(rows.size):
        _level(out[places[i]], frame[rows[i]], slots[i], line, backwards)


@helper
def _add_weighted(total, weight, row, w):
    """Add a row times w; and w where it is not 0 to the weight."""
    for x in range(total.size):
        total[x] += w * row[x]
        weight[x] += w * np.float32(row[x] != 0)


@helper
def _add_shifted(total, weight, row, w, shift):
    """The same for the row moved by ``shift`` lines, circularly: -1, 0 or 1."""
    n = row.size
    if shift == 0:
        _add_weighted(total, weight, row, w)
    elif shift > 0:
        _add_weighted(total[: n - 1], weight[: n - 1], row[1:], w)
        _add_weighted(total[n - 1 :], weight[n - 1 :], row, w)
    else:
        _add_weighted(total[1:], weight[1:], row, w)
        _add_weighted(total[:1], weight[:1], row[n - 1 :], w)


@helper
def _mean_around(slots, c, x, weights):
    """Weighted mean of the samples around one in time that are not 0; 0 if there are none."""
    total, weight = np.float32(0), np.float32(0)
    for j in range(-_REACH, _REACH + 1):
        line = (x + (c + j) // SLOTS) % slots.shape[1]
        value = slots[(c + j) % SLOTS, line]
        if value != 0:
            total += weights[j + _REACH] * value
            weight += weights[j + _REACH]
    return total / weight if weight != 0 else np.float32(0)


@kernel
def _fill_zeros(filled, slots, wanted, read_slot, weights):
    """Copy of some of the slots (712, 2048) in which zeros are the weighted mean of the samples around them in time."""
    n = slots.shape[1]
    total, weight = np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(wanted.size):
        c = wanted[i]
        copy_row(filled[i], slots[c])
        if read_slot[c]:
            for x in range(n):
                if slots[c, x] == 0:
                    filled[i, x] = _mean_around(slots, c, x, weights)
            continue
        fill_row(total, np.float32(0))
        fill_row(weight, np.float32(0))
        for j in range(-_REACH, _REACH + 1):
            source = (c + j) % SLOTS
            if read_slot[source]:
                _add_shifted(total, weight, slots[source], weights[j + _REACH], (c + j) // SLOTS)
        for x in range(n):
            filled[i, x] = total[x] / weight[x] if weight[x] != 0 else np.float32(0)


@kernel
def _subtract_correction(out, frame, correction, means, bottom, rows, slots, places, line, backwards):
    """Science rows without the straight line and the correction, but with their mean, into their places.

    ``rows`` are image rows of a sector, of which ``frame`` holds those from ``bottom`` on.
    """
    n = frame.shape[1]
    level = np.empty(n, np.float32)
    for i in range(rows.size):
        _level(level, frame[rows[i] - bottom], slots[i], line, backwards)
        for x in range(n):
            level[x] -= correction[i, x]
        target, mean = out[places[i]], means[rows[i]]
        for x in range(n):
            target[x] = (level[n - 1 - x] if backwards else level[x]) + mean[x]


class _Worker:
    """Corrects one group after the other; keeps its scratch, which is a sector of a group at a time."""

    def __init__(self, load, means, coefficients, plan, detector):
        self._load, self._means, self._plan = load, means, plan
        self._rows, self._backwards = sector_rows(detector), detector == "NRS2"
        self._places = np.full(ROWS, -1, np.int64)
        self._places[science_rows(detector)] = np.arange(LINES)
        self._frame = own_pages((SECTOR, LINES), np.float32)
        self._line = np.empty(2, np.float32)
        self._slots = own_pages((SLOTS, LINES), np.float32)
        self._pixels = own_pages((REFERENCE_POSITIONS.size, LINES), np.float32)
        self._filter = Filter(coefficients)

    def _load_sector(self, sector, group, replaced):
        """Samples of a sector without the mean of all groups, and their line; image row of the first of them."""
        frame, means, bottom = self._frame, self._means, int(self._rows[sector].min())
        for first in range(bottom, bottom + SECTOR, _LOADED):
            part = frame[first - bottom : first - bottom + _LOADED]
            self._load(part, group, first, first + _LOADED)
            _subtract_rows(part, means[first : first + _LOADED])
        for row, samples in replaced.items():
            place = row - bottom
            if 0 <= place < SECTOR:
                frame[place] = samples
                _subtract_rows(frame[place : place + 1], means[row : row + 1])
        _fit_line(self._line, frame, self._rows[sector] - bottom, _POSITION_SLOTS, EDGE_LINES, self._backwards)
        return bottom

    def _load_output(self, group, replaced):
        """Hand the reference output to the filter, with its gaps filled."""
        own = self._rows[0] - self._load_sector(0, group, replaced)
        _gather(self._slots, self._frame, own, _POSITION_SLOTS, _POSITION_SLOTS, self._line, self._backwards)
        for slots in np.split(np.arange(SLOTS), SLOTS // _TRANSFORMED_SLOTS):
            filled = np.empty((slots.size, LINES), np.float32)
            _fill_zeros(filled, self._slots, slots, _READ_SLOT, _WEIGHTS)
            self._filter.load_output(filled, slots)
        self._filter.fill_output()

    def correct(self, out, group):
        """Corrected science pixels of a group: (2048, 2048) float32."""
        replaced = _replaced_rows(self._load, group, self._plan)
        self._load_output(group, replaced)
        frame, line, turned = self._frame, self._line, self._backwards
        for sector in range(1, SECTORS):
            bottom, rows = self._load_sector(sector, group, replaced), self._rows[sector]
            references = rows[REFERENCE_POSITIONS] - bottom
            _gather(self._pixels, frame, references, REFERENCE_SLOTS, _REFERENCES, line, turned)
            spectra = self._filter.correction(sector - 1, self._pixels)
            for first in range(0, SCIENCE_SLOTS.size, _LOADED):
                part = slice(first, first + _LOADED)
                correction = np.fft.irfft(spectra[part], LINES).astype(np.float32, copy=False)
                own, slots = rows[SCIENCE_POSITIONS[part]], SCIENCE_SLOTS[part]
                _subtract_correction(
                    out, frame, correction, self._means, bottom, own, slots, self._places[own], line, turned
                )


def correct_integration(out, load, coefficients, plan, detector, threads=None, after_group=None):
    """Correct one integration.

    Parameters
    ----------
    out : (ngroup, 2048, 2048) float32
        Filled with the corrected science pixels [DN].
    load : callable
        ``load(rows, group, first, last)`` fills ``rows`` with superbias-subtracted counts [DN]: the image rows first
        ... last - 1 of a group, (last - first, 2048) float32. It is called in several threads, twice for each row.
    coefficients : Coefficients
        From `prepare_coefficients`.
    plan : list
        From `plan_replacements`.
    detector : str
        NRS1 or NRS2.
    threads : int or None
    after_group : callable, optional
        Called with the index of every group when it has been corrected (release of pages).

    Notes
    -----
    Scratch: 52 MB, and 26 MB for each thread. Groups are independent of each other after the mean.
    """
    means = _mean_of_groups(load, len(out), plan, threads)
    idle = []

    def correct_group(group, _):
        worker = idle.pop() if idle else _Worker(load, means, coefficients, plan, detector)
        worker.correct(out[group], group)
        idle.append(worker)
        if after_group is not None:
            after_group(group)

    run_rows(correct_group, len(out), threads=threads, block=1)


def correct_interleaved(
    data,
    pixeldq,
    detector,
    coefficients,
    flagged_pairs=(),
    *,
    n_sigma=3.0,
    subtract_means=False,
    odd_even_columns=True,
    siglimit=3.0,
    out=None,
    threads=None,
):
    """Subtract what the reference pixels and the reference output of an IRS2 readout tell, and strip them.

    Parameters
    ----------
    data : (nint, ngroup, 3200, 2048) float32
        Superbias-subtracted counts [DN].
    pixeldq : (3200, 2048) uint32
        Pixel flags: a row with BAD_REF_PIXEL anywhere is replaced as a whole (reference behaviour).
    detector : str
        NRS1 or NRS2.
    coefficients : Coefficients
        From `prepare_coefficients`.
    flagged_pairs : iterable of (int, int, int)
        Bad reference pixels of the reference, see `plan_replacements`.
    n_sigma : float
        Limit for bad reference pixels.
    subtract_means : bool
        Subtract the offset of every sector first, which the first and last four lines tell.
    odd_even_columns : bool
        Even and odd columns have offsets of their own.
    siglimit : float
        Limit of the clipped means of these lines [sigma].
    out : (nint, ngroup, 2048, 2048) float32, optional
        Where the result goes.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    data : (nint, ngroup, 2048, 2048) float32
        Corrected science pixels [DN].
    bad : (3200,) bool
        Rows that were replaced because of their flags or statistics.

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        Arrays are not those of an IRS2 readout; unknown detector. Nothing has been written.
    """
    canonical = as_canonical(data, "data", np.float32, 4)
    pixeldq = as_canonical(pixeldq, "pixeldq", np.uint32, 2)
    check_detector(detector)
    check_shape(pixeldq, "pixeldq", (ROWS, LINES))
    if canonical.shape[2:] != (ROWS, LINES):
        raise ShapeError(f"data has shape {canonical.shape}; an IRS2 readout has {ROWS} rows and {LINES} columns")
    shape = (*canonical.shape[:2], LINES, LINES)
    out = np.empty(shape, np.float32) if out is None else out
    check_shape(out, "out", shape)

    def read(integration, rows):
        return canonical[integration][:, rows]

    known_bad = ((pixeldq & BAD_REF_PIXEL) != 0).any(axis=1)
    bad = find_bad_reference_rows(read, shape[0], known_bad, n_sigma, threads)
    plan = plan_replacements(bad, flagged_pairs, detector)
    edge_flags = pixeldq[:, EDGE_LINES] | np.where(bad, np.uint32(DO_NOT_USE), np.uint32(0))[:, np.newaxis]
    for i in range(shape[0]):

        def load(rows, group, first, last, frames=canonical[i]):
            rows[...] = frames[group, first:last]

        if subtract_means:
            offsets = sector_offsets(load, shape[1], edge_flags, detector, odd_even_columns, siglimit, threads)
            load = level(load, offsets)
        correct_integration(out[i], load, coefficients, plan, detector, threads)
    return out, bad


def check_detector(detector):
    """Raise ParameterError unless the detector has an IRS2 readout."""
    if detector not in DETECTORS:
        raise ParameterError(f"detector is {detector!r}; IRS2 is a readout of {' and '.join(DETECTORS)}")

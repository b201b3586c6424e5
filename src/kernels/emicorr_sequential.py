"""Subtract electromagnetic interference of given frequencies from MIRI ramps: first straight ramps, then the wave.

Lines are fitted to the ramps; what is left after the lines and the median of every pixel, averaged over the four
amplifiers, is binned by phase. The sigma-clipped means of the bins are the wave. It is subtracted as it is, or gives
phase and scale of a reference wave. Frequencies are done one after the other, each on the data already corrected.

It works without a reference wave; but lines through few groups take a part of the interference with them: with fewer
than ten groups the joint fit (`upramp.kernels.emicorr`) is better.

Source: reference behaviour (its step emicorr, "sequential", after an IDL procedure of E. Bergeron).
"""

from dataclasses import dataclass

import numpy as np

from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ShapeError, writable_copy
from upramp.kernels._median import lane_median, sort_lanes
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.emicorr import AMPLIFIERS, CLOCK, check_ramps

__all__ = [
    "PhasedWave",
    "integrations_of_cycles",
    "measure_and_subtract_emi",
    "measure_and_subtract_emi_in_place",
]

MOST_BINS = 500
CLIP, CLIP_ITERATIONS = 3.0, 5
MINIMUM_COLUMNS = 16  # the columns of a disturbed pair are replaced by those beside it
LAST_COLUMN_DELAY = 3 + 2**32  # [clocks]: scrambles the phase of the last reference pixels of a full frame


@dataclass(frozen=True)
class PhasedWave:
    """What was found for a frequency.

    Attributes
    ----------
    frequency : float
        [Hz]
    means : (nbin,) float64
        Means of the bins of phase, without their median [DN]; NaN in all if there was an empty bin.
    """

    frequency: float
    means: np.ndarray


@kernel
def clean_tile(cleaned, data, first, last, left, right):
    """One integration (ngroup, ny, nx) without its lines and medians, averaged over the amplifiers, in float32.

    All columns are done, whatever ``left`` and ``right`` are. The line is that of the groups but the first and the
    last; where it is not finite nothing is.
    """
    ng, _, nx = data.shape
    n = ng - 2
    sx, sxx = n * (n - 1) / 2, (n - 1) * n * (2 * n - 1) / 6
    slope = np.empty(nx, np.float64)
    sy = np.empty(nx, np.float64)
    middle = np.empty(nx, np.float32)
    values = np.empty((n, nx), np.float32)
    for r in range(first, last):
        for x in range(nx):
            slope[x] = 0.0
            sy[x] = 0.0
        for t in range(n):
            row = data[t + 1, r]
            for x in range(nx):
                slope[x] += t * np.float64(row[x])
                sy[x] += row[x]
        for x in range(nx):
            slope[x] = (n * slope[x] - sx * sy[x]) / (n * sxx - sx * sx)
        for t in range(n):
            row = data[t + 1, r]
            for x in range(nx):
                value = np.float32(row[x] - slope[x] * (t + 1))
                values[t, x] = value if np.isfinite(slope[x]) else np.float32(0)
        sort_lanes(values, n, nx)
        for x in range(nx):
            median = lane_median(values, x, 0, n) if n > 2 else np.float64(values[0, x])
            middle[x] = np.float32(median) if np.isfinite(slope[x]) else np.float32(np.nan)
        for g in range(ng):
            row, out = data[g, r], cleaned[g, r]
            for k in range(out.size):
                total = np.float32(0)
                for c in range(AMPLIFIERS):
                    x = AMPLIFIERS * k + c
                    total += np.float32(row[x] - slope[x] * g) - middle[x]
                out[k] = total / np.float32(4)
            beside = (out[0] + out[3]) / np.float32(2)
            out[1] = beside
            out[2] = beside


@helper
def _phase(k, columns, clock, sample, delay, period):
    """Phase of the sample k of a row that begins at a clock."""
    time = clock + k * sample + (delay if k == columns - 1 else 0)
    cycles = time / period
    return cycles - np.floor(cycles)


@helper
def _bin(phase, edges):
    """Bin b with edges[b] < phase <= edges[b + 1]; -1 for the phase 0."""
    n = edges.size - 1
    b = min(int(phase * n), n - 1)
    while b >= 0 and not phase > edges[b]:
        b -= 1
    while b >= 0 and b < n - 1 and phase > edges[b + 1]:
        b += 1
    return b


@kernel
def count_bins(first, last, counts, clocks, ny, columns, row, sample, delay, period, edges):
    """Samples in each bin, of the frames first ... last - 1, which begin at ``clocks``: counts (nframe, nbin)."""
    for f in range(first, last):
        for r in range(ny):
            for k in range(columns):
                b = _bin(_phase(k, columns, clocks[f] + r * row, sample, delay, period), edges)
                if b >= 0:
                    counts[f, b] += 1


@kernel
def sort_into_bins(first, last, values, places, cleaned, clocks, row, sample, delay, period, edges):
    """Put the samples of the frames first ... last - 1 where their bins are, from ``places`` (nframe, nbin) on."""
    for f in range(first, last):
        frame = cleaned[f]
        for r in range(frame.shape[0]):
            for k in range(frame.shape[1]):
                b = _bin(_phase(k, frame.shape[1], clocks[f] + r * row, sample, delay, period), edges)
                if b >= 0:
                    values[places[f, b]] = frame[r, k]
                    places[f, b] += 1


@helper
def _mean(values, start, stop):
    total = 0.0
    for x in range(start, stop):
        total += values[x]
    return total / (stop - start)


@kernel
def clipped_means(first, last, means, values, ends):
    """Sigma-clipped means of the bins first ... last - 1, whose values are sorted upwards, NaN last."""
    for b in range(first, last):
        start, stop = ends[b], ends[b + 1]
        while stop > start and not np.isfinite(values[stop - 1]):
            stop -= 1
        while start < stop and not np.isfinite(values[start]):
            start += 1
        for _ in range(CLIP_ITERATIONS):
            n = stop - start
            if n == 0:
                break
            mean = _mean(values, start, stop)
            squares = 0.0
            for x in range(start, stop):
                squares += (values[x] - mean) ** 2
            reach = CLIP * np.sqrt(squares / n)
            centre = 0.5 * (np.float64(values[start + (n - 1) // 2]) + np.float64(values[start + n // 2]))
            while start < stop and values[start] < centre - reach:
                start += 1
            while stop > start and values[stop - 1] > centre + reach:
                stop -= 1
            if stop - start == n:
                break
        means[b] = _mean(values, start, stop)


@kernel
def subtract_table_tile(data, table, clocks, row, sample, delay, period, first, last, left, right):
    """Subtract the noise of a table over the period from one integration (ngroup, ny, nx): all columns."""
    for g in range(data.shape[0]):
        for r in range(first, last):
            samples = data[g, r]
            columns = samples.size // AMPLIFIERS
            for k in range(columns):
                step = int(_phase(k, columns, clocks[g] + r * row, sample, delay, period) * period)
                noise = table[min(step, table.size - 1)]
                for x in range(AMPLIFIERS * k, AMPLIFIERS * (k + 1)):
                    samples[x] = np.float32(samples[x] - noise)


def integrations_of_cycles(cycles, frequency, frame_clocks, ngroups):
    """Number of integrations in which so many cycles of a frequency [Hz] pass; frames count as ``frame_clocks``."""
    return int(np.ceil(cycles * ((1.0 / frequency) / CLOCK) / (frame_clocks * ngroups)))


def _resampled(values, length):
    """``values`` at ``length`` places of the same range (a float: the last step may be shorter): those at or below."""
    return values[np.mgrid[0 : len(values) : len(values) / length].astype(int)]


class _Timing:
    """When the frames of an exposure begin, in clocks."""

    def __init__(self, shape, readout, full_width):
        ni, ng, self.ny, nx = shape
        frame = readout.frame(self.ny)
        self.columns = nx // AMPLIFIERS
        self.clocks = np.arange(ni)[:, None] * (ng * frame + readout.reset) + np.arange(ng) * frame  # (nint, ngroup)
        self.row, self.sample = readout.row, readout.sample
        self.delay = LAST_COLUMN_DELAY if full_width else 0


def _means_by_phase(data, timing, period, n_bins, threads):
    """Sigma-clipped means of the cleaned samples of some integrations, in bins of phase."""
    ni, ng = data.shape[:2]
    edges = np.array([b / n_bins for b in range(n_bins + 1)])
    rhythm = timing.row, timing.sample, timing.delay, period, edges
    clocks = timing.clocks[:ni].ravel()
    counts = np.zeros((ni * ng, n_bins), np.int64)
    run_rows(count_bins, ni * ng, counts, clocks, timing.ny, timing.columns, *rhythm, threads=threads, block=1)
    ends = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    places = ends[:-1] + np.cumsum(counts, axis=0) - counts
    values = np.empty(ends[-1], np.float32)
    cleaned = np.empty((ng, timing.ny, timing.columns), np.float32)

    def centre(first, last):
        for g in range(first, last):
            cleaned[g] -= np.median(cleaned[g])

    def sort(first, last):
        for b in range(first, last):
            values[ends[b] : ends[b + 1]].sort()

    for i in range(ni):
        run_tile(clean_tile, cleaned, data[i], threads=threads, block=8)
        run_rows(centre, ng, threads=threads, block=1)
        frames = slice(i * ng, (i + 1) * ng)
        arguments = values, places[frames], cleaned, clocks[frames], *rhythm
        run_rows(sort_into_bins, ng, *arguments, threads=threads, block=1)
    run_rows(sort, n_bins, threads=threads, block=16)
    means = np.empty(n_bins)
    run_rows(clipped_means, n_bins, means, values, ends, threads=threads, block=16)
    return means - np.median(means)


def _noise_table(means, period, reference, scale_reference):
    """Noise at every clock of the period, from the means of the bins or from a reference wave in their place."""
    table = _resampled(means, period)
    if reference is None:
        return table
    reference = np.asarray(reference, np.float64)
    found = _resampled(means, len(reference))
    deviations, found = reference - reference.mean(), found - found.mean()
    moved = (np.arange(len(reference))[None] - np.arange(len(reference))[:, None]) % len(reference)
    shift = int(np.argmax(deviations[moved] @ found)) if np.ptp(reference) > 0 else 0
    wave = _resampled(np.roll(reference, shift), period)
    if not scale_reference:
        return wave
    if np.ptp(wave) == 0 or np.ptp(table) == 0:
        return np.zeros_like(wave)
    return wave * np.polyfit(wave, table, 1)[0]


def measure_and_subtract_emi_in_place(
    data,
    frequencies,
    readout,
    *,
    references=None,
    n_phased=None,
    n_bins=None,
    scale_reference=True,
    full_width=False,
    threads=None,
):
    """Measure and subtract interference, one frequency after the other.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw ramps [DN], changed; at least 3 groups, and a multiple of 4 columns, at least 16.
    frequencies : sequence of float
        [Hz]
    readout : upramp.kernels.emicorr.Readout
    references : sequence of (n,) array, optional
        Reference waves; they are put in the place of what is measured.
    n_phased : int, optional
        The wave is measured on so many integrations; None for all. Their samples, averaged over four amplifiers, are
        held in memory: a quarter of these integrations.
    n_bins : int, optional
        Bins of phase; half the clocks of the period if None, at most 500.
    scale_reference : bool
        Scale the reference waves to what is measured.
    full_width : bool
        The rows end with the reference pixels of a full frame, whose phase is not known.
    threads : int or None
        Number of threads; None for all cores. Results do not depend on it.

    Returns
    -------
    list of PhasedWave
        A frequency with an empty bin of phase (means NaN) has not been subtracted.

    Raises
    ------
    ShapeError, DTypeError
        The data are too small, or not of this kind; nothing has been written.
    """
    require_in_place(data, "data", np.float32, 4)
    check_ramps(data)
    if data.shape[3] < MINIMUM_COLUMNS:
        raise ShapeError(f"data has {data.shape[3]} columns; interference needs at least {MINIMUM_COLUMNS}")
    timing = _Timing(data.shape, readout, full_width)
    waves = []
    for number, frequency in enumerate(frequencies):
        period = (1.0 / frequency) / CLOCK
        bins = int(period / 2.0) if n_bins is None else n_bins
        if bins < 1:
            raise ShapeError(f"{bins} bins for {frequency} Hz; expected at least 1")
        means = _means_by_phase(data[:n_phased], timing, period, bins if bins <= MOST_BINS + 1 else MOST_BINS, threads)
        waves.append(PhasedWave(frequency, means))
        if not np.isfinite(means).all():
            continue
        table = _noise_table(means, period, None if references is None else references[number], scale_reference)
        table[~np.isfinite(table)] = 0.0
        rhythm = timing.row, timing.sample, timing.delay, period
        for ramp, clocks in zip(data, timing.clocks, strict=True):
            run_tile(subtract_table_tile, ramp, table, clocks, *rhythm, threads=threads)
    return waves


def measure_and_subtract_emi(data, frequencies, readout, **keywords):
    """Ramps without interference of given frequencies.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw ramps [DN].
    frequencies, readout, **keywords
        As `measure_and_subtract_emi_in_place` takes them.

    Returns
    -------
    data : (nint, ngroup, ny, nx) float32
        New ramps [DN].
    waves : list of PhasedWave

    Raises
    ------
    ShapeError, DTypeError
        The data are too small, or not of this kind.

    Notes
    -----
    Source: reference behaviour. A NaN in a group but the first and the last takes its integration out of the
    measurement.
    """
    data = writable_copy(data, "data", np.float32, 4)
    return data, measure_and_subtract_emi_in_place(data, frequencies, readout, **keywords)

"""Subtract electromagnetic interference from MIRI ramps: joint fit of straight ramps and a known wave.

The interference is a wave of a known frequency and shape; its phase at a sample follows from when the sample was read.
Amplitude and phase are those that make the ramps straightest: chi squared of lines fitted to the ramps, after the wave
is subtracted, is quadratic in the amplitude at any phase. Pixels that are read at the same phase share their lines, so
that their sums, in as many bins as the wave has values, are all that the fit needs. Frequencies are done one after the
other, each on the data already corrected.

Four neighbouring columns are read at the same time, by four amplifiers. Times are counted in clocks of 10 microseconds.

Source: reference behaviour (the method is described in the documentation of its step emicorr, "joint").
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._periodic_wave import MINIMUM_VALUES, fraction, wave_at, wave_at_every_value, wave_table
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = ["CLOCK", "MINIMUM_GROUPS", "EmiFit", "Readout", "Wave", "subtract_emi", "subtract_emi_in_place"]

CLOCK = 10.0e-6  # [s]
MINIMUM_GROUPS = 3
AMPLIFIERS = 4
DETECTOR_ROWS = 1024
# Clocks to skip a row that is not read, when a subarray is read.
SKIPPED_ROW = 7
# Samples (columns 4 ... 11) that are not used: what amplifiers read there is disturbed.
DISTURBED = (1, 2)
TRIAL_PHASES = 500
SCATTER_LIMIT = 2  # pixels with more than so many medians of the scatter are not used
NO_AMPLITUDE = 1e-8  # the curvature of chi squared from which it has a minimum


@dataclass(frozen=True)
class Readout:
    """When the samples of a ramp are read.

    Attributes
    ----------
    row : int
        Clocks from the start of a row to that of the next.
    sample : int
        Clocks for a sample of each amplifier: 1 in FAST modes, 9 in SLOW ones.
    reset : int
        Clocks between the last frame of an integration and the first one of the next.
    """

    row: int
    sample: int
    reset: int = 0

    def frame(self, ny):
        """Clocks of a frame with ny rows."""
        return ny * self.row + (DETECTOR_ROWS - ny) * SKIPPED_ROW


@dataclass(frozen=True)
class Wave:
    """Interference of one frequency.

    Attributes
    ----------
    frequency : float
        [Hz]
    values : (n,) array
        The wave at phases (m + 1/2) / n.
    """

    frequency: float
    values: np.ndarray

    @property
    def period(self):
        """Clocks."""
        return (1.0 / self.frequency) / CLOCK


class EmiFit(NamedTuple):
    """What was subtracted: the wave times ``amplitudes`` (nint), from ``phases`` (nint) of the first samples on."""

    frequency: float
    amplitudes: np.ndarray
    phases: np.ndarray


@kernel
def scatter_tile(scatter, data, first, last, left, right):
    """Standard deviation of the groups of every pixel of one integration (ngroup, ny, nx), in float32."""
    ngroups = np.float32(data.shape[0])
    mean = np.empty(right - left, np.float32)
    for r in range(first, last):
        squares = scatter[r, left:right]
        for x in range(squares.size):
            mean[x] = np.float32(0)
            squares[x] = np.float32(0)
        for g in range(data.shape[0]):
            row = data[g, r, left:right]
            for x in range(squares.size):
                mean[x] += row[x]
        for x in range(squares.size):
            mean[x] /= ngroups
        for g in range(data.shape[0]):
            row = data[g, r, left:right]
            for x in range(squares.size):
                d = row[x] - mean[x]
                squares[x] += d * d
        for x in range(squares.size):
            squares[x] = np.sqrt(squares[x] / ngroups)


@kernel
def sum_groups(first, last, sums, counts, data, good, bins):
    """Sums of the good samples of every bin of phase, for the groups first ... last - 1 of one integration.

    Whoever does the first group also counts the pixels.
    """
    for g in range(first, last):
        total = sums[g]
        for b in range(total.size):
            total[b] = 0.0
        for r in range(data.shape[1]):
            row = data[g, r]
            for k in range(bins.shape[1]):
                b = bins[r, k]
                four, n = 0.0, 0
                for x in range(AMPLIFIERS * k, AMPLIFIERS * (k + 1)):
                    four += np.float64(row[x]) if good[r, x] else 0.0
                    n += good[r, x]
                total[b] += four
                if g == 0:
                    counts[b] += n


@helper
def _dot(a, b):
    """Scalar product, in four sums that do not wait for each other."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = a.size - a.size % 4
    for k in range(0, whole, 4):
        s0 += a[k] * b[k]
        s1 += a[k + 1] * b[k + 1]
        s2 += a[k + 2] * b[k + 2]
        s3 += a[k + 3] * b[k + 3]
    for k in range(whole, a.size):
        s0 += a[k] * b[k]
    return (s0 + s1) + (s2 + s3)


@kernel
def fit_trial_phases(first, last, quadratic, linear, table, group_phases, sums, counts, trials):
    """Coefficients of chi squared, quadratic in the amplitude, for some trial phases and every integration.

    ``group_phases`` (ngroup) are the phases of the first bin, ``sums`` (nint, ngroup, nbin) and ``counts``
    (nint, nbin) what `sum_groups` found; the results are (ntrial, nint).
    """
    ni, ng, nbins = sums.shape
    st, stt = ng * (ng - 1) / 2, (ng - 1) * ng * (2 * ng - 1) / 6
    delta = ng * stt - st * st
    sy, sty = np.zeros((ni, nbins)), np.zeros((ni, nbins))
    for i in range(ni):
        for g in range(ng):
            for b in range(nbins):
                sy[i, b] += sums[i, g, b]
                sty[i, b] += g * sums[i, g, b]
    z, sz, szz, stz = np.empty(nbins), np.empty(nbins), np.empty(nbins), np.empty(nbins)
    for q in range(first, last):
        for b in range(nbins):
            sz[b], szz[b], stz[b] = 0.0, 0.0, 0.0
        for i in range(ni):
            quadratic[q, i] = 0.0
            linear[q, i] = 0.0
        for g in range(ng):
            wave_at_every_value(z, table, group_phases[g] + trials[q])
            for b in range(nbins):
                sz[b] += z[b]
                szz[b] += z[b] * z[b]
                stz[b] += g * z[b]
            for i in range(ni):
                linear[q, i] -= 2 * _dot(z, sums[i, g])
        for b in range(nbins):
            # What chi squared loses by the lines, and the weights of the sums of y and of g y in it.
            lost = stt * sz[b] * sz[b] - 2 * st * sz[b] * stz[b] + ng * stz[b] * stz[b]
            level, slope = stt * sz[b] - st * stz[b], ng * stz[b] - st * sz[b]
            szz[b], sz[b], stz[b] = szz[b] - lost / delta, 2 * level / delta, 2 * slope / delta
        for i in range(ni):
            quadratic[q, i] = _dot(counts[i], szz)
            linear[q, i] += _dot(sz, sy[i]) + _dot(stz, sty[i])


@kernel
def combine_integrations(first, last, a, b, phases, quadratic, linear, trials, begin, end, step):
    """Sum the coefficients of integrations begin ... end - 1, whose phases differ by ``step``, at some phases.

    The trial phase that is taken for an integration is the first one at or above its phase.
    """
    for p in range(first, last):
        a[p] = 0.0
        b[p] = 0.0
        for i in range(begin, end):
            best, nearest = 0, np.inf
            for q in range(trials.size):
                distance = fraction(trials[q] - phases[p] - step * i)
                if distance < nearest:
                    best, nearest = q, distance
            a[p] += quadratic[best, i]
            b[p] += linear[best, i]


@kernel
def subtract_wave_tile(data, table, phases, start, step, amplitude, first, last, left, right):
    """Subtract the wave from one integration (ngroup, ny, nx): all columns, whatever ``left`` and ``right`` are."""
    noise = np.empty(phases.shape[1], np.float64)
    for g in range(data.shape[0]):
        for r in range(first, last):
            row = data[g, r]
            times = phases[r]
            for k in range(noise.size):
                noise[k] = amplitude * wave_at(table, fraction(times[k] + step * g + start))
            for k in range(noise.size):
                for x in range(AMPLIFIERS * k, AMPLIFIERS * (k + 1)):
                    row[x] = np.float32(row[x] - noise[k])


class _Scatter:
    """Scatter of the pixels of an integration, by its number.

    All of it is kept if it is no larger than one integration; else it is measured anew each time.
    """

    def __init__(self, data, threads):
        self.data, self.threads = data, threads
        few = len(data) <= data.shape[1]
        self.kept = [self._measure(ramp) for ramp in data] if few else None

    def _measure(self, ramp):
        scatter = np.empty(ramp.shape[1:], np.float32)
        run_tile(scatter_tile, scatter, ramp, threads=self.threads)
        return scatter

    def __getitem__(self, i):
        return self._measure(self.data[i]) if self.kept is None else self.kept[i]

    def median(self):
        """Median of all pixels of all integrations, as float32; NaN if one of them is.

        Positive floats are ordered like their bits. Their upper and then their lower halves are counted.
        """
        total = len(self.data) * self.data[0, 0].size
        ranks = ((total - 1) // 2, total // 2)
        counts = np.zeros(1 << 16, np.int64)
        for i in range(len(self.data)):
            scatter = self[i]
            if np.isnan(scatter).any():
                return np.float32(np.nan)
            counts += np.bincount(scatter.view(np.uint32).ravel() >> 16, minlength=counts.size)
        below = np.concatenate([[0], np.cumsum(counts)])
        uppers = [int(np.searchsorted(below, rank, side="right")) - 1 for rank in ranks]
        lower_counts = {upper: np.zeros(1 << 16, np.int64) for upper in uppers}
        for i in range(len(self.data)):
            bits = self[i].view(np.uint32).ravel()
            for upper, found in lower_counts.items():
                found += np.bincount(bits[bits >> 16 == upper] & 0xFFFF, minlength=found.size)
        middle = []
        for rank, upper in zip(ranks, uppers, strict=True):
            lower = int(np.searchsorted(np.cumsum(lower_counts[upper]), rank - below[upper], side="right"))
            middle.append(np.uint32(upper << 16 | lower).view(np.float32))
        return np.float32((middle[0] + middle[1]) / np.float32(2))


def _collect(data, pixeldq, phases, n_bins, threads):
    """Sums of good samples (nint, ngroup, nbin), and numbers of good pixels (nint, nbin)."""
    ni, ng = data.shape[:2]
    scatter = _Scatter(data, threads)
    limit = SCATTER_LIMIT * scatter.median()
    bins = (phases * n_bins).astype(np.int32)
    usable = pixeldq == 0
    for k in DISTURBED:
        usable[:, AMPLIFIERS * k : AMPLIFIERS * (k + 1)] = False
    sums, counts = np.empty((ni, ng, n_bins)), np.zeros((ni, n_bins))
    for i, ramp in enumerate(data):
        good = (scatter[i] < limit) & usable
        run_rows(sum_groups, ng, sums[i], counts[i], ramp, good, bins, threads=threads, block=1)
    return sums, counts


class _Fitter:
    """Chi squared as a function of amplitude and phase."""

    def __init__(self, table, group_phases, sums, counts, step, threads):
        self.trials = np.arange(TRIAL_PHASES) * 1.0 / TRIAL_PHASES
        self.step, self.threads = step, threads
        self.quadratic, self.linear = np.empty((2, TRIAL_PHASES, len(sums)))
        run_rows(
            fit_trial_phases, TRIAL_PHASES, self.quadratic, self.linear, table, group_phases, sums, counts, self.trials,
            threads=threads, block=16,
        )  # fmt: skip

    def fit(self, begin, end):
        """Amplitude and phase of the first integration that fit integrations begin ... end - 1 best."""
        chi_squared, _ = self._at(self.trials, begin, end)
        phase = _lowest(self.trials, chi_squared)
        return self._at(np.array([phase]), begin, end)[1][0], phase

    def _at(self, phases, begin, end):
        """Lowest chi squared, NaN where it has no minimum, and the amplitude there, 0 in that case."""
        a, b = np.empty((2, len(phases)))
        arguments = (a, b, phases, self.quadratic, self.linear, self.trials, begin, end, self.step)
        run_rows(combine_integrations, len(phases), *arguments, threads=self.threads, block=16)
        fitted = (np.abs(a) > NO_AMPLITUDE) & np.isfinite(a) & np.isfinite(b)
        amplitude = np.where(fitted, -b / (2 * np.where(fitted, a, 1.0)), 0.0)
        return np.where(fitted, a * amplitude**2 + b * amplitude, np.nan), amplitude


def _lowest(phases, chi_squared):
    """Phase of the lowest value: the vertex of the parabola through it and its neighbours.

    As in the reference the abscissae of the neighbours are not unwrapped at the ends.
    """
    if not np.isfinite(chi_squared).any():
        return phases[0]
    best = int(np.nanargmin(chi_squared))
    around = [best - 1, best, (best + 1) % len(phases)]
    values = chi_squared[around]
    if not np.isfinite(values).all() or np.std(values) == 0:
        return phases[best]
    a, b, _ = np.polyfit(phases[around], values, 2)
    return -b / (2 * a)


def _subtract_one(data, pixeldq, wave, readout, separately, threads):
    ni, ng, ny, nx = data.shape
    columns = np.arange(nx // AMPLIFIERS) * readout.sample
    times = np.arange(ny)[:, None] * readout.row + columns[None]
    phases = (times / wave.period) % 1
    step = (readout.frame(ny) / wave.period) % 1  # from a group to the next
    between = step * ng + readout.reset / wave.period  # from an integration to the next
    n_bins = len(wave.values)
    table = wave_table(wave.values)
    group_phases = (0.5 / n_bins + np.arange(ng) * step) % 1
    sums, counts = _collect(data, pixeldq, phases, n_bins, threads)
    fitter = _Fitter(table, group_phases, sums, counts, between, threads)
    if separately:
        amplitudes, starts = np.array([fitter.fit(i, i + 1) for i in range(ni)]).T
        starts = starts + np.arange(ni) * between
    else:
        amplitude, start = fitter.fit(0, ni)
        amplitudes, starts = np.full(ni, amplitude), (start + np.arange(ni) * between) % 1
    for ramp, amplitude, start in zip(data, amplitudes, starts, strict=True):
        if amplitude != 0:
            run_tile(subtract_wave_tile, ramp, table, phases, start, step, amplitude, threads=threads)
    return EmiFit(wave.frequency, amplitudes, starts)


def subtract_emi_in_place(data, pixeldq, waves, readout, *, separately=False, threads=None):
    """Fit and subtract interference, one wave after the other.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw ramps [DN], changed; at least 3 groups, and a multiple of 4 columns.
    pixeldq : (ny, nx) uint32
        Pixel flags; only pixels without any take part in the fit.
    waves : sequence of Wave
    readout : Readout
    separately : bool
        Fit every integration by itself instead of one amplitude and phase for all.
    threads : int or None
        Number of threads; None for all cores. Results do not depend on it.

    Returns
    -------
    list of EmiFit

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or are too small; nothing has been written.
    """
    require_in_place(data, "data", np.float32, 4)
    pixeldq = as_canonical(pixeldq, "pixeldq", np.uint32, 2)
    check_shape(pixeldq, "pixeldq", data.shape[-2:])
    check_ramps(data)
    for wave in waves:
        if np.ndim(wave.values) != 1 or len(wave.values) < MINIMUM_VALUES or not wave.frequency > 0:
            raise ShapeError(
                f"a wave of {wave.frequency} Hz has values of shape {np.shape(wave.values)}; expected a positive "
                f"frequency and at least {MINIMUM_VALUES} values in one dimension"
            )
    return [_subtract_one(data, pixeldq, wave, readout, separately, threads) for wave in waves]


def check_ramps(data):
    """Raise ShapeError unless there are enough groups, and whole sets of four columns."""
    if data.shape[1] < MINIMUM_GROUPS or data.shape[3] % AMPLIFIERS or 0 in data.shape:
        raise ShapeError(
            f"data has shape {data.shape}; interference needs at least {MINIMUM_GROUPS} groups and a multiple of "
            f"{AMPLIFIERS} columns"
        )


def subtract_emi(data, pixeldq, waves, readout, *, separately=False, threads=None):
    """Ramps without interference of known waves.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw ramps [DN]; at least 3 groups, and a multiple of 4 columns.
    pixeldq : (ny, nx) uint32
        Pixel flags; only pixels without any take part in the fit.
    waves : sequence of Wave
    readout : Readout
    separately : bool
        Fit every integration by itself instead of one amplitude and phase for all.
    threads : int or None
        Number of threads; None for all cores. Results do not depend on it.

    Returns
    -------
    data : (nint, ngroup, ny, nx) float32
        New ramps [DN].
    fits : list of EmiFit

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or are too small.

    Notes
    -----
    Source: reference behaviour, in float64. With a NaN anywhere in the data nothing is fitted or subtracted.
    """
    data = writable_copy(data, "data", np.float32, 4)
    return data, subtract_emi_in_place(data, pixeldq, waves, readout, separately=separately, threads=threads)

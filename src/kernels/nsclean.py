"""1/f noise of NIRSpec from a fit of frequencies to the background pixels.

Lines are read along the rows of the image, transposed; NRS2 also turned upside down. In a full frame every line has a
fit of its own of the lowest frequencies, and the result is smoothed a little from line to line. In a subarray the
pixels, with the pauses between lines, are one stream in time, and windows of lines that hold some 512 background pixels
are fitted with the lowest and the highest frequencies; windows overlap by half and are blended.

A fit is a weighted one: a pixel counts the more the fewer background pixels there are around it. With weights ``p`` at
the times ``m`` the coefficients solve ``sum_l S(l - k) c_l = D(k)``, where S and D are the Fourier transforms of
``p^2`` and of ``p^2 d``; so one transform of each gives all equations.

Source: Rauscher (2024), PASP 136, 015001 (NSClean); reference behaviour for filters, windows, and for the convolution
that measures the density of pixels, whose result lies one pixel and one line later than it should. Fits are float64;
the reference has complex64.
"""

from bisect import bisect_right
from functools import lru_cache

import numpy as np

from upramp.kernels._jit import kernel
from upramp.kernels._line_medians import _key, _median
from upramp.kernels._rows import fill_row

__all__ = ["subtract_frequency_noise"]

FULL = (2048, 2048)
BORDER = 4  # lines of reference pixels
CUTOFF, CUTOFF_WIDTH = 1 / 256, 1 / 1024  # [1 / pixel]
DENSITY_SIGMA = 32  # pixels
SMOOTHING_SIGMA = 1.5  # lines
LINE_CLIP = 3.0
LINES_TOGETHER = 128  # fitted at a time
SMALLEST_DENSITY = 1e-4  # of pixels around one; less is the rounding of the transform

PAUSE = 12  # samples between lines
SAMPLE_TIME = 1e-5  # s
WINDOW_PIXELS = 512
WINDOW_CLIP = 4.0
BELL = 9.0  # standard deviations of a Gaussian that count in double precision
LEAST_PART = 0.05  # of the pixels of a window
TOGETHER = 64  # windows fitted at a time
FEW_WAVES = 48  # up to so many are summed directly; more are taken from transforms
DEFAULT_CUTOFFS = (1061, 1211, 49943, 49957)  # Hz


def subtract_frequency_noise(image, mask, detector, cutoffs=DEFAULT_CUTOFFS):
    """Subtract the noise of an image of NIRSpec.

    Parameters
    ----------
    image : (ny, nx) float32
        Without background, and without NaN; changed.
    mask : (ny, nx) bool
        Pixels of the background.
    detector : str
        'NRS1', or any other for the orientation of NRS2.
    cutoffs : 4 float
        Filter of subarrays [Hz]: full gain up to the first, none between the second and the third, full gain again from
        the fourth on.

    Raises
    ------
    numpy.linalg.LinAlgError
        A fit has no solution: there are too few pixels. The image is as it was.
    """
    turn = slice(None) if detector == "NRS1" else slice(None, None, -1)
    lines, use = image.T[turn], mask.T[turn]
    if image.shape == FULL:
        _subtract_from_frame(lines, use)
    else:
        lines -= _subarray(np.ascontiguousarray(lines), np.ascontiguousarray(use), cutoffs)


# ---- full frames ----


def _lowpass(n):
    """Filter of a line of n pixels: gain of the frequencies from 0 on, as far as it is not 0."""
    frequency = np.fft.rfftfreq(n)
    gain = (1 + np.cos(np.pi * (frequency - CUTOFF) / CUTOFF_WIDTH + np.pi / 2)) / 2
    gain = np.where(frequency <= CUTOFF - CUTOFF_WIDTH / 2, 1.0, gain)
    return gain[: np.count_nonzero((frequency <= CUTOFF + CUTOFF_WIDTH / 2) & (gain > 0))]


def _gaussian(n, sigma):
    """Gaussian of n points whose peak lies one behind the first (see the top of the module)."""
    x = np.arange(n)
    values = np.exp(-((x - (n // 2 + 1)) ** 2) / sigma**2 / 2) / sigma / np.sqrt(2 * np.pi)
    return np.fft.ifftshift(values)


def _inverse_density(use):
    """Weights of the pixels of lines but the first: one over the number of background pixels around them."""
    transform = np.fft.rfft(_gaussian(use.shape[1], DENSITY_SIGMA).astype(np.float32))
    density = np.fft.irfft(np.fft.rfft(use.astype(np.float32), axis=1) * transform, use.shape[1], axis=1)
    # Behind a line without background pixels the reference divides by the rounding of its transform.
    density = np.where(use[:-1].any(axis=1, keepdims=True), density[:-1], density[1:])
    with np.errstate(divide="ignore"):
        return np.where(use[1:] & (density > SMALLEST_DENSITY), 1 / density, np.float32(0))


@kernel
def _transform_lines(of_weights, of_data, lines, use, weights, waves):
    """Transforms of p^2 and of p^2 d of every line, where values far from the median of the line count as that.

    As products of matrices they were slower: the threads of BLAS and those of this package wait for each other.
    """
    nx = lines.shape[1]
    keys, scratch, counts = np.empty(nx + 1, np.uint32), np.empty(nx + 1, np.uint32), np.empty(256, np.int64)
    for r in range(lines.shape[0]):
        n = 0
        for x in range(nx):
            keys[n] = _key(lines[r, x])
            n += use[r, x]
        middle = _median(keys, n, scratch, counts)
        n = 0
        for x in range(nx):
            keys[n] = _key(abs(lines[r, x] - middle))
            n += use[r, x]
        reach = LINE_CLIP * (1.4826 * np.float64(_median(keys, n, scratch, counts)))
        for x in range(nx):
            value = np.float64(lines[r, x])
            if not middle - reach <= value <= middle + reach:
                value = np.float64(middle)
            weight = np.float64(weights[r, x])
            if weight != 0:
                for k in range(waves.shape[1]):
                    of_weights[r, k] += weight * weight * waves[x, k]
                    of_data[r, k] += weight * weight * value * waves[x, k]


@kernel
def _sum_waves(noise, coefficients, waves):
    """Sum of the waves (number, pixels) with the coefficients of every line."""
    for r in range(noise.shape[0]):
        row = noise[r]
        fill_row(row, 0.0)
        for k in range(waves.shape[0]):
            amplitude, wave = coefficients[r, k], waves[k]
            for x in range(row.size):
                row[x] += amplitude * wave[x]


def _fit_lines(lines, use, waves):
    """Coefficients of the waves in lines but the first; 0 where there are fewer pixels than waves."""
    n = waves.shape[1] // 2
    weights = _inverse_density(use)
    of_weights, of_data = np.zeros((2, len(weights), 2 * n))
    _transform_lines(of_weights, of_data, lines[1:], use[1:], weights, waves)
    fitted = (weights > 0).sum(axis=1) >= n
    coefficients = np.zeros((len(weights), n), np.complex128)
    transforms = (sums[fitted].view(np.complex128) for sums in (of_weights, of_data))
    coefficients[fitted] = _solve(*transforms, np.arange(n))
    return coefficients


def _subtract_from_frame(lines, use):
    """Subtract the noise from the lines of a full frame; some lines at a time, for the sake of memory."""
    ny, nx = lines.shape
    gain = _lowpass(nx)
    n = gain.size
    waves = np.exp(-2j * np.pi * np.arange(nx)[:, None] * np.arange(n) / nx).view(np.float64)
    coefficients = np.zeros((ny, n), np.complex128)
    # The lines of reference pixels are not corrected.
    for first in range(BORDER, ny - BORDER, LINES_TOGETHER):
        last = min(first + LINES_TOGETHER, ny - BORDER)
        here = slice(first - 1, last)
        read, used = np.ascontiguousarray(lines[here]), np.ascontiguousarray(use[here])
        coefficients[first:last] = _fit_lines(read, used, waves) * gain
    # One pixel late, as the smoothing makes it.
    coefficients = _smoothed(coefficients * np.exp(-2j * np.pi * np.arange(n) / nx))
    # The real part of the sum over positive and negative frequencies: Re(c exp(2 pi i m k / n)).
    coefficients[:, 1:] *= 2
    waves = np.ascontiguousarray(waves.T)
    for first in range(0, ny, LINES_TOGETHER):
        here = coefficients[first : first + LINES_TOGETHER].view(np.float64)
        noise = np.empty((len(here), nx))
        _sum_waves(noise, here, waves)
        lines[first : first + len(here)] -= noise


def _smoothed(values):
    """Circular convolution from line to line, which lies one line late."""
    transform = np.fft.fft(_gaussian(len(values), SMOOTHING_SIGMA))
    return np.fft.ifft(np.fft.fft(values, axis=0) * transform[:, None], axis=0)


def _solve(of_weights, of_data, orders, places=None):
    """Coefficients [(...), n] of the waves of these orders.

    Transforms of p^2 start at order 0, or are at ``places`` for the distances of the orders.
    """
    steps = orders[None, :] - orders[:, None]
    # sum_m p^2 exp(2 pi i m (l - k)): the transform itself has exp(-2 pi i m k).
    matrix = of_weights[..., np.abs(steps) if places is None else places]
    matrix = np.where(steps > 0, matrix.conj(), matrix)
    return np.linalg.solve(matrix, of_data[..., None])[..., 0]


# ---- subarrays ----


def _bandpass(n, cutoffs):
    """Gain of all frequencies of n samples in time, float32."""
    fc = np.array(cutoffs, np.float32)
    f = np.fft.rfftfreq(n, np.float32(SAMPLE_TIME)).astype(np.float32)
    gain = np.zeros(f.size, np.float32)
    gain[f < fc[0]] = 1
    fall, rise = (fc[0] <= f) & (f < fc[1]), (fc[2] <= f) & (f < fc[3])
    gain[fall] = 0.5 * (np.cos(np.pi / (fc[1] - fc[0]) * (f[fall] - fc[0])) + 1)
    gain[rise] = 0.5 * (np.cos(np.pi / (fc[3] - fc[2]) * (f[rise] - fc[2]) + np.pi) + 1)
    gain[f >= fc[3]] = 1
    return gain


@kernel
def _middle_and_spread(lines, use):
    """Median of the values in use, and the median of their distances from it."""
    keys, scratch = np.empty(lines.size + 1, np.uint32), np.empty(lines.size + 1, np.uint32)
    counts = np.empty(256, np.int64)
    n = 0
    for r in range(lines.shape[0]):
        for x in range(lines.shape[1]):
            keys[n] = _key(lines[r, x])
            n += use[r, x]
    middle = _median(keys, n, scratch, counts)
    n = 0
    for r in range(lines.shape[0]):
        for x in range(lines.shape[1]):
            keys[n] = _key(abs(lines[r, x] - middle))
            n += use[r, x]
    return middle, _median(keys, n, scratch, counts)


def _without_outliers(lines, use):
    """The mask without values far from the median, and without their four neighbours."""
    middle, spread = (np.float32(value) for value in _middle_and_spread(lines, use))
    reach = WINDOW_CLIP * (1.4825 * spread)
    bad = use & (np.abs(lines - middle) > reach)
    grown = np.pad(bad, 1)
    return use & ~(bad | grown[2:, 1:-1] | grown[:-2, 1:-1] | grown[1:-1, 2:] | grown[1:-1, :-2])


def _windows(use):
    """First and last line (exclusive) of the windows, and their number of background pixels."""
    count = [0, *np.cumsum(np.count_nonzero(use, axis=1)).tolist()]
    found = np.flatnonzero(use.any(axis=1))
    if found.size == 0:
        raise np.linalg.LinAlgError("no pixel of the background is left")
    first, end = int(found[0]), int(found[-1]) + 1
    windows = []
    while True:
        stop = end
        if count[-1] - count[first] > 1.5 * WINDOW_PIXELS:
            stop = min(bisect_right(count, count[first] + WINDOW_PIXELS), end)
        windows.append((first, stop, count[stop] - count[first]))
        if stop == end:
            return windows
        first += max(round((stop - first) / 2), 1)


class _Filter:
    """What windows of so many lines share.

    Attributes
    ----------
    gain : (n_order,) float32, of the frequencies that are fitted, ``orders``
    bell : (n_bell,) Gaussian that measures the density of pixels, from ``before`` samples before its middle on
    whole : (n,) density where all pixels of the lines count
    waves : (pixels, n_wave) complex, of the distances between orders; None if there are many
    places : (n_order, n_order) of the distances in ``waves``; those of the orders themselves are the first row
    """

    def __init__(self, lines, width, cutoffs):
        n = self.samples = lines * (width + PAUSE)
        sigma = 1 / ((cutoffs[0] + cutoffs[1]) / 2) / SAMPLE_TIME / 2 / 4
        gain = _bandpass(n, cutoffs)
        self.orders = np.flatnonzero(gain > 0)
        self.gain = gain[self.orders]
        gaussian = _gaussian(n, sigma)
        reach = int(BELL * sigma) + 2
        self.before = reach if 2 * reach < n else 0
        self.bell = np.roll(gaussian, reach)[: 2 * reach] if self.before else gaussian
        times = (np.arange(lines)[:, None] * (width + PAUSE) + np.arange(width)).ravel()
        full = np.zeros(n)
        full[times] = 1
        self.whole = np.fft.irfft(np.fft.rfft(full) * np.fft.rfft(gaussian), n)
        distances, places = np.unique(np.abs(self.orders[None, :] - self.orders[:, None]), return_inverse=True)
        self.places = places.reshape(self.orders.size, self.orders.size)
        self.waves = None
        if distances.size <= FEW_WAVES:
            # Whole turns are left out, so that the phases are exact.
            self.waves = np.exp(-2j * np.pi / n * (times[:, None] * distances % n))

    def coefficients(self, weighed, width):
        """Coefficients of the fitted waves, times the gain: (window, n_order), of p^2 and p^2 d (2, window, pixels)."""
        count = weighed.shape[1]
        if self.waves is not None:
            transforms = (weighed @ self.waves.view(np.float64)).view(np.complex128)
            of_weights, of_data = transforms[0], transforms[1][:, self.places[0]]
            return _solve(of_weights, of_data, self.orders, self.places) * self.gain
        streams = np.zeros((2, count, self.samples // (width + PAUSE), width + PAUSE))
        streams[..., :width] = weighed.reshape(*streams.shape[:3], width)
        of_weights, of_data = np.fft.rfft(streams.reshape(2, count, self.samples))
        return _solve(of_weights, of_data[:, self.orders], self.orders) * self.gain

    def noise(self, coefficients, width):
        """The waves with these coefficients: (window, line, column)."""
        count, lines = len(coefficients), self.samples // (width + PAUSE)
        if self.waves is not None:
            # The real part of the sum over positive and negative frequencies; the highest of an even number is alone.
            twice = np.where((self.orders == 0) | (2 * self.orders == self.samples), 1, 2)
            waves = np.ascontiguousarray(self.waves[:, self.places[0]]).view(np.float64)
            return ((coefficients * twice).view(np.float64) @ waves.T).reshape(count, lines, width)
        spectra = np.zeros((count, self.samples // 2 + 1), np.complex128)
        spectra[:, self.orders] = coefficients * self.samples
        return np.fft.irfft(spectra, self.samples).reshape(count, lines, width + PAUSE)[..., :width]


@lru_cache(maxsize=8)
def _filter(lines, width, cutoffs):
    return _Filter(lines, width, cutoffs)


@kernel
def _weigh_windows(weighed, lines, use, starts, size, bell, before, whole):
    """p^2 and p^2 d of windows of so many lines, weighed (2, window, pixels)."""
    nx, n = lines.shape[1], whole.size
    around = np.empty(n, np.float64)
    wide = np.empty(n + bell.size, np.float64)
    for k in range(starts.size):
        used = 0
        for r in range(starts[k], starts[k] + size):
            for x in range(nx):
                used += use[r, x]
        # What is not there is taken from the density of whole lines, or what is there is added, whichever is less.
        most = 2 * used > size * nx
        fill_row(wide, 0.0)
        for r in range(size):
            for x in range(nx):
                if use[starts[k] + r, x] != most:
                    place = r * (nx + PAUSE) + x
                    here = wide[place : place + bell.size]
                    for m in range(bell.size):
                        here[m] += bell[m]
        # Time is a circle.
        fill_row(around, 0.0)
        for m in range(wide.size):
            place = m - before
            place = place + n if place < 0 else place
            around[place - n if place >= n else place] += wide[m]
        for m in range(n):
            around[m] = whole[m] - around[m] if most else around[m]
        for r in range(size):
            row, good = lines[starts[k] + r], use[starts[k] + r]
            here = around[r * (nx + PAUSE) : r * (nx + PAUSE) + nx]
            squares, values = weighed[0, k, r * nx : (r + 1) * nx], weighed[1, k, r * nx : (r + 1) * nx]
            for x in range(nx):
                squares[x] = 1 / (here[x] * here[x]) if good[x] and here[x] != 0 else 0.0
            for x in range(nx):
                values[x] = squares[x] * row[x] if good[x] else 0.0


@kernel
def _add_windows(total, windows, starts, blend):
    """Add windows (number, lines, columns) to the lines from ``starts`` on, each line times its ``blend``."""
    for k in range(starts.size):
        for r in range(blend.size):
            for x in range(total.shape[1]):
                total[starts[k] + r, x] += windows[k, r, x] * blend[r]


def _subarray(lines, use, cutoffs):
    """Noise of a subarray, in the orientation of the readout."""
    use = _without_outliers(lines, use)
    by_size = {}
    for first, stop, pixels in _windows(use):
        enough = pixels > LEAST_PART * (stop - first) * lines.shape[1]
        by_size.setdefault(stop - first, ([], []))[enough].append(first)
    width = lines.shape[1]
    model, total = np.zeros(lines.shape), np.zeros((len(lines), 1))
    for size, (left_out, fitted) in by_size.items():
        # A window counts for most in its middle, and for something everywhere.
        blend = 1.001 - np.abs(np.linspace(-1, 1, size))
        starts = np.array(left_out + fitted)
        _add_windows(total, np.ones((starts.size, size, 1)), starts, blend)
        shared = _filter(size, width, tuple(cutoffs)) if fitted else None
        for k in range(0, len(fitted), TOGETHER):
            starts = np.array(fitted[k : k + TOGETHER])
            weighed = np.empty((2, starts.size, size * width))
            _weigh_windows(weighed, lines, use, starts, size, shared.bell, shared.before, shared.whole)
            noise = shared.noise(shared.coefficients(weighed, width), width)
            _add_windows(model, np.ascontiguousarray(noise), starts, blend)
    return np.divide(model, total, out=model, where=total != 0)

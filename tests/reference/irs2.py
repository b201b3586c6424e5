"""The IRS2 correction, slowly: each output as one vector in time, complex coefficients, whole transforms."""

import numpy as np
import scipy.fft

__all__ = ["correct_group", "read_order", "rows_of_sectors"]

N = 712 * 2048


def read_order():
    """What a line of an output delivers, slot by slot: (science, reference or nothing; position in the line)."""
    slots, position = [], 0

    def deliver(kind, count):
        nonlocal position
        for _ in range(count):
            slots.append((kind, position))
            position += 1

    for _ in range(32):
        deliver("science", 8)
        slots.append(("nothing", -1))
        deliver("reference", 4)
        slots.append(("nothing", -1))
        deliver("science", 8)
    slots.extend([("nothing", -1)] * 8)
    return slots


def rows_of_sectors(detector):
    """Image rows of the 640 positions of each sector: sectors 0, 2 and 4 are read downwards on NRS1; NRS2 is turned."""
    rows = [[640 * s + (639 - p if s % 2 == 0 else p) for p in range(640)] for s in range(5)]
    return np.array(rows) if detector == "NRS1" else 3199 - np.array(rows)


def _filter():
    fall = (np.cos(np.arange(5000) * np.pi / 5000) + 1) / 2
    gain = np.ones(N // 2)
    gain[30268:35268] = fall
    gain[35268 : N // 2 - 35268] = 0
    gain[N // 2 - 35268 : N // 2 - 30268] = fall[::-1]
    # Frequencies k and N - k are treated alike; half the sampling rate passes.
    return np.concatenate([gain, [1.0]])


def correct_group(frame, detector, alpha, beta):
    """Corrected science pixels (2048, 2048) of a frame (3200, 2048) without its mean; alpha, beta (4, N) complex."""
    order = read_order()
    science = [c for c, (kind, _) in enumerate(order) if kind == "science"]
    lines = slice(None) if detector == "NRS1" else slice(None, None, -1)
    time = np.arange(N).reshape(2048, 712) - (N - 1) / 2
    edges = np.r_[0:4, 2044:2048]
    rows, sectors = rows_of_sectors(detector), []
    for sector in range(5):
        samples = np.zeros((2048, 712))
        for c, (kind, position) in enumerate(order):
            if kind != "nothing":
                samples[:, c] = frame[rows[sector, position], lines]
        read = samples != 0
        if read[edges].any():
            slope, intercept = np.polyfit(time[edges][read[edges]], samples[edges][read[edges]], 1)
            samples[read] -= (intercept + slope * time)[read]
        sectors.append(samples)

    output = sectors[0].ravel()
    read = (output != 0).astype(float)
    total, weight = np.zeros(N), np.zeros(N)
    for shift in range(-15, 16):
        w = np.sin(np.pi * (shift + 16) / 32)
        total += w * np.roll(output, shift)
        weight += w * np.roll(read, shift)
    output[read == 0] = np.divide(total, weight, out=np.zeros(N), where=weight > 1e-9)[read == 0]
    known = output.reshape(2048, 712)[:, science]
    for _ in range(3):
        output = scipy.fft.irfft(scipy.fft.rfft(output) * _filter(), N)
        output.reshape(2048, 712)[:, science] = known

    result = np.empty((3200, 2048))
    for k in range(4):
        pixels = np.zeros((2048, 712))
        for block in range(32):
            for slot, source in zip(range(7, 15), (9, 11, 9, 11, 10, 12, 10, 12), strict=True):
                pixels[:, 22 * block + slot] = sectors[k + 1][:, 22 * block + source]
        spectrum = scipy.fft.fft(pixels.ravel()) * beta[k] + scipy.fft.fft(output) * alpha[k]
        correction = scipy.fft.ifft(spectrum).real.reshape(2048, 712)
        for c in science:
            result[rows[k + 1, order[c][1]], lines] = sectors[k + 1][:, c] - correction[:, c]
    science_rows = sorted(rows[k, order[c][1]] for k in range(1, 5) for c in science)
    return result[science_rows]

"""IRS2 readouts of NIRSpec: interleaved reference pixels, a reference output, and noise that they have in common.

The noise of an amplifier is the sum of a part that the reference output sees too, times a factor of the amplifier, and
a part of its own that its reference pixels see. Both have a power spectrum 1/f in time, slot by slot.
"""

import numpy as np

from upramp.kernels._irs2_layout import (
    LINES,
    REFERENCE_POSITIONS,
    REFERENCE_SLOTS,
    ROWS,
    SCIENCE_POSITIONS,
    SCIENCE_SLOTS,
    SECTORS,
    SLOTS,
    science_rows,
    sector_rows,
)
from upramp.simulate.detector_maps import DQ, random_stream

__all__ = [
    "INTERLEAVED_SHAPE",
    "correction_table",
    "flagged_pairs",
    "interleave",
    "interleaved_bias",
    "interleaved_frame",
    "interleaved_mask",
]

INTERLEAVED_SHAPE = (ROWS, LINES)

AMPLIFIER_FACTORS = (0.9, 1.05, 1.1, 0.95)  # of the noise that the reference output sees
OWN_NOISE = 0.5  # rms of the amplifier's own part in units of the common one
REFERENCE_BIAS_OFFSET = 300.0  # DN, of the reference output
# Below the first frequency [cycles per slot] the reference pixels follow the noise, below the second the output does.
PIXEL_LIMIT, OUTPUT_LIMIT = 1 / 100, 1 / 4
# Bad reference pixels (output, odd or even, mask): the second pair of the fourth jump of output 3.
FLAGGED_PAIRS = ((3, 2, 1 << 3),)
BAD_ROW_POSITION = (2, 8 + 20 * 17)  # sector, position of a pair that the mask calls bad


def interleave(config, plane, fill=0):
    """A plane (2048, 2048) spread over the rows of an IRS2 readout; ``fill`` in the rows of references."""
    out = np.full((*plane.shape[:-2], *INTERLEAVED_SHAPE), fill, plane.dtype)
    out[..., science_rows(config.detector), :] = plane
    return out


def interleaved_bias(config, plane):
    """Bias [DN] with that of the reference signals, the same for all lines."""
    out = interleave(config, plane)
    stream = random_stream(config.detector_seed, "IRS2 bias")
    reference = config.bias_level + 0.2 * config.bias_spread * stream.standard_normal(ROWS)
    reference[sector_rows(config.detector)[0]] += REFERENCE_BIAS_OFFSET
    rows = np.setdiff1d(np.arange(ROWS), science_rows(config.detector))
    out[rows] = np.clip(reference[rows], 0, None)[:, None]
    return out


def interleaved_mask(config, dq):
    """Flags with those of the reference signals: BAD_REF_PIXEL means whole rows, so the pixels at the edges lose it."""
    rows = sector_rows(config.detector)
    out = interleave(config, dq & ~DQ["BAD_REF_PIXEL"], DQ["REFERENCE_PIXEL"])
    sector, position = BAD_ROW_POSITION
    out[rows[sector, position : position + 2]] |= DQ["BAD_REF_PIXEL"] | DQ["DO_NOT_USE"]
    return out


def _noise(config, name, *index):
    """1/f noise of a frame in time: (2048, 712) float32 [DN]."""
    stream = random_stream(config.seed, name, *index)
    n = SLOTS * LINES
    frequency = np.arange(n // 2 + 1, dtype=np.float32)
    spectrum = stream.standard_normal((n // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
    spectrum[1:] /= np.sqrt(frequency[1:])
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n)
    noise *= config.one_over_f / noise.std()
    return noise.reshape(LINES, SLOTS)


def interleaved_frame(config, signal, integration, frame):
    """One frame of an IRS2 readout: science signal (2048, 2048) [DN] with the references and noise in common."""
    out = interleaved_bias(config, np.zeros_like(signal))
    out[science_rows(config.detector)] = signal
    rows = sector_rows(config.detector)
    stream = random_stream(config.seed, "IRS2 read noise", integration, frame)
    reference_rows = np.concatenate([rows[0], rows[1:, REFERENCE_POSITIONS].ravel()])
    if config.read_noise:
        out[reference_rows] += config.read_noise * stream.standard_normal((reference_rows.size, LINES), np.float32)
    offsets = config.refpix_offset * stream.standard_normal(SECTORS)
    common = _noise(config, "IRS2 common noise", integration, frame) if config.one_over_f else None
    positions = np.concatenate([SCIENCE_POSITIONS, REFERENCE_POSITIONS])
    slots = np.concatenate([SCIENCE_SLOTS, REFERENCE_SLOTS])
    for sector in range(SECTORS):
        out[rows[sector]] += offsets[sector]
        if common is None:
            continue
        noise = common
        if sector > 0:
            own = _noise(config, "IRS2 own noise", integration, frame, sector)
            noise = AMPLIFIER_FACTORS[sector - 1] * common + OWN_NOISE * own
        lines = noise if config.detector == "NRS1" else noise[::-1]
        out[rows[sector, positions]] += lines[:, slots].T
    return out


def correction_table(config):
    """Coefficients that predict the noise of the simulation: 2 * 712 * 2048 rows, real and imaginary in turn."""
    n = SLOTS * LINES
    k = np.arange(n)
    frequency = np.minimum(k, n - k) / n
    by_pixels, by_output = (np.exp(-((frequency / limit) ** 2)) for limit in (PIXEL_LIMIT, OUTPUT_LIMIT))
    names = [f"{kind}_{sector}" for kind in ("alpha", "beta") for sector in range(4)]
    table = np.zeros((n, 2), [(name, ">f4") for name in names])
    stream = random_stream(config.detector_seed, "IRS2 coefficients")
    # A delay of a part of a sample makes them complex, like real ones.
    delay = np.where(k < n / 2, 1, -1) * frequency
    for sector in range(4):
        # A quarter of a sample late; the eight slots that hold reference pixels are 256 of 712.
        phase = 2 * np.pi * delay * stream.uniform(-0.25, 0.25)
        alpha = AMPLIFIER_FACTORS[sector] * np.clip(by_output - by_pixels, 0, None)
        beta = by_pixels * SLOTS / 256
        for name, values in ((f"alpha_{sector}", alpha), (f"beta_{sector}", beta)):
            table[name][:, 0], table[name][:, 1] = values * np.cos(phase), values * np.sin(phase)
    return table.ravel()


def flagged_pairs():
    """Bad reference pixels as the reference lists them: eight rows."""
    table = np.zeros(8, [("OUTPUT", np.uint16), ("ODD_EVEN", np.uint16), ("MASK", np.uint32)])
    table["OUTPUT"], table["ODD_EVEN"] = np.repeat([1, 2, 3, 4], 2), np.tile([1, 2], 4)
    for output, pair, mask in FLAGGED_PAIRS:
        table["MASK"][2 * (output - 1) + pair - 1] = mask
    return table

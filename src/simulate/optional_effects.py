"""Effects for the steps that are off by default: interference, persistence, charge migration. Off unless asked for."""

import asdf
import numpy as np

from upramp.simulate.detector_maps import random_stream
from upramp.simulate.detectors import DETECTORS, INSTRUMENTS, SAMPLE_TIME_US, samples_per_pixel
from upramp.simulate.files import refuse_to_overwrite

__all__ = ["ChargeTrails", "Interference", "emi_wave", "migrated", "write_emicorr"]

WAVE_VALUES = 500
OVERTONE = 0.3  # size of the second harmonic, in units of the first
SKIPPED_ROW = 7  # samples to pass over a row that is not read
OVERHEAD = 13
# Samples from the start of a row to that of the next, where they differ from the pixels plus OVERHEAD
# (jwst 3.0.0, step emicorr).
ROW_CLOCKS = {"SUB64": 28, "SUB128": 44, "SUB256": 96, "BRIGHTSKY": 162, "MASK1065": 82, "SLITLESSPRISM": 28}
SLOW_FULL = 2333


def emi_wave():
    """One period of the interference for an amplitude of 1: a sine and its first overtone, (500,) float32."""
    phase = 2 * np.pi * (np.arange(WAVE_VALUES) + 0.5) / WAVE_VALUES
    return (np.sin(phase) + OVERTONE * np.sin(2 * phase)).astype(np.float32)


def _clocks(subarray, xsize, ysize, slow=False):
    """Samples from row to row, and of a frame."""
    row = SLOW_FULL if slow else ROW_CLOCKS.get(subarray, xsize // 4 + OVERHEAD)
    return row, ysize * row + (DETECTORS["MIRIMAGE"].rows - ysize) * SKIPPED_ROW


class Interference:
    """A wave of a fixed frequency on top of all samples of MIRI, in the order in which they are read.

    Between two integrations the detector is reset, which takes a frame.

    Parameters
    ----------
    config : SimulationConfig
    """

    def __init__(self, config):
        window = config.geometry
        row, self.frame = _clocks(config.subarray, window.xsize, window.ysize, config.readpatt == "SLOWR1")
        samples = samples_per_pixel(config.readpatt)
        self.config = config
        self.times = np.arange(window.ysize)[:, None] * row + (np.arange(window.xsize) // 4 * samples)[None]
        self.start = random_stream(config.seed, "emi").random()

    def level(self, integration, frame):
        """The wave in a frame, ``integration`` counted from 0 in the exposure: (ny, nx) float64 [DN]."""
        frames = integration * (self.config.frames_per_integration + 1) + frame
        cycles = (self.times + frames * self.frame) * (SAMPLE_TIME_US * 1e-6 * self.config.emi_frequency)
        phase = 2 * np.pi * (cycles + self.start)
        return self.config.emi * (np.sin(phase) + OVERTONE * np.sin(2 * phase))


def write_emicorr(config, path, use_after, overwrite):
    """Write the reference of the interference: its frequency in all subarrays of MIRI.

    Parameters
    ----------
    config : SimulationConfig
    path : Path
    use_after : str
    overwrite : bool

    Returns
    -------
    Path
    """
    name = f"Hz{int(config.emi_frequency)}"
    by_speed = {"FAST": [name], "SLOW": {"MIRIMAGE": [name]}}
    cases = {}
    for subarray in INSTRUMENTS["MIRI"].subarrays.values():
        speeds = ("_FAST", "_SLOW") if subarray.name == "FULL" else ("",)
        for speed in speeds:
            row, frame = _clocks(subarray.name, subarray.xsize, subarray.ysize, speed == "_SLOW")
            cases[subarray.name + speed] = {"rowclocks": row, "frameclocks": frame, "freqs": by_speed}
    tree = {
        "meta": {
            "author": "upramp simulate",
            "date": f"{use_after}.000",
            "description": "Simulated interference",
            "instrument": {"name": "MIRI", "detector": config.detector},
            "origin": "UPRAMP",
            "pedigree": "SIMULATION",
            "reftype": "emicorr",
            "telescope": "JWST",
            "useafter": use_after,
        },
        "frequencies": {name: {"frequency": float(config.emi_frequency), "phase_amplitudes": emi_wave()}},
        "subarray_cases": cases,
    }
    refuse_to_overwrite(path, overwrite)
    asdf.AsdfFile(tree).write_to(path)
    return path


class ChargeTrails:
    """Charge that saturated pixels hold back and give off in later integrations, less and less.

    Parameters
    ----------
    config : SimulationConfig
    shape : (int, int)
        Rows and columns.
    """

    def __init__(self, config, shape):
        self.config = config
        self.saturated_at = np.full(shape, -np.inf)  # [s]
        self.started_at = self.saturated_at.copy()

    def begin_integration(self):
        """From now on pixels give off what they hold back."""
        self.started_at = self.saturated_at.copy()

    def note(self, saturated, time):
        """Pixels that are saturated at a time [s]."""
        self.saturated_at[saturated] = time

    def charge(self, begin, end):
        """What pixels give off between two times [s]: (ny, nx) float64 [DN]."""
        tau = self.config.persistence_decay
        left = [np.exp((self.started_at - time) / tau) for time in (begin, end)]
        return self.config.persistence * tau * (left[0] - left[1])


def migrated(charge, before, fraction, level, sensitive):
    """Charge of all pixels, of which a part of what came last has gone to the neighbours of pixels above a level.

    Parameters
    ----------
    charge, before : (ny, nx) float64
        Now, and before the last frame [DN].
    fraction : float
        Part of the new charge that migrates, a quarter of it to each neighbour.
    level : float
        [DN]
    sensitive : (ny, nx) bool
        Pixels that give and take charge; what others would take is lost.

    Returns
    -------
    (ny, nx) float64
    """
    moving = np.where(sensitive & (charge > level), fraction * np.maximum(charge - before, 0), 0.0)
    padded = np.pad(moving, 1)
    arriving = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return charge - moving + np.where(sensitive, arriving / 4, 0.0)

"""The truth about the detector: what pixels are like, whichever exposure is taken.

The exposure is made with these maps and the reference files are written from them. Every detector row has a
random stream of its own, so that a subarray gets exactly the cut-out of the full frame.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from upramp.simulate.detectors import DETECTORS, REFERENCE_BORDER

__all__ = ["DQ", "DetectorMaps", "detector_maps", "normal_map", "random_stream"]

#: The standard pixel flags that the simulator uses, by name.
DQ = {
    name: np.uint32(1 << bit)
    for name, bit in (
        ("DO_NOT_USE", 0),
        ("DEAD", 10),
        ("HOT", 11),
        ("BAD_REF_PIXEL", 17),
        ("NO_FLAT_FIELD", 18),
        ("NO_LIN_CORR", 20),
        ("NO_SAT_CHECK", 21),
        ("UNRELIABLE_BIAS", 22),
        ("UNRELIABLE_FLAT", 25),
        ("REFERENCE_PIXEL", 31),
    )
}

BAD_REFERENCE_NOISE = 50.0
FULL_WELL_SPREAD = 0.02
NONLINEARITY_SPREAD = 0.05
READ_NOISE_SPREAD = 0.05
DARK_SPREAD = 0.2
DARK_SETTLING_FRAMES = 3.0


@dataclass(frozen=True)
class DetectorMaps:
    """Properties of the pixels of an exposure; arrays are (ny, nx).

    Attributes
    ----------
    bias : float32
        Level without signal [DN].
    gain : float32
        [e-/DN].
    read_noise : float32
        Noise of one read [DN].
    curvature : float64
        a in linear = measured + a measured**2 [1/DN]; 0 for reference pixels.
    full_well : float32
        Measured level above the bias at which the pixel saturates [DN]; inf for reference pixels.
    dark_rate, dark_settling : float32
        Dark current [DN/s] and amplitude of its exponential start [DN]; 0 for reference pixels.
    response : float32
        Sensitivity relative to that of the others; 1 for reference pixels.
    responsive : bool
        False for dead and reference pixels.
    dq : uint32
        DO_NOT_USE, DEAD, HOT, BAD_REF_PIXEL, REFERENCE_PIXEL in the standard bits.
    """

    bias: np.ndarray
    gain: np.ndarray
    read_noise: np.ndarray
    curvature: np.ndarray
    full_well: np.ndarray
    dark_rate: np.ndarray
    dark_settling: np.ndarray
    response: np.ndarray
    responsive: np.ndarray
    dq: np.ndarray

    @property
    def reference_pixels(self):
        """True where a pixel is not sensitive to light."""
        return (self.dq & DQ["REFERENCE_PIXEL"]) != 0

    def dark(self, frame, frame_time):
        """Mean dark signal in the given frame (0 is the first after the reset) [DN]."""
        settled = 1.0 - np.exp(-(frame + 1) / DARK_SETTLING_FRAMES)
        return self.dark_rate * ((frame + 1) * frame_time) + self.dark_settling * settled


def random_stream(seed, name, *index):
    """A generator that depends on nothing but the seed, the name of what is drawn, and indices."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, crc32(name.encode()), *index])))


def _row_map(config, place, name, draw):
    """(ny, nx) map in which every detector row comes from its own stream, drawn over the full width."""
    n_rows, size = DETECTORS[config.detector].shape
    detector_index = list(DETECTORS).index(config.detector)
    rows = np.arange(n_rows)[place.rows].tolist()
    out = np.empty(place.shape, np.float32)
    for i, row in enumerate(rows):
        stream = random_stream(config.detector_seed, name, detector_index, row)
        out[i] = draw(stream, size)[place.columns]
    return out


def normal_map(config, name, place=None):
    """(ny, nx) float32 map of standard normal numbers that belongs to the detector."""
    return _row_map(
        config, place or config.image, name, lambda stream, size: stream.standard_normal(size, dtype=np.float32)
    )


def reference_pixel_mask(place, detector):
    """(ny, nx) bool, True in the border of the detector that has reference pixels."""
    ny, nx = detector.shape
    rows, columns = np.arange(ny)[place.rows][:, None], np.arange(nx)[place.columns][None]
    sides = (columns < REFERENCE_BORDER) | (columns >= nx - REFERENCE_BORDER)
    ends = (rows < REFERENCE_BORDER) | (rows >= ny - REFERENCE_BORDER)
    return np.broadcast_to(sides, place.shape) if detector.interleaved else sides | ends


def detector_maps(config, place=None):
    """Properties of the pixels that the calibrated image covers, or others.

    Parameters
    ----------
    config : SimulationConfig
    place : Window or Lines, optional
        Other pixels of the detector.

    Returns
    -------
    DetectorMaps
        Depends on the detector, its seed and the sizes of the effects only: equal, cut out, for each window.
    """
    place = place or config.image

    def normal(name):
        return normal_map(config, name, place)

    is_reference = reference_pixel_mask(place, DETECTORS[config.detector])
    lottery = _row_map(config, place, "bad pixels", lambda stream, width: stream.random(width, dtype=np.float32))

    dead = ~is_reference & (lottery < config.dead_fraction)
    hot = ~is_reference & ~dead & (lottery > 1 - config.hot_fraction)
    bad_reference = is_reference & (lottery < config.bad_reference_fraction)
    dq = np.zeros(place.shape, np.uint32)
    dq[dead] = DQ["DO_NOT_USE"] | DQ["DEAD"]
    dq[hot] = DQ["HOT"]
    dq[is_reference] = DQ["REFERENCE_PIXEL"]
    dq[bad_reference] |= DQ["DO_NOT_USE"] | DQ["BAD_REF_PIXEL"]

    bias = config.bias_level + config.bias_spread * normal("bias")
    dark_rate = config.dark_rate * np.clip(1 + DARK_SPREAD * normal("dark"), 0, None)
    dark_rate[hot] = config.hot_rate * (0.5 + lottery[hot])
    dark_rate[is_reference] = 0
    full_well = config.full_well * np.clip(1 + FULL_WELL_SPREAD * normal("full well"), 0.5, None)
    # A fraction f of the linear signal F is missing at the measured level F (1 - f) = full well.
    loss = config.nonlinearity * np.clip(1 + NONLINEARITY_SPREAD * normal("nonlinearity"), 0, None)
    scale = config.full_well if np.isfinite(config.full_well) else np.iinfo(np.uint16).max
    curvature = (loss / (1 - loss) / scale).astype(np.float32).astype(np.float64)
    response = 1 + config.flat_spread * normal("flat") if config.flat_spread else 1
    read_noise = config.read_noise * np.exp(READ_NOISE_SPREAD * normal("read noise"))
    read_noise[bad_reference] *= BAD_REFERENCE_NOISE
    return DetectorMaps(
        bias=np.clip(bias, 0, None).astype(np.float32),
        gain=(config.gain * (1 + config.gain_spread * normal("gain"))).astype(np.float32),
        read_noise=read_noise.astype(np.float32),
        curvature=np.where(is_reference, 0.0, curvature),
        full_well=np.where(is_reference, np.inf, full_well).astype(np.float32),
        dark_rate=dark_rate.astype(np.float32),
        dark_settling=np.where(is_reference, 0, config.dark_settling).astype(np.float32),
        response=np.where(is_reference, 1, response).astype(np.float32),
        responsive=~is_reference & ~dead,
        dq=dq,
    )

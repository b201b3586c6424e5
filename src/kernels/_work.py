"""What the compiled driver of the fused schedule needs to know of an exposure: records of places and numbers."""

from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits

__all__ = [
    "CompiledChain",
    "FitRules",
    "JumpRules",
    "KnownFlags",
    "Outputs",
    "RampPlanes",
    "RateTargets",
    "RawSamples",
    "Work",
]


class RawSamples(NamedTuple):
    """The raw exposure: samples (ni * ngroups planes), uint16 as they lie, times ``scale``."""

    samples: Bits
    ngroups: int  # of an integration; a pass may look at fewer
    ny: int
    nx: int
    scale: float


class JumpRules(NamedTuple):
    """`JumpDetection` as compiled code takes it; thresholds in sigma, levels in electrons, times in groups."""

    active: bool = False
    gain: Bits = c.NO_PLANE
    read_noise: Bits = c.NO_PLANE
    mode: int = 0
    threshold: float = 0.0
    four_group_threshold: float = 0.0
    three_group_threshold: float = 0.0
    nframes: int = 1
    flag_neighbors: bool = True
    min_neighbor_sigma: float = 0.0
    max_neighbor_sigma: float = 0.0
    after_electrons_1: float = 0.0
    after_electrons_2: float = 0.0
    after_groups_1: int = 0
    after_groups_2: int = 0
    unused: np.ndarray = np.zeros((0, 0), np.uint8)  # (ni, ng): groups that no pixel of the frame can use


class FitRules(NamedTuple):
    """`RampFitting` as compiled code takes it, and the factor of gain_scale."""

    active: bool = False
    gain: Bits = c.NO_PLANE
    read_noise: Bits = c.NO_PLANE
    average_dark: Bits = c.NO_PLANE
    weights: np.ndarray = np.zeros(0)
    suppress: int = 1
    noise_scale: float = 1.0
    group_time: float = 1.0
    frame_time: float = 1.0
    first_time: float = 1.0
    gain_factor: float = 1.0
    start: int = 0  # groups from here
    stop: int = 0  # to here (exclusive) are fitted
    likelihood: bool = False
    readout: np.ndarray = np.zeros((0, 0))
    limit_one: float = 0.0
    limit_two: float = 0.0
    unused: np.ndarray = np.zeros((0, 0), np.uint8)  # (ni, ng): groups that most pixels of the frame cannot use


class KnownFlags(NamedTuple):
    """Flags that an earlier pass has found, in place of saturation and jumps.

    ``gdq`` replaces all group flags; the flags of the saturation reference and bad gains go to the pixel flags.
    """

    active: bool = False
    gdq: Bits = c.NO_PLANE
    saturation: c.Saturation = c.Saturation()
    gain: Bits = c.NO_PLANE


class CompiledChain(NamedTuple):
    """What `fused` does, in this order: that of the near infrared and that of MIRI agree in what they share.

    Only the reference pixels of MIRI, ``side_pixels``, come elsewhere than those of the others.
    """

    mask: c.StaticMask
    saturation: c.Saturation
    ipc: c.InterPixelCapacitance
    first_group: c.FirstGroup
    last_group: c.LastGroup
    reset: c.ResetAnomaly
    superbias: c.SuperBias
    refpix: c.ReferencePixels
    linearity: c.Linearity
    rscd: c.SwitchCharge
    dark: c.DarkCurrent
    side_pixels: c.SidePixels
    charge_migration: c.ChargeMigration
    jump: JumpRules
    persistence: c.Persistence
    fit: FitRules
    known: KnownFlags = KnownFlags()


class RampPlanes(NamedTuple):
    """Where a calibrated ramp goes, as it lies: data float32, group flags uint8, pixel flags uint32.

    Group flags may be wanted alone.
    """

    data: Bits
    gdq: Bits
    pdq: Bits


class RateTargets(NamedTuple):
    """Where slopes go, as it lies: float32, flags uint32."""

    slope: Bits
    err: Bits
    var_poisson: Bits
    var_rnoise: Bits
    dq: Bits


class Outputs(NamedTuple):
    """Where results go; empty planes for what is not wanted."""

    rate: RateTargets
    integrations: RateTargets
    ramp: RampPlanes


class Work(NamedTuple):
    """All that compiled code needs to know of an exposure."""

    raw: RawSamples
    chain: CompiledChain
    outputs: Outputs

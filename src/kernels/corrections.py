"""What each correction of the stage-1 chain needs: its reference planes as they lie, and its parameters.

A correction is described once, by one of the tuples below, and is then done by either schedule: stepwise, over a
whole native ramp (`upramp.kernels.stepwise`), or fused with its neighbours, tile by tile (`upramp.kernels.fused`).
Compiled code gets a tuple as a record (`record_dtype`), so the types of its fields never change: an absent correction
has ``active`` False and empty planes.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from upramp.kernels._bits import PLANE, Bits, as_bits
from upramp.kernels.jump import JumpParameters
from upramp.kernels.showers import ShowerParameters
from upramp.kernels.snowballs import SnowballParameters

__all__ = [
    "NO_PLANE",
    "ChargeMigration",
    "DarkCurrent",
    "FirstGroup",
    "FrameScale",
    "InterPixelCapacitance",
    "InterleavedReference",
    "JumpDetection",
    "LastGroup",
    "Linearity",
    "Persistence",
    "PixelCapacitance",
    "RampFitting",
    "ReferenceMeasurement",
    "ReferencePixels",
    "ResetAnomaly",
    "Saturation",
    "SideMeasurement",
    "SidePixels",
    "StaticMask",
    "SuperBias",
    "SwitchCharge",
]

ARRAY = np.dtype([("address", np.int64), ("n0", np.int64), ("n1", np.int64), ("n2", np.int64)], align=True)
"""A native array of up to three dimensions in compiled code; unused lengths are 1."""

_RECORD_TYPES = {bool: np.dtype(np.bool_), int: np.dtype(np.int64), float: np.dtype(np.float64)}
_RECORD_TYPES |= {Bits: PLANE, np.ndarray: ARRAY}


@cache
def record_dtype(description):
    """Record dtype of a tuple class whose fields are numbers, `Bits`, arrays, or such tuples themselves."""
    fields = [
        (name, _RECORD_TYPES.get(kind) or record_dtype(kind)) for name, kind in description.__annotations__.items()
    ]
    return np.dtype(fields, align=True)


def fill_record(record, description):
    """Copy a tuple into a record of its `record_dtype`; arrays are referred to, the tuple must outlive the record."""
    for name, value in zip(description._fields, description, strict=True):
        if isinstance(value, Bits):
            record[name] = value.record()
        elif isinstance(value, np.ndarray):
            lengths = (*value.shape, 1, 1, 1)[:3]
            record[name] = (value.__array_interface__["data"][0], *lengths)
        elif isinstance(value, tuple):
            fill_record(record[name], value)
        else:
            record[name] = value


NO_PLANE = as_bits(np.zeros((0, 1, 1), np.uint32), np.uint32)


class FrameScale(NamedTuple):
    """Undo the on-board divisor of the frame average: every sample times ``factor``."""

    active: bool = False
    factor: float = 1.0


class StaticMask(NamedTuple):
    """Bad pixels known beforehand: ``mask`` (uint32 flags)."""

    active: bool = False
    mask: Bits = NO_PLANE


class Saturation(NamedTuple):
    """Flag saturated groups: ``threshold`` [DN] and its flags, ``bias`` [DN] for the second-group test."""

    active: bool = False
    threshold: Bits = NO_PLANE
    flags: Bits = NO_PLANE
    bias: Bits = NO_PLANE
    has_bias: bool = False
    grow: int = 1
    nframes: int = 1
    use_read_pattern: bool = True
    irs2_detector: int = 0  # 1, 2 for an IRS2 readout of NRS1, NRS2


class InterPixelCapacitance(NamedTuple):
    """Deconvolve charge seen by neighbours: ``kernel`` (k, k); science pixels are the rows and columns inside."""

    active: bool = False
    kernel: np.ndarray = np.ones((1, 1), np.float32)
    first_science_row: int = 0
    last_science_row: int = 0
    first_science_column: int = 0
    last_science_column: int = 0


class FirstGroup(NamedTuple):
    """MIRI: leave out the first group, with ``keep_bright`` not where the third is saturated."""

    active: bool = False
    keep_bright: bool = True


class LastGroup(NamedTuple):
    """MIRI: leave out the last group."""

    active: bool = False


class SwitchCharge(NamedTuple):
    """MIRI: leave out the first skips[i] groups (RSCD); ``n_first`` integrations (0 or 1) are counted apart."""

    active: bool = False
    skips: np.ndarray = np.zeros(0, np.int64)  # (ni,)
    n_first: int = 0


class ResetAnomaly(NamedTuple):
    """MIRI: subtract the transient after a reset [DN] from the first ``groups`` groups.

    Integration i takes ``groups`` of the planes from ``per_integration * integrations[i]`` on.
    """

    active: bool = False
    frames: Bits = NO_PLANE
    flags: Bits = NO_PLANE
    integrations: np.ndarray = np.zeros(0, np.int64)
    per_integration: int = 0
    groups: int = 0


class SuperBias(NamedTuple):
    """Subtract the reset level: ``bias`` [DN] and its flags."""

    active: bool = False
    bias: Bits = NO_PLANE
    flags: Bits = NO_PLANE


class PixelCapacitance(NamedTuple):
    """The same with a kernel of its own for every pixel: (k, k, ny, nx) float32. Stepwise only."""

    kernel: np.ndarray
    limits: tuple  # first, last science row, first, last science column of the exposure's arrays


class ReferenceMeasurement(NamedTuple):
    """How reference pixels are to be measured: detector, place of the exposure in it, parameters of the step.

    With ``side_kernels`` (see `upramp.kernels.sirs`) side pixels are convolved, and outliers among them are those
    beyond ``sigreject`` standard deviations.
    """

    detector: str
    row0: int
    column0: int
    noutputs: int
    subarray: str
    parameters: dict
    striped: bool = False  # stripes of the detector, see `upramp.kernels.stripes`
    side_kernels: np.ndarray | None = None
    sigreject: float = 4.0


class ReferencePixels(NamedTuple):
    """Subtract amplifier offsets and row drifts measured on the reference pixels, given as vectors [DN]."""

    active: bool = False
    by_column: np.ndarray = np.zeros((0, 0, 0))  # (ni, ng, nx) float64
    by_row: np.ndarray = np.zeros((0, 0, 0))  # (ni, ng, ny) float64
    columns_first: bool = True
    frames: Bits = NO_PLANE  # IRS2 instead: samples after superbias and this correction, (ni * ng planes), and flags
    flags: Bits = NO_PLANE


class InterleavedReference(NamedTuple):
    """IRS2: filter the reference signals of a readout with measured coefficients (`upramp.kernels.irs2`)."""

    detector: str
    # (2 * 1458176, 8) float32, an array or a mapped one: real and imaginary parts of each frequency in turn, alpha and
    # then beta of four sectors
    table: object
    flagged_pairs: tuple  # bad reference pixels: (output, pair, mask)
    n_sigma: float
    # offsets of the sectors are subtracted first, by themselves for even and odd columns; limit of the clipped means
    subtract_means: bool = False
    odd_even_columns: bool = True
    siglimit: float = 3.0


class SideMeasurement(NamedTuple):
    """How the reference columns of MIRI are to be measured."""

    odd_even_rows: bool
    siglimit: float


class SidePixels(NamedTuple):
    """MIRI: subtract what amplifiers have drifted since the first group of an integration [DN]."""

    active: bool = False
    drifts: np.ndarray = np.zeros((0, 0, 0))  # (ni, ng, 8) float64


class Linearity(NamedTuple):
    """Polynomial correction: ``coefficients`` (one plane per order) and their flags.

    With the ``inverse`` polynomial groups of ``nframes`` reads are corrected read by read.
    """

    active: bool = False
    coefficients: Bits = NO_PLANE
    flags: Bits = NO_PLANE
    inverse: Bits = NO_PLANE
    nframes: int = 1


class DarkCurrent(NamedTuple):
    """Subtract the dark ramp: science group g takes the mean of ``counts[g]`` reference frames from ``starts[g]``.

    Integration i takes its frames from the ``per_integration`` ones from ``per_integration * integrations[i]`` on;
    without ``integrations`` all frames are for every one.
    """

    active: bool = False
    frames: Bits = NO_PLANE
    flags: Bits = NO_PLANE
    starts: np.ndarray = np.zeros(0, np.int64)
    counts: np.ndarray = np.zeros(0, np.int64)
    direct: bool = True  # frame g is the one for group g
    integrations: np.ndarray = np.zeros(0, np.int64)
    per_integration: int = 0


class ChargeMigration(NamedTuple):
    """Leave out groups from the first signal above ``threshold`` [DN] on, in a pixel and its neighbours."""

    active: bool = False
    threshold: float = 0.0


class JumpDetection(NamedTuple):
    """Find jumps: planes [e-/DN] and [DN, difference of two reads]; and snowballs and showers, unless None."""

    gain: Bits
    read_noise: Bits
    nframes: int
    group_time: float
    parameters: JumpParameters
    snowballs: SnowballParameters | None = None
    showers: ShowerParameters | None = None


class Persistence(NamedTuple):
    """Flag groups of pixels that remember a bright source: ``until`` when they do [s] changes as the groups pass.

    The groups end at ``times`` [s]; a signal is remembered for ``duration`` [s] if saturated or above ``threshold``
    [DN] (NaN: saturated only).
    """

    active: bool = False
    until: np.ndarray = np.zeros((0, 0))  # (ny, nx) float64
    times: np.ndarray = np.zeros((0, 0))  # (ni, ng) float64
    duration: float = 0.0
    threshold: float = 0.0
    flags: int = 0


class RampFitting(NamedTuple):
    """Fit slopes: planes [e-/DN], [DN, difference of two reads] and [DN/s]; times in seconds."""

    active: bool = False
    gain: Bits = NO_PLANE
    read_noise: Bits = NO_PLANE
    average_dark: Bits = NO_PLANE
    group_time: float = 1.0
    frame_time: float = 1.0
    nframes: int = 1
    groupgap: int = 0
    suppress_one_group: bool = True
    miri: bool = False  # groups at the ends that no pixel can use are cut off
    read_times: tuple = ()  # times of the reads of every group [s]: fit by likelihood

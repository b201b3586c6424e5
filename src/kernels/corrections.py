"""What each correction of the stage-1 chain needs: its reference planes as they lie, and its parameters.

A correction is described once, by one of the tuples below, and is then done by either schedule: stepwise, over a
whole native ramp (`upramp.kernels.stepwise`), or fused with its neighbours, tile by tile (`upramp.kernels.fused`).
Compiled code gets a tuple as a record (`record_dtype`), so the types of its fields never change: an absent correction
has ``active`` False and empty planes.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._bits import PLANE, Bits, as_bits
from upramp.kernels.jump import JumpParameters

__all__ = [
    "NO_PLANE",
    "DarkCurrent",
    "FrameScale",
    "InterPixelCapacitance",
    "JumpDetection",
    "Linearity",
    "PixelCapacitance",
    "RampFitting",
    "ReferenceMeasurement",
    "ReferencePixels",
    "Saturation",
    "StaticMask",
    "SuperBias",
]

ARRAY = np.dtype([("address", np.int64), ("n0", np.int64), ("n1", np.int64), ("n2", np.int64)], align=True)
"""A native array of up to three dimensions in compiled code; unused lengths are 1."""

_RECORD_TYPES = {bool: np.dtype(np.bool_), int: np.dtype(np.int64), float: np.dtype(np.float64)}
_RECORD_TYPES |= {Bits: PLANE, np.ndarray: ARRAY}


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


class InterPixelCapacitance(NamedTuple):
    """Deconvolve charge seen by neighbours: ``kernel`` (k, k); science pixels are the rows and columns inside."""

    active: bool = False
    kernel: np.ndarray = np.ones((1, 1), np.float32)
    first_science_row: int = 0
    last_science_row: int = 0
    first_science_column: int = 0
    last_science_column: int = 0


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
    """How reference pixels are to be measured: detector, place of the exposure in it, parameters of the step."""

    detector: str
    row0: int
    column0: int
    noutputs: int
    subarray: str
    parameters: dict


class ReferencePixels(NamedTuple):
    """Subtract amplifier offsets and row drifts measured on the reference pixels, given as vectors [DN]."""

    active: bool = False
    by_column: np.ndarray = np.zeros((0, 0, 0))  # (ni, ng, nx) float64
    by_row: np.ndarray = np.zeros((0, 0, 0))  # (ni, ng, ny) float64
    columns_first: bool = True


class Linearity(NamedTuple):
    """Polynomial correction: ``coefficients`` (one plane per order) and their flags."""

    active: bool = False
    coefficients: Bits = NO_PLANE
    flags: Bits = NO_PLANE


class DarkCurrent(NamedTuple):
    """Subtract the dark ramp: science group g takes the mean of ``counts[g]`` reference frames from ``starts[g]``."""

    active: bool = False
    frames: Bits = NO_PLANE
    flags: Bits = NO_PLANE
    starts: np.ndarray = np.zeros(0, np.int64)
    counts: np.ndarray = np.zeros(0, np.int64)
    direct: bool = True  # frame g is the one for group g


class JumpDetection(NamedTuple):
    """Find jumps: planes [e-/DN] and [DN, difference of two reads]."""

    gain: Bits
    read_noise: Bits
    nframes: int
    group_time: float
    parameters: JumpParameters


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
    read_times: tuple = ()  # times of the reads of every group [s]: fit by likelihood

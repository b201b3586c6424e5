"""Where the samples of an IRS2 readout are in the image, and when they were read.

A line of the detector is read by five outputs at once: the reference output (sector 0) and four amplifiers (sectors 1
to 4). Each delivers 640 samples: 8 science pixels, then 4 reference pixels between every 16 science pixels, 32 times,
and 8 science pixels. In time a line has 712 *slots* of 10 microseconds: one is lost before and after every jump to the
reference pixels, and 8 at the end of the line. Neighbouring sectors are read in opposite directions.

In the image the 3200 samples of a line run along a column: NRS1 has sector 0 at the bottom, NRS2 is turned by 180
degrees. So one row of the image is one slot of one sector, for all 2048 lines.
"""

import numpy as np

from upramp.kernels._jit import kernel

__all__ = [
    "DETECTORS",
    "EDGE_LINES",
    "GAP_SLOTS",
    "LINES",
    "PAIR_STARTS",
    "REFERENCE_SLOTS",
    "ROWS",
    "SCIENCE_SLOTS",
    "SECTOR",
    "SECTORS",
    "SLOTS",
    "SPREAD_SLOTS",
    "SPREAD_SOURCE",
    "is_interleaved",
    "science_row",
    "science_rows",
    "sector_rows",
]

DETECTORS = ("NRS1", "NRS2")
LINES = 2048
EDGE_LINES = np.array([0, 1, 2, 3, LINES - 4, LINES - 3, LINES - 2, LINES - 1])
SECTOR = 640
SECTORS = 5
ROWS = SECTOR * SECTORS
SCIENCE_RUN, REFERENCE_RUN = 16, 4
PERIOD = SCIENCE_RUN + REFERENCE_RUN
JUMP_SLOTS, LINE_SLOTS = 2, 8
BLOCKS = 32
SLOTS = BLOCKS * (PERIOD + JUMP_SLOTS) + LINE_SLOTS

_science = np.arange(512)
_reference = np.arange(BLOCKS * REFERENCE_RUN)
_jumps_before = (_science + SCIENCE_RUN // 2) // SCIENCE_RUN

# Position in the sector (in the order of reading) and slot of the science and the reference pixels.
SCIENCE_POSITIONS = _science + REFERENCE_RUN * _jumps_before
REFERENCE_POSITIONS = _reference + SCIENCE_RUN * (_reference // REFERENCE_RUN) + SCIENCE_RUN // 2
SCIENCE_SLOTS = _science + (REFERENCE_RUN + JUMP_SLOTS) * _jumps_before
REFERENCE_SLOTS = REFERENCE_POSITIONS + JUMP_SLOTS * (_reference // REFERENCE_RUN) + 1
GAP_SLOTS = np.setdiff1d(np.arange(SLOTS), SCIENCE_SLOTS)

# The reference signal of an amplifier holds each pair of reads of two reference pixels twice, in the order
# 0 2 0 2 1 3 1 3, in the eight slots around them.
SPREAD_SLOTS = ((PERIOD + JUMP_SLOTS) * np.arange(BLOCKS)[:, None] + SCIENCE_RUN // 2 - 1 + np.arange(8)).ravel()
SPREAD_SOURCE = (REFERENCE_RUN * np.arange(BLOCKS)[:, None] + [0, 2, 0, 2, 1, 3, 1, 3]).ravel()

PAIR_STARTS = (PERIOD * np.arange(BLOCKS)[:, None] + SCIENCE_RUN // 2 + [0, 2]).ravel()
"""First rows of the pairs of reads of one reference pixel, in a sector."""


def is_interleaved(shape):
    """Whether arrays of this shape (..., rows, columns) are an IRS2 readout."""
    return len(shape) >= 2 and tuple(shape[-2:]) == (ROWS, LINES)


def sector_rows(detector):
    """Image rows of the samples of each sector, in the order of reading: (5, 640) int64."""
    along = np.arange(SECTOR)
    rows = np.stack([SECTOR * s + (along[::-1] if s % 2 == 0 else along) for s in range(SECTORS)])
    return rows if detector == "NRS1" else ROWS - 1 - rows


@kernel
def science_row(row, turned):
    """Image row of a row of science pixels; ``turned``: of NRS2."""
    counted = LINES - 1 - row if turned else row
    place = SECTOR + counted + REFERENCE_RUN * ((counted + SCIENCE_RUN // 2) // SCIENCE_RUN)
    return ROWS - 1 - place if turned else place


def science_rows(detector):
    """Image rows with science pixels, bottom first: (2048,) int64."""
    return np.sort(sector_rows(detector)[1:, SCIENCE_POSITIONS].ravel())

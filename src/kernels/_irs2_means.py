"""IRS2: offsets of the sectors of a readout, which refpix subtracts first if it is asked to.

Frames here are those of the detector: 2048 lines of 3200 samples, in sectors of 640. The first and the last four lines
are reference pixels. In every group, what they show in a sector is subtracted from all samples of the sector, by itself
for two classes of samples if asked for: samples with an even and with an odd place in the line, but for the reads of
interleaved reference pixels, of which the first pair of every four belongs to the first class and the second pair to
the second.

Source: reference behaviour.
"""

import numpy as np

from upramp.kernels._irs2_layout import EDGE_LINES, LINES, PAIR_STARTS, ROWS, SECTOR, SECTORS
from upramp.kernels._jit import run_rows
from upramp.kernels._refpix_statistics import mean_of_edges

__all__ = ["level", "sector_offsets"]

_LOADED = 64  # rows that are loaded at once

_FIRST_CLASS = np.arange(SECTOR) % 2 == 0
_FIRST_CLASS[[PAIR_STARTS[::2], PAIR_STARTS[::2] + 1]] = True
_FIRST_CLASS[[PAIR_STARTS[1::2], PAIR_STARTS[1::2] + 1]] = False


def _offsets_of_frame(edges, flags, odd_even, siglimit):
    """Offsets [DN] of the 3200 places of a line from the edge lines (8, 3200) of a group; 0 without a good pixel."""
    classes = [_FIRST_CLASS, ~_FIRST_CLASS] if odd_even else [np.ones(SECTOR, np.bool_)]
    offsets = np.zeros(ROWS, np.float32)
    for sector in range(SECTORS):
        places = [sector * SECTOR + np.flatnonzero(members) for members in classes]
        means = [mean_of_edges(edges[:, own].copy(), flags[:, own].copy(), siglimit) for own in places]
        if all(found for found, _ in means):
            for own, (_, mean) in zip(places, means, strict=True):
                offsets[own] = mean
    return offsets


def sector_offsets(load, ngroups, flags, detector, odd_even, siglimit, threads=None):
    """Measure the offsets of all groups of an integration.

    Parameters
    ----------
    load : callable
        As in `upramp.kernels.irs2.correct_integration`.
    ngroups : int
    flags : (3200, 8) uint32
        Pixel flags of the edge lines, which are columns of the image; DO_NOT_USE pixels do not count.
    detector : str
        NRS1 or NRS2.
    odd_even : bool
        Two classes of samples have offsets of their own.
    siglimit : float
        Limit of the clipped means [sigma].
    threads : int or None

    Returns
    -------
    (ngroup, 3200) float32
        Of the rows of the image [DN].
    """
    # Turned or not, the classes are the same; the order of the sums in float32 is that of the reference.
    turn = np.s_[:] if detector == "NRS1" else np.s_[::-1]
    offsets = np.empty((ngroups, ROWS), np.float32)

    def measure(first, last):
        rows, edges = np.empty((_LOADED, LINES), np.float32), np.empty((ROWS, EDGE_LINES.size), np.float32)
        for group in range(first, last):
            for row in range(0, ROWS, _LOADED):
                load(rows, group, row, row + _LOADED)
                edges[row : row + _LOADED] = rows[:, EDGE_LINES]
            frame, its = edges.T[turn, turn], flags.T[turn, turn]
            offsets[group, turn] = _offsets_of_frame(frame, its, odd_even, siglimit)

    run_rows(measure, ngroups, threads=threads, block=1)
    return offsets


def level(load, offsets):
    """The function ``load`` for samples without the offsets of `sector_offsets`."""

    def load_level(rows, group, first, last):
        load(rows, group, first, last)
        rows -= offsets[group, first:last, np.newaxis]

    return load_level

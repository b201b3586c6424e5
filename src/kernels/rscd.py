"""Leave out the groups of MIRI ramps that the reset switch charge decay disturbs (RSCD).

The first ``s`` groups of an integration get DO_NOT_USE; ``s`` depends on the integration being the first of the
exposure or a later one (`rscd_skips`). A pixel that saturates early keeps more of them: with F the first saturated
group, counted from 1, only ``min(s, max(F - 3, 0))`` groups are left out, so that two usable ones remain, and the pixel
gets FLUX_ESTIMATED. A pixel saturated in its first group cannot be saved and loses all ``s``. Flags other than
SATURATED are not looked at.

Source: reference behaviour. Saturation is taken to last until the end of the integration once it has begun.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, FLUX_ESTIMATED, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, check_shape
from upramp.kernels._rows import fill_row
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "MINIMUM_GROUPS",
    "TALLIES",
    "RscdCounts",
    "RscdSkips",
    "flag_rscd_in_place",
    "flag_rscd_tile",
    "rscd_skips",
    "summarize",
]

MINIMUM_GROUPS = 3
FEW_GROUPS = 5  # up to so many groups, one is skipped in every integration
TALLIES = 6  # what is counted in each row: three numbers for the first integration, three for later ones


class RscdSkips(NamedTuple):
    """Groups to skip: in each integration at hand, and what the header says of the first and of later integrations.

    ``first`` is None where the first integration of the exposure is not at hand, ``later`` where there is only one.
    """

    skips: np.ndarray  # (nint,) int64
    first: int | None
    later: int | None


class RscdCounts(NamedTuple):
    """Pixels of the first integration, or of later ones, whose skip was lowered; and of these with nothing skipped."""

    lowered: int
    nothing_skipped: int


def rscd_skips(n_groups, n_integrations, exposure_integrations, first_integration, skip_first, skip_later):
    """How many groups are skipped in each integration.

    Parameters
    ----------
    n_groups : int
        Groups per integration, at least 3.
    n_integrations : int
        Integrations at hand.
    exposure_integrations : int
        Integrations of the exposure (NINTS).
    first_integration : int
        Number of the first integration at hand in its exposure, from 1.
    skip_first, skip_later : int
        Groups to skip in the first integration of the exposure and in later ones; a negative ``skip_first`` (of
        references of an old kind) counts as 1.

    Returns
    -------
    RscdSkips

    Raises
    ------
    ShapeError
        Fewer than 3 groups.
    """
    if n_groups < MINIMUM_GROUPS:
        raise ShapeError(f"the exposure has {n_groups} groups; leaving some out needs at least {MINIMUM_GROUPS}")
    skip_first = 1 if skip_first < 0 else skip_first
    if n_groups <= FEW_GROUPS:
        skip_first = skip_later = 1
    # Three groups stay: two to fit, and the last one, which lastframe leaves out.
    first, later = (int(min(skip, n_groups - 3)) for skip in (skip_first, skip_later))
    skips = np.full(n_integrations, later if exposure_integrations > 1 else 0, np.int64)
    if first_integration == 1:
        skips[:1] = first
    return RscdSkips(skips, first if first_integration == 1 else None, later if exposure_integrations > 1 else None)


@helper
def _count_unsaturated(count, going, gdq, i, n, r, left, right):
    """How many of the first ``n`` groups come before saturation, for each pixel."""
    fill_row(count, 0)
    fill_row(going, 1)
    for k in range(n):
        q = gdq[i, k, r, left:right]
        for x in range(q.size):
            going[x] = going[x] & (1 - ((q[x] & SATURATED) >> 1))
            count[x] += going[x]


@helper
def _any_saturated(gdq, i, n, r, left, right):
    """Whether some pixel is saturated in one of the first ``n`` groups."""
    found = np.uint8(0)
    for k in range(n):
        q = gdq[i, k, r, left:right]
        for x in range(q.size):
            found |= q[x]
    return (found & SATURATED) != 0


@kernel
def flag_rscd_tile(tallies, gdq, pdq, skips, n_first, first, last, left, right):
    """Flag the first skips[i] groups of integration i; the first ``n_first`` integrations are counted apart.

    Adds to ``tallies`` (ny, 6) int64: pixels with fewer groups left out, pixels with none, pixels saturated early
    enough to matter, of the first integration and of later ones.
    """
    n = right - left
    scratch = np.empty((5, n), np.int32)
    count, going, lowered, nothing, early = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for r in range(first, last):
        p = pdq[r, left:right]
        for later in range(2):
            fill_row(lowered, 0)
            fill_row(nothing, 0)
            fill_row(early, 0)
            begin, end = (n_first, skips.size) if later else (0, n_first)
            for i in range(begin, end):
                skip = np.int32(skips[i])
                if skip > 0 and not _any_saturated(gdq, i, skip + 2, r, left, right):
                    # As what follows does, which took 4 % of a chain of MIRI; this takes less than 2.
                    for k in range(skip):
                        q = gdq[i, k, r, left:right]
                        for x in range(n):
                            q[x] |= np.uint8(DO_NOT_USE)
                    continue
                _count_unsaturated(count, going, gdq, i, skip + 2, r, left, right)
                for x in range(n):
                    affected = (count[x] > 0) & (count[x] < skip + 2)
                    early[x] |= affected
                    count[x] = max(count[x] - 2, 0) if affected else skip
                    lowered[x] |= count[x] < skip
                    nothing[x] |= count[x] == 0
                for k in range(skip):
                    q = gdq[i, k, r, left:right]
                    for x in range(n):
                        q[x] |= DO_NOT_USE if k < count[x] else 0
            for x in range(n):
                p[x] |= FLUX_ESTIMATED if lowered[x] != 0 else 0
            tallies[r, 3 * later] += lowered.sum()
            tallies[r, 3 * later + 1] += nothing.sum()
            tallies[r, 3 * later + 2] += early.sum()


def summarize(tallies):
    """`RscdCounts` of the first integration and of later ones, from the tallies of `flag_rscd_tile`.

    Pixels without a skipped group only count where any pixel saturates early (reference behaviour).
    """
    total = tallies.sum(axis=0).reshape(2, 3)
    return tuple(RscdCounts(int(lowered), int(nothing) if early else 0) for lowered, nothing, early in total)


def flag_rscd_in_place(gdq, pdq, skips, n_first, threads=None):
    """Leave out the first groups of every integration.

    Parameters
    ----------
    gdq : (nint, ngroup, ny, nx) uint8
        Group flags, changed.
    pdq : (ny, nx) uint32
        Pixel flags, changed.
    skips : (nint,) int64
        Groups to leave out in each integration, see `rscd_skips`; two more than that must be there.
    n_first : int
        1 if the first integration at hand is the first of the exposure, else 0.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (RscdCounts, RscdCounts)
        Of the first integration of the exposure, and of later ones.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    """
    require_in_place(gdq, "groupdq", np.uint8, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    check_shape(pdq, "pixeldq", gdq.shape[-2:])
    skips = np.ascontiguousarray(skips, np.int64)
    check_shape(skips, "skips", gdq.shape[:1])
    if skips.size and skips.max() + 2 > gdq.shape[1]:
        raise ShapeError(f"{skips.max()} groups are to be left out of {gdq.shape[1]}; at least two must stay")
    tallies = np.zeros((gdq.shape[2], TALLIES), np.int64)

    def flag(gdq, *arguments):
        flag_rscd_tile(tallies, gdq, *arguments)

    run_tile(flag, gdq, pdq, skips, int(n_first), threads=threads)
    return summarize(tallies)

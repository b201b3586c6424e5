"""How well snowballs are flagged: group flags against what was simulated."""

from typing import NamedTuple

import numpy as np

__all__ = ["FLAGGED", "SnowballMeasures", "measure_snowballs"]

_SATURATED, _JUMP = 2, 4
FLAGGED = 0.9  # part of the pixels of an event that must be flagged for it to count as found


class SnowballMeasures(NamedTuple):
    """Result of `measure_snowballs`.

    n_events : simulated events that could be seen
    completeness : part of them of whose pixels at least `FLAGGED` are flagged in their group, after the search
    completeness_before : the same before it, by the search for jumps alone
    coverage, coverage_before : mean part of the pixels of an event that are flagged
    n_added : jump flags that the search has added, but for afterimages of the integration before
    purity : part of these that lie within the reach of an event in its group; NaN if none was added
    """

    n_events: int
    completeness: float
    completeness_before: float
    coverage: float
    coverage_before: float
    n_added: int
    purity: float


def measure_snowballs(events, before, after, reach=2.5):
    """Compare group flags with simulated snowballs.

    Parameters
    ----------
    events : (n,) SNOWBALL_DTYPE
        What was simulated; those that come after the last group, or in the first one, cannot be seen.
    before, after : (nint, ngroup, ny, nx) uint8
        Group flags without and with the search for snowballs.
    reach : float
        A flag belongs to an event if it is within so many radii of its halo.

    Returns
    -------
    SnowballMeasures

    Notes
    -----
    The pixels of an event are those inside its halo; saturated ones are flagged. A halo that falls below the noise
    before its edge cannot be flagged by jumps alone: that is what the enlargement is for.
    """
    ng, ny, nx = after.shape[1:]
    rows, columns = np.indices((ny, nx))
    allowed = np.zeros(after.shape, bool)
    parts = []
    visible = events[(events["group"] >= 1) & (events["group"] < ng)]
    for event in visible:
        i, k = event["integration"], event["group"]
        distance = np.hypot(rows - event["y"], columns - event["x"])
        inside = distance < event["halo_radius"]
        # Cores grow in all later groups.
        allowed[i, k:] |= distance < reach * event["halo_radius"]
        parts.append([(flags[i, k, inside] & (_SATURATED | _JUMP) != 0).mean() for flags in (before, after)])
    if not parts:
        parts = [(np.nan, np.nan)]
    coverage_before, coverage = np.mean(parts, axis=0).tolist()
    complete_before, complete = np.mean(np.array(parts) >= FLAGGED, axis=0).tolist()
    added = ((after & ~before) & _JUMP) != 0
    afterimages = np.zeros((after.shape[0], 1, ny, nx), bool)
    afterimages[1:, 0] = ((after & ~before) & _SATURATED).any(axis=1)[:-1] | (before & _SATURATED).any(axis=1)[:-1]
    added &= ~afterimages
    n_added = int(np.count_nonzero(added))
    purity = np.count_nonzero(added & allowed) / n_added if n_added else np.nan
    return SnowballMeasures(len(visible), complete, complete_before, coverage, coverage_before, n_added, float(purity))

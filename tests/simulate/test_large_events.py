"""Completeness and purity of snowball flags: the measure itself, and what the search reaches."""

import numpy as np
import pytest

from upramp.kernels.snowballs import SnowballParameters, flag_snowballs
from upramp.simulate import SNOWBALL_DTYPE, measure_snowballs

SAT, JUMP = 2, 4


def discs(events, shape, radius, flag):
    """Flags inside a radius, a field of the events, from their group on if it is saturation."""
    gdq = np.zeros(shape, np.uint8)
    y, x = np.indices(shape[2:])
    for event in events:
        inside = np.hypot(y - event["y"], x - event["x"]) < radius(event)
        groups = slice(event["group"], None if flag == SAT else event["group"] + 1)
        gdq[event["integration"], groups, inside] = flag
    return gdq


def events_of(*rows):
    """Events from integration, group, y, x, core radius."""
    events = np.zeros(len(rows), SNOWBALL_DTYPE)
    for event, (i, k, y, x, core) in zip(events, rows, strict=True):
        event["integration"], event["group"], event["y"], event["x"] = i, k, y, x
        event["core_radius"], event["halo_radius"] = core, 2.5 * core
    return events


EVENTS = events_of((0, 1, 40, 40, 4), (0, 3, 80, 100, 6), (1, 2, 90, 30, 5), (1, 9, 50, 50, 5))
SHAPE = (2, 5, 120, 140)


def test_the_measure_knows_right_from_wrong():
    """The last event comes too late to be seen."""
    halves = discs(EVENTS, SHAPE, lambda event: event["halo_radius"] / np.sqrt(2), JUMP)
    whole = discs(EVENTS[:3], SHAPE, lambda event: event["halo_radius"], JUMP)
    result = measure_snowballs(EVENTS[:3], halves, whole)
    assert (result.n_events, result.completeness, result.completeness_before, result.purity) == (3, 1, 0, 1)
    assert result.coverage == 1 and result.coverage_before == pytest.approx(0.5, abs=0.05)
    spurious = whole.copy()
    spurious[0, 2, :10, :10] |= JUMP
    result = measure_snowballs(EVENTS, halves, spurious)
    assert result.n_events == 3
    assert result.purity == pytest.approx(1 - 100 / result.n_added)
    nothing = measure_snowballs(EVENTS, halves, halves)
    assert nothing.n_added == 0 and np.isnan(nothing.purity) and nothing.completeness == 0


def test_search_is_complete_and_pure():
    """Rings of jumps that leave out the faint half of the halo, around saturated cores, among cosmic rays."""
    before = discs(EVENTS[:3], SHAPE, lambda event: 1.6 * event["core_radius"], JUMP)
    cores = discs(EVENTS[:3], SHAPE, lambda event: event["core_radius"], SAT)
    before = np.where(cores > 0, cores, before)
    rng = np.random.default_rng(0)
    for _ in range(100):
        i, k, y, x = rng.integers((0, 1, 1, 1), (2, 5, 119, 139))
        for dy, dx in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
            before[i, k, y + dy, x + dx] |= 0 if before[i, k, y + dy, x + dx] else JUMP
    after = flag_snowballs(before, group_time=10.0, parameters=SnowballParameters(edge_size=0)).groupdq
    result = measure_snowballs(EVENTS, before, after)
    assert result.completeness == 1 and result.completeness_before == 0
    assert result.purity > 0.95
    # Without the need of a core every cosmic ray with its neighbours grows.
    free = SnowballParameters(sat_required_snowball=False)
    after = flag_snowballs(before, group_time=10.0, parameters=free).groupdq
    assert measure_snowballs(EVENTS, before, after).purity < result.purity

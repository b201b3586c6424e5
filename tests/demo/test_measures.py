"""Counts of cosmic rays and pulls, on calibrations made by hand."""

import numpy as np
import pytest

from upramp.demo.measures import Calibration, count_cosmic_rays, measure_slopes
from upramp.models.dqflags import GroupDQ, PixelDQ
from upramp.simulate.scene import COSMIC_RAY_DTYPE

SHAPE = (2, 6, 8, 9)
NY, NX = SHAPE[2:]


def calibration(hits=(), **arrays):
    """Flat slopes of 3 +- 0.5 DN/s, read noise 6 DN; hits are (integration, group, y, x, charge, primary)."""
    # Groups are of one frame, so that both have the same number.
    table = np.array([(i, k, k, y, x, charge, primary) for i, k, y, x, charge, primary in hits], COSMIC_RAY_DTYPE)
    flat = np.ones((NY, NX), np.float32)
    values = {
        "ramp": np.zeros(SHAPE, np.float32),
        "groupdq": np.zeros(SHAPE, np.uint8),
        "rate": 3 * flat,
        "err": flat / 2,
        "dq": np.zeros((NY, NX), np.uint32),
        "rateints": np.ones((2, NY, NX), np.float32),
        "rateints_err": np.ones((2, NY, NX), np.float32),
        "group_time": 10.0,
        "frames": 1,
        "true_rate": 3 * flat,
        "gain": 2 * flat,
        "read_noise": 6 * flat,
        "hits": table,
    }
    return Calibration(**values | arrays)


def test_noise_of_a_difference():
    assert calibration().noise == pytest.approx(np.full((NY, NX), np.sqrt(2 * 36 + 15)))


def test_found_missed_and_false():
    hits = [
        (0, 3, 4, 4, 500.0, True),
        (0, 3, 4, 5, 40.0, False),
        (1, 2, 1, 1, 400.0, True),  # missed
        (1, 2, 7, 7, 10.0, True),  # too faint to count
        (0, 0, 2, 2, 900.0, True),  # before the first group: no step
    ]
    groupdq = np.zeros(SHAPE, np.uint8)
    groupdq[0, 3, 4, 4] = groupdq[0, 3, 4, 3] = GroupDQ.JUMP_DET  # the hit, and a neighbour of it
    groupdq[1, 5, 0, 8] = GroupDQ.JUMP_DET  # nothing there; the far side of the array is no neighbour
    rays = count_cosmic_rays(calibration([*hits, (1, 5, 0, 0, 80.0, False)], groupdq=groupdq))
    assert (rays.injected, rays.visible, rays.found) == (4, 3, 1)
    assert (rays.clear, rays.clear_found, rays.completeness) == (2, 1, 0.5)
    assert (rays.flagged, rays.false) == (3, 1)
    assert rays.purity == pytest.approx(2 / 3)
    assert rays.samples == 2 * 5 * NY * NX


@pytest.mark.parametrize("group", [2, 3])
def test_hit_beside_a_saturated_group_is_not_visible(group):
    groupdq = np.zeros(SHAPE, np.uint8)
    groupdq[0, group, 4, 4] = GroupDQ.SATURATED
    rays = count_cosmic_rays(calibration([(0, 3, 4, 4, 500.0, True)], groupdq=groupdq))
    assert (rays.injected, rays.visible) == (1, 0)


def test_without_hits_and_flags():
    rays = count_cosmic_rays(calibration())
    assert np.isnan(rays.completeness)
    assert np.isnan(rays.purity)


def test_slopes():
    rate = np.full((NY, NX), 3.0, np.float32)
    rate[::2] += 1.0  # two errors too high in half of the rows
    dq = np.zeros((NY, NX), np.uint32)
    rate[0, 0], dq[0, 1], rate[0, 1] = np.nan, PixelDQ.DO_NOT_USE, 1e6
    slopes = measure_slopes(calibration(rate=rate, dq=dq))
    high, used = NY // 2 * NX - 2, NY * NX - 2
    assert slopes.used == used
    assert slopes.bias == pytest.approx(high / used)
    assert slopes.mean_rate == pytest.approx(3.0)
    assert slopes.pull_std == pytest.approx(2 * np.sqrt(high / used * (1 - high / used)))

"""Persistence against one pixel at a time."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import flag_persistence
from upramp.kernels.persistence import flag_persistence_in_place


def reference(data, groupdq, times, duration, until, threshold, do_not_use):
    """The rules, pixel by pixel."""
    flags, until = groupdq.copy(), until.copy()
    ni, ng, ny, nx = data.shape
    for y, x in np.ndindex(ny, nx):
        for i in range(ni):
            count = 0
            for g in range(ng):
                now = times[i, g]
                if until[y, x] < now:
                    until[y, x] = 0
                count += bool(groupdq[i, g, y, x] & 2)
                if count == 1:
                    until[y, x] = now + duration
                if threshold is not None and data[i, g, y, x] > np.float32(threshold) and not until[y, x] > 0:
                    until[y, x] = now + duration
                if until[y, x] > now + duration:
                    until[y, x] = 0
                if until[y, x] > 0:
                    flags[i, g, y, x] |= 33 if do_not_use else 32
    return flags, until


def exposure(shape, seed=0):
    """Ramps, flags, times of groups, and times from before: in the past, in the window, too far in the future."""
    rng = np.random.default_rng(seed)
    data = np.cumsum(rng.exponential(2000, shape), axis=1).astype(np.float32)
    data[rng.random(shape) < 0.02] = np.nan
    groupdq = (2 * (data > 9000)).astype(np.uint8)
    groupdq |= 2 * (rng.random(shape) < 0.05).astype(np.uint8)
    groupdq |= rng.choice(np.array([0, 1, 4], np.uint8), shape, p=[0.9, 0.05, 0.05])
    times = 1.6e9 + np.arange(shape[0])[:, None] * 50.0 + np.arange(1, shape[1] + 1) * 6.0
    until = rng.choice([0.0, 1.5e9, 1.6e9 + 20, 1.6e9 + 70, 1.7e9], shape[2:])
    return data, groupdq, times, until


@pytest.mark.parametrize("shape", [(3, 7, 66, 9), (1, 1, 4, 3), (2, 5, 1, 17), (2, 2, 3, 1)])
@pytest.mark.parametrize(("duration", "threshold", "do_not_use"), [(30.0, None, False), (12.0, 5000.3, True)])
def test_against_the_reference(shape, duration, threshold, do_not_use):
    data, groupdq, times, until = exposure(shape)
    before = [array.copy() for array in (data, groupdq, times, until)]
    expected = reference(data, groupdq, times, duration, until, threshold, do_not_use)
    for threads in (1, 2):
        found = flag_persistence(
            data, groupdq, times, duration, until=until, threshold=threshold, do_not_use=do_not_use, threads=threads
        )
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    for array, original in zip((data, groupdq, times, until), before, strict=True):
        np.testing.assert_array_equal(array, original)


def test_the_window_goes_on_into_the_next_integration():
    groupdq = np.zeros((2, 7, 1, 1), np.uint8)
    groupdq[0, 5:] = 2
    times = 1e9 + 21.47354 * np.arange(1, 15).reshape(2, 7)
    found, until = flag_persistence(np.zeros((2, 7, 1, 1), np.float32), groupdq, times, 70.0)
    np.testing.assert_array_equal(found[:, :, 0, 0], [[0] * 5 + [34, 34], [32, 32, 0, 0, 0, 0, 0]])
    assert until == 0
    _, until = flag_persistence(np.zeros((1, 7, 1, 1), np.float32), groupdq[:1], times[:1], 70.0)
    assert until == times[0, 5] + 70


def test_what_is_refused():
    data, groupdq, times, until = exposure((2, 3, 4, 5))
    with pytest.raises(ShapeError, match="times has shape"):
        flag_persistence(data, groupdq, times[:1], 5.0)
    with pytest.raises(ShapeError, match="until has shape"):
        flag_persistence(data, groupdq, times, 5.0, until=until[1:])
    with pytest.raises(ValueError, match="duration is 0"):
        flag_persistence(data, groupdq, times, 0)
    with pytest.raises(DTypeError, match="until is"):
        flag_persistence_in_place(groupdq, data, until.astype(np.float32), times, 5.0)

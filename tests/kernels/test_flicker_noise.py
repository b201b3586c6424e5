"""clean_flicker_noise on arrays, against medians of lines taken one by one."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.flicker_noise import FlickerFit, clean_ramp_in_place, clean_rates_in_place

LINES = {axis: FlickerFit(axis, background=None, n_sigma=0) for axis in (1, 2)}


def noisy_ramp(shape=(2, 5, 24, 70), seed=1):
    """A ramp with noise in its rows, NaN, flags, and a mask for every integration."""
    rng = np.random.default_rng(seed)
    steps = 50 + rng.normal(0, 3, shape) + rng.normal(0, 8, (*shape[:3], 1))
    data = np.cumsum(steps, axis=1).astype(np.float32)
    data[rng.random(shape) < 0.01] = np.nan
    groupdq = rng.choice(np.array([0, 1, 2, 4], np.uint8), shape, p=[0.85, 0.05, 0.05, 0.05])
    return data, groupdq, rng.random((shape[0], *shape[2:])) < 0.7


def without_medians(image, mask, axis):
    """An image less the median of the pixels in use of every line; lines without such pixels stay."""
    lines, use = (image, mask) if axis == 2 else (image.T, mask.T)
    cleaned = lines.copy()
    for line, good in zip(cleaned, use & ~np.isnan(lines), strict=True):
        if good.any():
            line -= np.median(line[good])
    return cleaned if axis == 2 else cleaned.T


def cleaned_slowly(data, groupdq, mask, axis, flat=None):
    """The ramp rebuilt from its cleaned differences, and the groups that stay."""
    result, missed = data.copy(), []
    for i in range(data.shape[0]):
        for g in range(1, data.shape[1]):
            difference = data[i, g] - data[i, g - 1]
            if flat is not None:
                difference /= flat
            use = mask[i] & ((groupdq[i, g] & 5) == 0)
            if not (use & ~np.isnan(difference)).any():
                missed.append((i, g))
                continue
            cleaned = without_medians(difference, use, axis)
            result[i, g] = (cleaned if flat is None else cleaned * flat) + result[i, g - 1]
    return result, missed


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("axis", [1, 2])
def test_ramp(axis, flat):
    data, groupdq, mask = noisy_ramp()
    groupdq[0, 1] = 1
    groupdq[1, 4] |= 4
    data[1, 2] = np.nan  # the differences with the groups before and behind
    field = np.random.default_rng(3).uniform(0.5, 1.5, data.shape[-2:]).astype(np.float32) if flat else None
    found = [data.copy() for _ in range(3)]
    before = groupdq.copy(), mask.copy()
    expected, missed = cleaned_slowly(data, groupdq, mask, axis, field)
    for result, threads in zip(found, (1, 2, None), strict=True):
        assert clean_ramp_in_place(result, groupdq, mask, LINES[axis], flat=field, threads=threads) == missed
    assert missed == [(0, 1), (1, 2), (1, 3), (1, 4)]
    np.testing.assert_allclose(found[0], expected, rtol=2e-6)
    np.testing.assert_array_equal(found[0][0, 1], data[0, 1])
    for result in found[1:]:
        np.testing.assert_array_equal(result.view(np.uint32), found[0].view(np.uint32))
    np.testing.assert_array_equal(groupdq, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_background_is_shown():
    data, groupdq, mask = noisy_ramp()
    shown = np.full_like(data, -1)
    clean_ramp_in_place(data, groupdq, mask[0], FlickerFit(2), background=shown)
    assert (shown[:, 0] == -1).all()
    assert (np.abs(shown[:, 1:] - 50) < 3).all()
    assert np.ptp(shown[0, 1]) == 0


@pytest.mark.parametrize("ngroup", [1, 2])
def test_few_groups(ngroup):
    data, groupdq, mask = noisy_ramp((1, ngroup, 9, 13))
    expected, missed = cleaned_slowly(data, groupdq, mask, 2)
    assert clean_ramp_in_place(data, groupdq, mask, LINES[2]) == missed == []
    np.testing.assert_allclose(data, expected, rtol=2e-6)


def test_rates():
    data, _, mask = noisy_ramp()
    rates = data[0]
    rates[3] = np.nan
    expected = np.array([without_medians(rate, mask[0], 1) for rate in rates])
    assert clean_rates_in_place(rates, mask[0], LINES[1]) == [3]
    np.testing.assert_allclose(rates, expected, rtol=2e-6, atol=1e-5)


def test_nothing_is_written_if_shapes_disagree():
    data, groupdq, mask = noisy_ramp()
    before = data.copy()
    with pytest.raises(ShapeError, match="mask"):
        clean_ramp_in_place(data, groupdq, mask[:, :-1], LINES[2])
    with pytest.raises(ShapeError, match="groupdq"):
        clean_ramp_in_place(data, groupdq[:1], mask, LINES[2])
    with pytest.raises(DTypeError, match="data"):
        clean_ramp_in_place(data.astype(np.float64), groupdq, mask, LINES[2])
    np.testing.assert_array_equal(data, before)

"""Sigma clipping of samples in buckets against numpy."""

import numpy as np
import pytest

from upramp.kernels.clipping import background_limits, make_sample, median, restrict


def clipped(values, centre=None):
    """Values after five clips at 3 sigma about their median, or about a fixed centre below which they are."""
    for _ in range(5):
        middle = np.median(values) if centre is None else centre
        sigma = values.std() if centre is None else np.sqrt(np.mean((values - centre) ** 2))
        kept = values[(values >= middle - 3 * sigma) & ((values <= middle + 3 * sigma) | (centre is not None))]
        if kept.size == values.size:
            break
        values = kept
    return values


def limits_by_numpy(values, lower, upper, shift, lower_half):
    values = (values - np.float32(shift)).astype(np.float64)
    kept = clipped(values)
    centre, sigma = np.median(kept), kept.std()
    if lower_half:
        sigma = np.sqrt(np.mean((clipped(values[values <= centre], centre) - centre) ** 2))
    return centre - lower * sigma, centre + upper * sigma


def _images():
    rng = np.random.default_rng(3)
    noise = rng.normal(5, 2, (200, 331)).astype(np.float32)
    yield "noise", noise
    stars = noise.copy()
    stars[rng.random(noise.shape) < 0.2] *= 1000
    yield "stars", stars
    yield "heavy tail", rng.standard_cauchy((130, 130)).astype(np.float32)
    yield "two levels", np.where(rng.random((64, 64)) < 0.3, np.float32(-2), np.float32(7))
    yield "equal", np.full((40, 50), np.float32(3))
    yield "few", noise[:1, :3].copy()
    infinite = noise.copy()
    infinite[::7, ::5], infinite[1::7, ::5] = np.inf, -np.inf
    yield "infinite", infinite
    yield "huge", (noise * np.float32(1e37)).astype(np.float32)


@pytest.mark.parametrize(("name", "image"), list(_images()))
@pytest.mark.parametrize("lower_half", [False, True])
def test_limits(name, image, lower_half):
    rng = np.random.default_rng(4)
    mask = rng.random(image.shape) < 0.8
    mask[0, 0] = True
    before = image.copy()
    values = image[mask & np.isfinite(image)]
    for shift in (0.0, 1.25):
        sample = make_sample(image, mask)
        assert sample.size == values.size
        found = background_limits(sample, 3.0, 2.0, shift=shift, lower_half=lower_half)
        expected = limits_by_numpy(values, 3.0, 2.0, shift, lower_half)
        tolerance = 1e-7 if shift else 1e-9  # sums are those of the values before the shift, which numpy rounds
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(values).max())
    assert median(sample) == np.median(values)
    low, high = np.sort(values)[[values.size // 5, values.size * 4 // 5]]
    part = restrict(sample, low, high)
    kept = values[(values >= low) & (values <= high)]
    assert part.size == kept.size
    assert median(part) == np.median(kept)
    np.testing.assert_array_equal(image, before)


def test_threads_do_not_matter():
    image = np.random.default_rng(5).normal(0, 1, (300, 200)).astype(np.float32)
    mask = image < 2
    one, two = (make_sample(image, mask, threads) for threads in (1, 2))
    assert one.pivot == two.pivot
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.sums, two.sums)


def test_no_value():
    assert make_sample(np.full((9, 9), np.nan, np.float32), np.ones((9, 9), bool)) is None
    assert make_sample(np.ones((9, 9), np.float32), np.zeros((9, 9), bool)) is None

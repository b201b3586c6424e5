"""The fit of frequencies in windows of subarrays: sums for a few waves against Fourier transforms."""

import numpy as np
import pytest

from upramp.kernels import nsclean

ALLSLITS = (150, 200, 49943, 49957)


def noisy_image(shape, part, seed=1):
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(0, 0.3, shape), axis=0)
    return (rng.normal(0, 6, shape) + drift).astype(np.float32), rng.random(shape) < part


@pytest.mark.parametrize("cutoffs", [ALLSLITS, nsclean.DEFAULT_CUTOFFS])
@pytest.mark.parametrize("part", [0.95, 0.4, 0.15])
@pytest.mark.parametrize("lines", [2, 5])
def test_weights_are_inverse_densities(cutoffs, part, lines):
    image, use = noisy_image((12, 64), part)
    shared = nsclean._Filter(lines, 64, cutoffs)
    starts = np.array([0, 3, 12 - lines])
    found = np.empty((2, 3, lines * 64))
    nsclean._weigh_windows(found, image, use, starts, lines, shared.bell, shared.before, shared.whole)
    n = lines * (64 + nsclean.PAUSE)
    sigma = 1 / ((cutoffs[0] + cutoffs[1]) / 2) / nsclean.SAMPLE_TIME / 2 / 4
    transform = np.fft.rfft(nsclean._gaussian(n, sigma))
    for k, first in enumerate(starts):
        stream = np.zeros((lines, 64 + nsclean.PAUSE))
        stream[:, :64] = use[first : first + lines]
        density = np.fft.irfft(np.fft.rfft(stream.ravel()) * transform, n).reshape(stream.shape)[:, :64]
        expected = np.where(use[first : first + lines], density**-2.0, 0)
        np.testing.assert_allclose(found[0, k], expected.ravel(), rtol=1e-9)
        np.testing.assert_allclose(found[1, k], (expected * image[first : first + lines]).ravel(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(64, 512), (16, 300)])
@pytest.mark.parametrize("part", [0.95, 0.3])
def test_sums_are_transforms(monkeypatch, shape, part):
    """A number of waves below or above the limit makes no difference."""
    image, use = noisy_image(shape, part)
    found = []
    for limit in (0, 10**6):
        monkeypatch.setattr(nsclean, "FEW_WAVES", limit)
        nsclean._filter.cache_clear()
        cleaned = image.copy()
        nsclean.subtract_frequency_noise(cleaned, use, "NRS2")
        found.append(image - cleaned)
    nsclean._filter.cache_clear()
    np.testing.assert_allclose(*found, atol=1e-6 * found[0].std())
    assert 0.5 < found[0].std() < 10

"""Which background and channels are chosen for an image, and the statistics that tell."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.flicker_parameters import NIRCAM, NIRISS, ImageStatistics, choose_fit, image_statistics

LOW, HIGH = 0.01, 0.5  # parts masked
QUIET, OFFSET = 0.01, 0.07  # offsets of channels


@pytest.mark.parametrize(
    "rules, statistics, expected",
    [
        (NIRISS, (LOW, OFFSET, 1.0, 1.0, 1.0), ("median", True)),
        (NIRISS, (0.07, QUIET, 1e-5, 1.0, 1.0), ("model", False)),
        (NIRISS, (0.07, QUIET, 0.9e-5, 1.0, 1.0), ("median", False)),
        (NIRISS, (HIGH, OFFSET, 1e-4, 1.0, 1.0), ("model", False)),
        (NIRISS, (HIGH, OFFSET, 0.9e-4, 1.0, 1.0), ("median", False)),
        (NIRISS, (LOW, QUIET, 1e-4, np.inf, 0.0), ("model", False)),
        (NIRISS, (LOW, QUIET, 2e-5, 4.9, 0.0), ("model", False)),
        (NIRISS, (LOW, QUIET, 2e-5, 5.0, 0.0), ("median", False)),
        (NIRISS, (LOW, QUIET, 2e-5, np.nan, 0.0), ("model", False)),
        (NIRISS, (LOW, QUIET, 0.9e-5, 1.0, 0.0), ("median", False)),
        (NIRISS, (LOW, QUIET, 0.0, 1.0, 0.02), ("median", True)),
        (NIRISS, (LOW, QUIET, 0.0, 1.0, 0.019), ("median", False)),
        (NIRISS, (LOW, 0.0, 0.0, 1.0, 0.02), ("median", False)),
        (NIRCAM, (0.09, QUIET, 2e-5, 3.0, 0.03), ("model", True)),
        (NIRCAM, (0.1, OFFSET, 1e-5, 3.0, 0.03), ("model", False)),
        (NIRCAM, (0.1, OFFSET, 0.9e-5, 3.0, 0.03), ("median", False)),
    ],
)
def test_choice(rules, statistics, expected):
    assert choose_fit(ImageStatistics(*statistics), rules) == expected


@pytest.mark.parametrize("rules, transpose", [(NIRCAM, False), (NIRISS, True)])
def test_what_was_put_in_is_measured(rules, transpose):
    """Steps between channels, a gradient along the lines, masked pixels; stripes across do not count."""
    rng = np.random.default_rng(1)
    line = np.repeat([0, 0.01, 0.02, 0.0], 512) + 1e-5 * np.arange(2048)
    # Bounded noise, of which the limits of the background cut nothing off.
    image = 5 + line + rng.uniform(-0.2, 0.2, (400, 2048)) + rng.normal(0.0, 0.002, (400, 1))
    image[:, ::16] = np.nan
    image = np.ascontiguousarray(image.T if transpose else image, np.float32)
    before = image.copy()
    found = image_statistics(image, rules)
    np.testing.assert_array_equal(image, before)
    assert found.channel_offset == pytest.approx(0.01 + 1e-5 * 512, abs=2e-3)
    assert found.masked_fraction == pytest.approx(1 / 16, abs=0.005)
    assert found.slope == pytest.approx(np.polyfit(np.arange(2048), line, 1)[0], abs=2e-6)


def test_gradient_of_a_plane():
    """Medians of rows take the gradient across them, the one along them stays."""
    rng = np.random.default_rng(4)
    y, x = np.indices((64, 80))
    image = (10 + 0.003 * x + 0.001 * y + rng.normal(0, 0.01, x.shape)).astype(np.float32)
    found = image_statistics(image, NIRCAM)
    assert found.slope == pytest.approx(0.003, rel=0.02)
    assert found.channel_offset == 0
    assert found.slope_ratio > 10


@pytest.mark.parametrize("rules", [NIRCAM, NIRISS])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 1), (7, 33)])
def test_small_and_nasty_images(rules, shape):
    image = np.full(shape, 2, np.float32)
    found = image_statistics(image, rules)
    assert found.masked_fraction == 0 and found.channel_offset == 0
    image.flat[0] = np.inf
    image.flat[-1] = np.nan
    found = image_statistics(image, rules)
    assert found is None or 0 < found.masked_fraction < 1
    assert image_statistics(np.full(shape, np.nan, np.float32), rules) is None


def test_wrong_arrays_are_refused():
    with pytest.raises(ShapeError):
        image_statistics(np.zeros((2, 4, 4), np.float32), NIRCAM)
    with pytest.raises(DTypeError):
        image_statistics(np.zeros((4, 4), np.complex64), NIRCAM)

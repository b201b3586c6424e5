"""Count rates of guide-star exposures."""

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.guider_cds import FINE_GUIDING, IDENTIFICATION, TWO_GROUPS, count_rates_tile, guider_count_rates

TIME = 0.37


def exposure(shape, seed=1):
    rng = np.random.default_rng(seed)
    data = rng.normal(5000, 50, shape).astype(np.float32)
    data.flat[::41] = np.nan
    data.flat[::43] = np.inf
    gain = rng.uniform(1, 2, shape[2:]).astype(np.float32)
    gain.flat[::7], gain.flat[3::11], gain.flat[5::13] = 0, -1, np.nan
    noise = rng.uniform(5, 15, shape[2:]).astype(np.float32)
    for array in (data, gain, noise):
        array.flags.writeable = False
    return data, gain, noise


def by_numpy(data, gain, noise, mode):
    """The formulas in float32."""
    if mode == FINE_GUIDING:
        difference = data[:, -4:].mean(axis=1) - data[:, :4].mean(axis=1)
    else:
        difference = data[:, 1] - data[:, 0]
    if mode == IDENTIFICATION:
        difference = np.minimum(difference[0], difference[1])[None]
    time = np.float32(TIME)
    photons = difference / (gain * time)
    photons[photons < 0] = 0
    return difference / time, np.sqrt(2 * (noise / time) ** 2 + photons)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        (TWO_GROUPS, (6, 2, 7, 9)),
        (TWO_GROUPS, (1, 4, 1, 5)),
        (FINE_GUIDING, (2, 10, 7, 9)),
        (FINE_GUIDING, (3, 3, 5, 1)),
        (FINE_GUIDING, (1, 1, 4, 4)),
        (IDENTIFICATION, (2, 2, 7, 9)),
        (IDENTIFICATION, (3, 2, 8, 8)),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_against_the_formulas(mode, shape):
    arrays = exposure(shape)
    rate, err = by_numpy(*arrays, mode)
    result = guider_count_rates(*arrays, mode, TIME)
    np.testing.assert_array_equal(result.rate, rate)
    np.testing.assert_array_equal(result.err, err)
    assert result.rate.dtype == result.err.dtype == np.float32


def test_closed_form():
    data = np.array([[[[100, 100]], [[150, 90]]]], np.float32)
    gain, noise = np.full((1, 2), 2, np.float32), np.full((1, 2), 3, np.float32)
    result = guider_count_rates(data, gain, noise, TWO_GROUPS, 0.5)
    np.testing.assert_array_equal(result.rate[0, 0], [100, -20])
    np.testing.assert_allclose(result.err[0, 0], np.sqrt([2 * 36 + 50, 2 * 36]), rtol=1e-7)


def test_cosmic_rays_do_not_reach_the_identification():
    data = np.zeros((2, 2, 3, 3), np.float32)
    data[:, 1] = 40
    data[1, 1, 2, 2] += 3000
    one = np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(guider_count_rates(data, one, one, IDENTIFICATION, 2.0).rate, np.full((1, 3, 3), 20))


def test_threads_agree_bitwise():
    arrays = exposure((2, 9, 150, 17))
    one, two = (guider_count_rates(*arrays, FINE_GUIDING, TIME, threads=n) for n in (1, 2))
    assert one.rate.tobytes() == two.rate.tobytes() and one.err.tobytes() == two.err.tobytes()
    assert len(count_rates_tile.signatures) == 1


def test_refusals():
    data, gain, noise = exposure((2, 2, 4, 5))
    with pytest.raises(ShapeError, match="needs 2 groups"):
        guider_count_rates(data[:, :1], gain, noise, TWO_GROUPS, TIME)
    with pytest.raises(ShapeError, match="2 groups and 2 integrations"):
        guider_count_rates(data[:1], gain, noise, IDENTIFICATION, TIME)
    with pytest.raises(ShapeError, match="gain"):
        guider_count_rates(data, gain[:2], noise, TWO_GROUPS, TIME)
    with pytest.raises(DTypeError, match="data"):
        guider_count_rates(data.astype("U4"), gain, noise, TWO_GROUPS, TIME)

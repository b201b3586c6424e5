"""Reference columns of MIRI."""

import numpy as np
import pytest
from scipy.stats import sigmaclip
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels.side_pixels import correct_side_pixels_in_place, cut_sides, drifts_of_sides, subtract_drifts_tile


def exposure(shape=(2, 4, 40, 24)):
    """Amplifiers that drift by 1, 2, 3, 4 DN times the group, odd rows by 0.5 more; an outlier and a bad pixel."""
    rng = np.random.default_rng(3)
    _, ng, ny, nx = shape
    data = rng.normal(1000, 100, shape[:1] + (1,) + shape[2:]) + np.zeros(shape)
    drift = (np.arange(nx) % 4 + 1.0)[np.newaxis] + 0.5 * (np.arange(ny) % 2)[:, np.newaxis]
    data += np.arange(ng)[:, np.newaxis, np.newaxis] * drift
    data[:, 2, 6, 1] += 500
    data[:, :, 7, 2] = np.nan
    pdq = np.zeros(shape[2:], np.uint32)
    pdq[7, 2] = 1
    return data.astype(np.float32), pdq


def naive(data, pdq, odd_even_rows, siglimit):
    """The correction as it reads."""
    out = data.astype(np.float64)
    first = out[:, :1].copy()
    out -= first
    parities = [slice(0, None, 2), slice(1, None, 2)] if odd_even_rows else [slice(None)]
    for i in range(len(out)):
        for frame in out[i, 1:]:
            for amplifier in range(4):
                for rows in parities:
                    means = []
                    for column in (amplifier, frame.shape[1] - 4 + amplifier):
                        good = frame[rows, column][(pdq[rows, column] & 1) == 0]
                        means.append(sigmaclip(good, siglimit, siglimit)[0].mean() if good.std() else good.mean())
                    frame[rows, amplifier::4] -= sum(means) / 2
    return out + first


@pytest.mark.parametrize(("odd_even_rows", "siglimit"), [(True, 3.0), (False, 3.0), (True, 2.0)])
def test_against_the_method_as_it_reads(odd_even_rows, siglimit):
    data, pdq = exposure()
    expected = naive(data, pdq, odd_even_rows, siglimit)
    for threads in (1, 2):
        found = data.copy()
        parameters = {"odd_even_rows": odd_even_rows, "siglimit": siglimit}
        assert correct_side_pixels_in_place(found, pdq, **parameters, threads=threads)
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-4)
        tiled = data.copy()
        drifts = drifts_of_sides(cut_sides(data), cut_sides(pdq), **parameters)
        run_in_tiles(subtract_drifts_tile, tiled, drifts, 0, 0)
        np.testing.assert_array_equal(tiled, found)


def test_drift_of_all_groups_alike_is_no_drift():
    data, pdq = exposure()
    data = np.nan_to_num(np.repeat(data[:, :1], 4, axis=1), nan=1.0)
    found = data.copy()
    correct_side_pixels_in_place(found, pdq)
    np.testing.assert_array_equal(found, data)


def test_known_drift_is_removed():
    data, pdq = exposure()
    correct_side_pixels_in_place(data, pdq)
    good = np.isfinite(data[:, 1:]) & (data[:, 1:] < data[:, :1] + 100)
    np.testing.assert_allclose(np.where(good, data[:, 1:] - data[:, :1], 0), 0, atol=2e-4)


def test_nan_in_a_good_pixel_spoils_its_amplifier():
    data, pdq = exposure()
    data[0, 2, 5, 22] = np.nan
    correct_side_pixels_in_place(data, pdq)
    spoiled = np.isnan(data[0, 2])
    assert spoiled[1::2, 2::4].all() and spoiled.sum() == spoiled[1::2, 2::4].sum()
    assert not np.isnan(data[0, 3, 1:6, 2]).any()


def test_a_column_without_a_good_pixel(caplog):
    data, pdq = exposure()
    pdq[1::2, 21] = 1
    before = data.copy()
    assert not correct_side_pixels_in_place(data, pdq)
    np.testing.assert_array_equal(data, before)
    assert "no good pixel" in caplog.text
    assert correct_side_pixels_in_place(data, pdq, odd_even_rows=False)


def test_refusal():
    data, pdq = exposure((1, 3, 8, 7))
    with pytest.raises(ShapeError, match="7 columns; expected at least 8"):
        correct_side_pixels_in_place(data, pdq)

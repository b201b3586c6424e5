"""The thermal pattern of NIRSpec against the formula."""

import numpy as np
import pytest

from upramp.kernels.picture_frame import regions, subtract_picture_frame_in_place


def test_regions():
    mask = np.ones((2048, 2048), bool)
    mask[100] = False
    middle, edge = regions(mask)
    assert middle.sum() == 1908 * 1907
    assert middle[76, 76]
    assert not middle[75].any()
    assert not middle[100].any()
    assert not (middle & edge).any()
    assert edge[4, 4]
    assert edge[2042, 2042]
    assert not edge[:4].any()
    assert not edge[2043:].any()
    assert edge.sum() == 2039**2 - (1985 - 75) ** 2 - (71 + 58)  # without row 100


@pytest.mark.parametrize("threads", [1, 2])
def test_groups_of_ramps(threads):
    rng = np.random.default_rng(1)
    data = rng.normal(100, 5, (2, 4, 30, 20)).astype(np.float32)
    data[0, 2, 3, 4] = np.nan
    pattern = rng.normal(1, 0.1, (30, 20)).astype(np.float32)
    middle, edge = np.zeros((2, 30, 20), bool)
    middle[8:20, 5:15], edge[:5] = True, True
    expected = data.copy()
    for i in range(2):
        for g in range(1, 4):
            image = data[i, g] - data[i, 0]
            of_middle, of_edge = np.nanmedian(image[middle]), np.nanmedian(image[edge])
            scale = (of_middle - of_edge) / (np.median(pattern[middle]) - np.median(pattern[edge]))
            expected[i, g] = data[i, g] - (scale * (pattern - np.median(pattern[edge])) + of_edge)
    found = data.copy()
    subtract_picture_frame_in_place(found, middle, edge, pattern, threads=threads)
    np.testing.assert_array_equal(found[:, 0], data[:, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["noise", "misleading", "few", "equal", "missing"])
def test_rates_have_the_medians_of_numpy(kind):
    """Also where the pixels that are looked at first are unlike the others, and where there are few."""
    rng = np.random.default_rng(2)
    shape = (100, 240)
    image = rng.normal(1, 0.1, shape).astype(np.float32)
    pattern = rng.normal(1, 0.1, shape).astype(np.float32)
    middle, edge = np.zeros((2, *shape), bool)
    middle[20:80, 30:200], edge[:15] = True, True
    if kind == "misleading":
        row, column = np.indices(shape)
        image[(column - 17 * row) % 61 == 0] = 50.0
    elif kind == "few":
        middle[:], edge[:] = False, False
        middle[50, 100:102], edge[1, 7] = True, True
    elif kind == "equal":
        image[:] = 3.0
    elif kind == "missing":
        image[edge] = np.nan
    reference_edge = np.median(pattern[edge])
    level = np.nanmedian(image[edge]) if kind != "missing" else np.float32(np.nan)
    scale = (np.median(image[middle]) - level) / (np.median(pattern[middle]) - reference_edge)
    found = image[np.newaxis].copy()
    subtract_picture_frame_in_place(found, middle, edge, pattern)
    np.testing.assert_array_equal(found[0], image - (scale * (pattern - reference_edge) + level))

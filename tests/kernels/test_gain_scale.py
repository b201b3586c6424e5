"""Gain scaling of rates."""

import json
from pathlib import Path

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.gain_scale import scale_by_gain, scale_by_gain_in_place, scale_rates_tile

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
NAMES = ("data", "err", "var_poisson", "var_rnoise")


def rates(*shape):
    return [np.random.default_rng(k).normal(size=shape).astype(np.float32) for k in range(4)]


def test_vector():
    vector = next(v for v in VECTORS if v["id"] == "GSC01")
    arrays = [np.array(vector["inputs"][name], float).astype(np.float32) for name in NAMES]
    result = scale_by_gain(*arrays, vector["params"]["gain_factor"])
    for name, array in zip(NAMES, result, strict=True):
        np.testing.assert_array_equal(array, np.array(vector["expected"][name], float).astype(np.float32))


@pytest.mark.parametrize("shape", [(30, 20), (3, 30, 20)])
def test_equals_numpy_and_leaves_the_inputs(shape):
    arrays = rates(*shape)
    for array in arrays:
        array.flags.writeable = False
    result = scale_by_gain(*arrays, 1.7, threads=2)
    for power, old, new in zip((1, 1, 2, 2), arrays, result, strict=True):
        np.testing.assert_array_equal(new, old * np.float32(1.7**power))
    assert len(scale_rates_tile.signatures) == 1


def test_variances_may_be_absent():
    slope, err, *_ = rates(4, 5)
    result = scale_by_gain(slope, err, None, None, 2.0)
    assert result.var_poisson is None and result.var_rnoise is None
    np.testing.assert_array_equal(result.slope, 2 * slope)


def test_errors():
    slope, err, vp, vr = rates(4, 5)
    with pytest.raises(ShapeError, match="err has shape"):
        scale_by_gain(slope, err[1:], vp, vr, 2.0)
    with pytest.raises(ShapeError, match="dimensions"):
        scale_by_gain(slope[0], err[0], vp[0], vr[0], 2.0)
    with pytest.raises(DTypeError):
        scale_by_gain_in_place(slope.astype(float), err, vp, vr, 2.0)

"""Subtraction of the reset anomaly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upramp.errors import ShapeError
from upramp.kernels.reset import reset_integrations, subtract_reset


def exposure(frame, n_groups=5):
    rng = np.random.default_rng(11)
    data = rng.normal(1e4, 1e3, (3, n_groups, *frame)).astype(np.float32)
    reset = rng.normal(0, 50, (2, 3, *frame)).astype(np.float32)
    data.flat[1::17] = np.nan
    data.flat[2::31] = np.inf
    reset.flat[::5] = np.nan
    pdq, dq = rng.integers(0, 2**32, (2, *frame), dtype=np.uint32)
    for array in (data, pdq, reset, dq):
        array.flags.writeable = False
    return data, pdq, reset, dq


@pytest.mark.parametrize("first", [1, 2, 7])
@pytest.mark.parametrize(("frame", "n_groups"), [((70, 9), 5), ((1, 13), 2), ((5, 1), 1)])
def test_each_integration_has_its_reset(frame, n_groups, first):
    data, pdq, reset, dq = exposure(frame, n_groups)
    expected = data.copy()
    for i in range(3):
        for g in range(min(3, n_groups)):
            expected[i, g] -= np.nan_to_num(reset[min(first - 1 + i, 1), g], nan=0.0)
    for threads in (1, 2):
        result = subtract_reset(data, pdq, reset, dq, first, threads=threads)
        np.testing.assert_array_equal(result.data, expected)
        np.testing.assert_array_equal(result.pixeldq, pdq | dq)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 30))
def test_segments_continue_each_other(n, n_reset, first):
    whole = reset_integrations(first + n, n_reset)
    np.testing.assert_array_equal(reset_integrations(n, n_reset, first), whole[first - 1 : first - 1 + n])


def test_refusal():
    data, pdq, reset, dq = exposure((6, 7))
    with pytest.raises(ShapeError, match="reset has"):
        subtract_reset(data, pdq, reset[0], dq)
    with pytest.raises(ShapeError, match="reset has shape"):
        subtract_reset(data, pdq, reset[..., :5], dq)

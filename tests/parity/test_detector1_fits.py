"""Products of the pipeline with the likelihood fit, and with the fit of every segment, against the peer's."""

import numpy as np
import pytest
from tests.parity.test_detector1_products import arrays_of, check_headers
from tests.reference.agreement import relative_difference

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", ["likely", "likely-grouped"])
@pytest.mark.parametrize("kind", ["rate", "rateints", "likely_chisq"])
def test_likelihood(small_runs, name, kind):
    """Within 2e-5 for 99.99 % of the ramps; of two usable differences the reference may leave out the other one."""
    paths = [small_runs.product(package, name, kind) for package in ("jwst", "upramp")]
    check_headers(*paths)
    theirs, ours = map(arrays_of, paths)
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        found = ours[hdu]
        if hdu == "INT_TIMES":
            assert found.tobytes() == expected.tobytes()
        elif hdu == "DQ":
            assert (found != expected).mean() < 1e-4
        else:
            assert (np.isnan(found) != np.isnan(expected)).mean() < 1e-4, hdu
            error = theirs.get("ERR", np.ones_like(expected))
            difference = relative_difference(expected, found, error, variance=hdu.startswith("VAR"))
            assert (difference > 2e-5).mean() < 1e-4, hdu


@pytest.mark.parametrize("name", ["details", "details-selected"])
def test_segments(small_runs, name):
    paths = [small_runs.product(package, name, "fitopt") for package in ("jwst", "upramp")]
    assert paths[0].name == paths[1].name
    check_headers(*paths)
    theirs, ours = map(arrays_of, paths)
    assert list(ours) == list(theirs)
    assert theirs["SLOPE"].shape[1] > 1 and theirs["CRMAG"].shape[1] > 0
    for hdu, expected in theirs.items():
        assert (ours[hdu].shape, ours[hdu].dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(ours[hdu], expected, rtol=2e-5, atol=2e-3, err_msg=hdu)

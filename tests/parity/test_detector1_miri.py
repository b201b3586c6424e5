"""MIRI: products of the whole pipeline against those that the peer makes of the same file and references."""

import numpy as np
import pytest
from astropy.io import fits
from tests.parity.test_detector1_products import arrays_of, check_headers, is_table
from tests.reference import mode_table
from tests.reference.agreement import relative_difference

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

MODES = ("sub64", "bright", "segment", "series", "averaged", "no-row", "four-groups", "miri-full")
RESTARTED = ("four-groups",)  # too few groups to look for jumps
RATES = ("rate", "rateints")


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", MODES)
def test_rates(miri_runs, name, kind):
    products = [miri_runs.product(package, name, kind) for package in ("jwst", "upramp")]
    if kind == "rateints":
        mode_table.record(f"MIRI {name.removeprefix('miri-')}", *products)
    theirs, ours = map(arrays_of, products)
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        found = ours[hdu]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), hdu
        if is_table(expected):
            assert found.tobytes() == expected.tobytes(), hdu
        elif expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), hdu)
            difference = relative_difference(expected, found, theirs["ERR"], variance=hdu.startswith("VAR"))
            assert (difference > 1e-5).mean() <= 1e-4, hdu
        else:
            assert (found != expected).mean() <= 1e-5, hdu


def test_segments(miri_runs):
    """Groups that nobody uses are cut off, which moves the origin of intercepts."""
    theirs, ours = (arrays_of(miri_runs.product(package, "sub64", "fitopt")) for package in ("jwst", "upramp"))
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        np.testing.assert_allclose(ours[hdu], expected, rtol=2e-5, atol=2e-3, err_msg=hdu)


@pytest.mark.parametrize("name", MODES)
def test_calibrated_ramp(miri_runs, name):
    theirs = arrays_of(miri_runs.product("jwst", name, "ramp"))
    ours = arrays_of(miri_runs.product("upramp", name, "ramp"))
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        if is_table(expected) or expected.dtype.kind != "f":
            assert ours[hdu].tobytes() == expected.tobytes(), hdu
        else:
            np.testing.assert_allclose(ours[hdu], expected, rtol=1e-6, atol=1e-2, err_msg=hdu)


@pytest.mark.parametrize("kind", [*RATES, "ramp"])
@pytest.mark.parametrize("name", MODES)
def test_headers(miri_runs, name, kind):
    check_headers(miri_runs.product("jwst", name, kind), miri_runs.product("upramp", name, kind))


@pytest.mark.parametrize("kind", [*RATES, "ramp"])
@pytest.mark.parametrize("name", ["bright", "segment", "series", "averaged"])
def test_schedules_agree_bit_by_bit(miri_runs, name, kind):
    stepwise = arrays_of(miri_runs.product("upramp", f"{name}-stepwise", kind))
    arrays = arrays_of(miri_runs.product("upramp", name, kind))
    assert arrays.keys() == stepwise.keys()
    for hdu, expected in stepwise.items():
        assert arrays[hdu].tobytes() == expected.tobytes(), hdu


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub64", {"S_RSCD": "COMPLETE", "S_REFPIX": "SKIPPED", "S_FRSTFR": "SKIPPED", "INT1SKIP": 1, "INT2SKIP": 4}),
        ("segment", {"S_RSCD": "COMPLETE", "INT1SKIP": None, "INT2SKIP": 4}),
        ("no-row", {"S_RSCD": "SKIPPED", "INT1SKIP": None, "S_RESET": "COMPLETE"}),
        ("four-groups", {"INT1SKIP": 1, "INT2SKIP": 1}),
        ("series", {"S_RSCD": "SKIPPED", "S_LASTFR": "SKIPPED", "S_RESET": "COMPLETE"}),
        ("miri-full", {"S_REFPIX": "COMPLETE", "S_MIREMI": "SKIPPED"}),
    ],
)
def test_what_is_recorded(miri_runs, name, expected):
    header = fits.getheader(miri_runs.product("upramp", name, "rate"))
    assert {key: header.get(key) for key in expected} == expected


def test_exposures_take_the_fused_schedule(miri_runs):
    log = (miri_runs.folder / "upramp.log").read_text()
    assert log.count("Starting again step by step") == len(RESTARTED)

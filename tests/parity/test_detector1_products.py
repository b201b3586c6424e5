"""Products of the whole pipeline against those that the peer makes of the same file and references."""

import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from tests.reference import mode_table
from tests.reference.agreement import relative_difference

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

SMALL = ("sub160", "grouped", "one-group", "two-groups", "divisor", "stripe4", "stripe1", "corner", "series")
RATES = ("rate", "rateints")

# Keywords of the peer's products whose values are not ours.
OTHER_VALUES = {
    "DATE": "time of writing",
    "CAL_VER": "version of the software, which is upramp",
    "CAL_VCS": "revision of the software, which is upramp",
}


def arrays_of(path):
    """Arrays of a product by HDU, tables as they are."""
    with fits.open(path) as hdus:
        return {hdu.name: np.array(hdu.data) for hdu in hdus if hdu.data is not None and hdu.name != "ASDF"}


def is_table(array):
    return array.dtype.names is not None


def check_arrays(theirs, ours):
    """Rates within 1e-5 for 99.999 % of the pixels, NaN in the same places, flags identical."""
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        found = ours[name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        if is_table(expected):
            assert found.tobytes() == expected.tobytes(), name
        elif expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), name)
            np.testing.assert_array_equal(np.isinf(found), np.isinf(expected), name)
            difference = relative_difference(expected, found, theirs["ERR"], variance=name.startswith("VAR"))
            assert (difference > 1e-5).mean() <= 1e-5, name
            assert difference.max() <= 1e-3, name
        else:
            assert (found != expected).mean() <= 1e-6, name


def check_arrays_where_flags_agree(theirs, ours, tolerated=1e-4):
    """NaN in the same places and all but ``tolerated`` of the rates within 1e-5, in the pixels with the same flags."""
    same = theirs["DQ"] == ours["DQ"]
    for name in ("SCI", "ERR", "VAR_POISSON", "VAR_RNOISE"):
        expected, found = theirs[name], ours[name]
        np.testing.assert_array_equal(np.isnan(found[same]), np.isnan(expected[same]), name)
        difference = relative_difference(expected, found, theirs["ERR"], variance=name.startswith("VAR"))
        assert (difference[same] > 1e-5).mean() <= tolerated, name


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", SMALL)
def test_rates(small_runs, name, kind):
    theirs = arrays_of(small_runs.product("jwst", name, kind))
    ours = arrays_of(small_runs.product("upramp", f"{name}-fused", kind))
    check_arrays(theirs, ours)
    assert 0 < np.isnan(theirs["SCI"]).mean() < 1
    if kind == "rateints":
        products = (small_runs.product("jwst", name, kind), small_runs.product("upramp", f"{name}-fused", kind))
        mode_table.record(f"NIRCam {name}", *products)


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", ["full", "full-grouped"])
def test_full_frame(full_runs, name, kind):
    theirs = arrays_of(full_runs.product("jwst", name, kind))
    ours = arrays_of(full_runs.product("upramp", name, kind))
    assert theirs["SCI"].shape[-2:] == (2048, 2048)
    check_arrays(theirs, ours)
    check_headers(full_runs.product("jwst", name, kind), full_runs.product("upramp", name, kind))
    if kind == "rateints":
        mode_table.record(f"NIRCam {name}", *(full_runs.product(p, name, kind) for p in ("jwst", "upramp")))


@pytest.mark.parametrize("name", SMALL)
def test_calibrated_ramp(small_runs, name):
    theirs = arrays_of(small_runs.product("jwst", name, "ramp"))
    ours = arrays_of(small_runs.product("upramp", name, "ramp"))
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        if is_table(expected) or expected.dtype.kind != "f":
            assert ours[hdu].tobytes() == expected.tobytes(), hdu
        else:
            np.testing.assert_allclose(ours[hdu], expected, rtol=1e-6, atol=1e-2, err_msg=hdu)


def test_nothing_to_fit(small_runs):
    """Everything is saturated in the first group: the ramp is all there is."""
    names = [sorted(path.name for path in small_runs.result(p, "saturated").iterdir()) for p in ("jwst", "upramp")]
    assert names == [["corner_ramp.fits"]] * 2


@pytest.mark.parametrize("kind", RATES)
def test_every_pixel_unusable(small_runs, kind):
    theirs = arrays_of(small_runs.product("jwst", "unusable", kind))
    assert np.isnan(theirs["SCI"]).all()
    check_arrays(theirs, arrays_of(small_runs.product("upramp", "unusable", kind)))
    check_headers(small_runs.product("jwst", "unusable", kind), small_runs.product("upramp", "unusable", kind))


@pytest.mark.parametrize("kind", [*RATES, "ramp"])
@pytest.mark.parametrize("name", SMALL)
def test_schedules_agree_bit_by_bit(small_runs, name, kind):
    stepwise = arrays_of(small_runs.product("upramp", f"{name}-stepwise", kind))
    for other in (name,) if kind == "ramp" else (name, f"{name}-fused"):
        arrays = arrays_of(small_runs.product("upramp", other, kind))
        assert arrays.keys() == stepwise.keys()
        for hdu, expected in stepwise.items():
            assert arrays[hdu].tobytes() == expected.tobytes(), (other, hdu)


def check_headers(their_path, our_path):
    """Same HDUs; every keyword of the peer, with its value, in the same order."""
    with fits.open(their_path) as theirs, fits.open(our_path) as ours:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for their_hdu, our_hdu in zip(theirs, ours, strict=True):
            if their_hdu.name == "ASDF":
                continue
            expected = [card for card in their_hdu.header.cards if card.keyword not in ("", "COMMENT", "HISTORY")]
            keywords = [card.keyword for card in expected]
            assert [k for k in our_hdu.header if k in set(keywords)] == keywords, their_hdu.name
            wrong = {
                card.keyword: (card.value, our_hdu.header[card.keyword])
                for card in expected
                if card.keyword not in OTHER_VALUES and our_hdu.header[card.keyword] != card.value
            }
            assert not wrong, (their_hdu.name, wrong)


@pytest.mark.parametrize("kind", [*RATES, "ramp"])
@pytest.mark.parametrize("name", SMALL)
def test_headers(small_runs, name, kind):
    theirs = small_runs.product("jwst", name, kind)
    check_headers(theirs, small_runs.product("upramp", name, kind))
    if kind != "ramp":
        check_headers(theirs, small_runs.product("upramp", f"{name}-fused", kind))


@pytest.mark.parametrize("kind", [*RATES, "ramp"])
@pytest.mark.parametrize("name", ["sub160", "grouped"])
def test_peer_opens_and_validates(small_runs, tmp_path, name, kind):
    from stdatamodels.jwst import datamodels

    path = shutil.copy(small_runs.product("upramp", name, kind), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(path) as model, datamodels.open(small_runs.product("jwst", name, kind)) as theirs:
            assert type(model) is type(theirs)
            model.validate()
            expected, found = theirs.to_flat_dict(include_arrays=False), model.to_flat_dict(include_arrays=False)
            model.save(tmp_path / "again.fits")
    own = ("meta.calibration_software", "meta.date", "meta.filename")
    expected = {key: value for key, value in expected.items() if key.startswith("meta.") and not key.startswith(own)}
    assert {key: found.get(key) for key in expected} == expected


def test_parameter_file_of_the_peer(tmp_path):
    """What the peer exports is accepted as it is: it names steps that only it has, and skips them."""
    from jwst.pipeline import Detector1Pipeline as Theirs

    from upramp.pipelines import Detector1Pipeline

    Theirs(steps={"jump": {"rejection_threshold": 7.0}}).export_config(tmp_path / "pars.asdf")
    ours = Detector1Pipeline.configure(config_file=tmp_path / "pars.asdf", use_crds=False)
    assert ours.jump.rejection_threshold == 7.0
    theirs = Theirs().get_pars()["steps"]
    assert list(theirs) == list(ours.step_defs)
    for step, parameters in theirs.items():
        assert parameters.keys() <= ours.get_pars()["steps"][step].keys(), step

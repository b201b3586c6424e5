"""What is read is written again; the peer reads ours, and we read the peer's."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upramp import models
from upramp.errors import OutputError

# Cards that change on purpose: when and as what the file was saved, and what checksums said of the old bytes.
REWRITTEN = {"DATE", "FILENAME", "DATAMODL", "CHECKSUM", "DATASUM"}
STRUCTURAL = {
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "BSCALE",
    "BZERO",
    "TFIELDS",
    "EXTVER",
}
COLUMNS = ("NAXIS", "TTYPE", "TFORM", "TUNIT", "TSCAL", "TZERO")


def cards_of(hdu):
    """(keyword, value) of every card that carries information, in order of the keyword."""
    cards = [(c.keyword, c.value) for c in hdu.header.cards if c.keyword]
    cards = [c for c in cards if c[0] not in REWRITTEN | STRUCTURAL and not c[0].startswith(COLUMNS)]
    return sorted(cards, key=lambda card: (card[0], str(card[1])))


def assert_same_file(old, new):
    with fits.open(old) as first, fits.open(new) as second:
        second.verify("exception")
        names = [hdu.name for hdu in first if hdu.name != "ASDF"]
        assert sorted(names) == sorted(hdu.name for hdu in second if hdu.name != "ASDF")
        for name in names:
            assert cards_of(first[name]) == cards_of(second[name]), name
            if first[name].is_image and first[name].data is not None:
                expected = first[name].data
                if name == "DQ":
                    # Bits that DQ_DEF does not define are dropped (the superbias has some).
                    expected = expected & np.bitwise_or.reduce(first["DQ_DEF"].data["VALUE"].astype("u4"))
                np.testing.assert_array_equal(expected, second[name].data)


@pytest.mark.parametrize("which", ["nircam_uncal", "fgs_uncal", "superbias_file", "dark_file", "ipc_file"])
def test_every_card_of_a_real_file_survives(which, request, tmp_path):
    source = request.getfixturevalue(which)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", models.NoTypeWarning)
        model = models.open(source)
    path = model.save(tmp_path / source.name)
    assert_same_file(source, path)
    again = models.open(path)
    assert type(again) is type(model)
    assert again.save(tmp_path / source.name) == path
    assert_same_file(source, path)


def test_uncal_is_copied_bit_by_bit(fgs_uncal, tmp_path):
    path = models.open(fgs_uncal).save(tmp_path / "x_uncal.fits")
    np.testing.assert_array_equal(models.open(path).mapped("data").bits, models.open(fgs_uncal).mapped("data").bits)


def test_card_order_and_sections(nircam_uncal, tmp_path):
    path = models.open(nircam_uncal).save(tmp_path / "x_uncal.fits")
    with fits.open(nircam_uncal) as old, fits.open(path) as new:
        for name in ("PRIMARY", "SCI"):
            # The titles of sections have blank keywords.
            first = [c.keyword or str(c.value) for c in old[name].header.cards]
            second = [c.keyword or str(c.value) for c in new[name].header.cards]
            assert first == second


def test_extra_cards_hdus_and_history(dark_file, tmp_path):
    model = models.DarkModel(dark_file)
    assert ["SCA_ID", 491] in [card[:2] for card in model.extra_fits.PRIMARY.header]
    assert [hdu.name for hdu in model.extra_hdus] == ["UNC"]
    lines = len(model.history)
    model.add_history_entry("one more")
    path = model.save(tmp_path / "d.fits")
    with fits.open(path) as new, fits.open(dark_file) as old:
        np.testing.assert_array_equal(new["UNC"].data, old["UNC"].data)
        assert list(new[0].header["HISTORY"])[-1] == "one more"
        assert len(new[0].header["HISTORY"]) == lines + 1
    # Unknown cards stay with their file: another model does not take them over unless asked to.
    other = models.DarkModel()
    other.update(model)
    assert other.extra_fits == {}
    other.update(model, extra_fits=True)
    assert other.extra_fits["PRIMARY"] == model.extra_fits["PRIMARY"]


def test_tables_survive(uncal, tmp_path):
    raw = models.open(uncal)
    path = models.RampModel(uncal).save(tmp_path / "x_ramp.fits")
    ramp = models.open(path)
    for name in ("int_times", "group"):
        np.testing.assert_array_equal(getattr(raw, name), getattr(ramp, name))
    assert ramp.group["group_end_time"][0] == "2023-01-02T03:04:05.678"
    assert ramp.group["end_day"][0] == -7
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY",
            "SCI",
            "PIXELDQ",
            "GROUPDQ",
            "ZEROFRAME",
            "GROUP",
            "INT_TIMES",
            "ASDF",
        ]


def test_rate_products_have_their_hdus_in_order(tmp_path):
    image = models.ImageModel((4, 5))
    for name in ("dq", "err", "var_poisson", "var_rnoise"):
        setattr(image, name, np.ones((4, 5)))
    image.meta.bunit_data = image.meta.bunit_err = "DN/s"
    with fits.open(image.save(tmp_path / "x_rate.fits")) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "ASDF"]
        assert [hdus[n].header["BITPIX"] for n in ("SCI", "ERR", "DQ")] == [-32, -32, 32]
        assert hdus["DQ"].header["BZERO"] == 2**31
        assert hdus["SCI"].header["EXTVER"] == 1
    cube = models.CubeModel((2, 4, 5))
    cube.int_times = np.zeros(2, cube.get_dtype("int_times"))
    cube.var_poisson = cube.var_rnoise = np.ones((2, 4, 5))
    cube.meta.bunit_data = cube.meta.bunit_err = "DN/s"
    with fits.open(cube.save(tmp_path / "x_rateints.fits")) as hdus:
        names = [h.name for h in hdus]
        assert names == ["PRIMARY", "SCI", "ERR", "DQ", "INT_TIMES", "VAR_POISSON", "VAR_RNOISE", "ASDF"]


def test_free_attributes_go_through_the_asdf_extension(tmp_path):
    model = models.ImageModel((3, 4))
    model.cal_logs = {"jump": ["2023 - found 'this': {not yaml}", "ü"], "none": []}
    model.meta.exposure.read_times = [[1.5], [2.5, 3.5]]
    model.meta.mine = {"flag": True, "table": [1, {"a": None}], "text": "01011"}
    model.meta.array = np.arange(3.0)
    model.history = ["first", "second"]
    again = models.open(model.save(tmp_path / "x.fits"))
    assert again.cal_logs.jump == model.cal_logs.jump
    assert again.cal_logs.none == []
    assert again.meta.exposure.read_times == [[1.5], [2.5, 3.5]]
    assert again.meta.mine == model.meta.mine
    np.testing.assert_array_equal(again.meta.array, np.arange(3.0))
    assert again.history == ["first", "second"]


def test_the_header_counts_where_it_disagrees_with_asdf(uncal):
    peer = pytest.importorskip("stdatamodels.jwst.datamodels")
    with fits.open(uncal, mode="update") as hdus:
        hdus[0].header["TGROUP"] = 5.0
        del hdus[0].header["FILTER"]
    for model in (models.open(uncal), peer.Level1bModel(str(uncal))):
        assert model.meta.exposure.group_time == 5.0
        assert model.meta.instrument.filter == "F200W"  # what the header does not say


def test_asdf_extension_is_not_needed(uncal):
    with fits.open(uncal, mode="update") as hdus:
        del hdus["ASDF"]
    assert models.open(uncal).meta.exposure.ngroups == 3


def test_values_that_fits_cannot_hold(tmp_path, caplog):
    model = models.ImageModel((3, 4))
    model.meta.exposure.primary_cosmic_rays = float("nan")
    model.meta.target.proposer_name = "β Pictoris"
    model.meta.program.title = "long " * 40
    again = models.open(model.save(tmp_path / "x.fits"))
    assert "PRIMECRS is left out" in caplog.text
    assert np.isnan(again.meta.exposure.primary_cosmic_rays)  # the ASDF extension has it
    assert again.meta.target.proposer_name == "? Pictoris"
    assert again.meta.program.title == ("long " * 40).strip()


def test_saving_over_the_mapped_file(uncal):
    model = models.open(uncal)
    expected = fits.getdata(uncal, "SCI")
    model.save(uncal)
    np.testing.assert_array_equal(model.data, expected)
    np.testing.assert_array_equal(models.open(uncal).data, expected)


def test_save_errors(tmp_path, monkeypatch):
    model = models.ImageModel((3, 4))
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist"):
        model.save(tmp_path / "nowhere" / "x.fits")
    with pytest.raises(ValueError, match=r"unknown filetype \.txt"):
        model.save(tmp_path / "x.txt")
    path = Path(model.save("y.fits", dir_path=tmp_path))
    assert path == tmp_path / "y.fits"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(path, overwrite=False)
    before = path.read_bytes()
    model.err = np.ones((3, 4))
    monkeypatch.setattr("upramp.models._writing.encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- with the peer ----


@pytest.fixture
def peer():
    return pytest.importorskip("jwst.datamodels")


@pytest.mark.parity
@pytest.mark.parametrize("which", ["uncal", "nircam_uncal", "fgs_uncal"])
def test_the_peer_reads_our_ramps(which, peer, request, tmp_path):
    source = request.getfixturevalue(which)
    model = models.RampModel(source)
    model.cal_logs = {"jump": ["text"]}
    path = model.save(tmp_path / "x_ramp.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with peer.open(path) as theirs, peer.RampModel(source) as original:
            theirs.validate()
            assert type(theirs).__name__ == "RampModel"
            np.testing.assert_array_equal(theirs.data, model.data)
            np.testing.assert_array_equal(theirs.groupdq, model.groupdq)
            assert theirs.cal_logs.jump == ["text"]
            found = theirs.to_flat_dict(include_arrays=False)
            expected = original.to_flat_dict(include_arrays=False)
    changed = {"meta.filename", "meta.date", "meta.model_type"}
    for path_ in expected:
        if path_.startswith("meta.") and path_ not in changed:
            assert found[path_] == expected[path_], path_


@pytest.mark.parity
def test_the_peer_reads_our_metadata(peer, uncal):
    metadata = peer.read_metadata(uncal)
    assert metadata["meta.instrument.detector"] == "NRCA1"
    assert metadata["meta.exposure.nints"] == 2
    assert metadata["meta.model_type"] == "Level1bModel"


@pytest.mark.parity
@pytest.mark.parametrize("which", ["superbias_file", "dark_file", "ipc_file"])
def test_the_peer_reads_our_references(which, peer, request, tmp_path):
    name = {"superbias_file": "SuperBiasModel", "dark_file": "DarkModel", "ipc_file": "IPCModel"}[which]
    model = getattr(models, name)(request.getfixturevalue(which))
    path = model.save(tmp_path / "r.fits")
    with fits.open(path) as hdus:
        assert "ASDF" not in hdus
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with peer.open(path) as theirs:
            assert type(theirs).__name__ == name
            for array in model._slots:
                if not model._schema.arrays[array].is_table:
                    np.testing.assert_array_equal(getattr(theirs, array), getattr(model, array))


@pytest.mark.parity
def test_we_read_what_the_peer_writes(peer, uncal, tmp_path):
    with peer.RampModel(uncal) as theirs:
        theirs.meta.cal_step.dq_init = "COMPLETE"
        theirs.add_history_entry("line")
        theirs.save(tmp_path / "p_ramp.fits")
        ours = models.open(tmp_path / "p_ramp.fits")
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_array_equal(ours.int_times["int_mid_MJD_UTC"], theirs.int_times["int_mid_MJD_UTC"])
        assert list(ours.group["group_end_time"]) == list(theirs.group["group_end_time"])
        for path, value in theirs.to_flat_dict(include_arrays=False).items():
            if path.startswith("meta."):
                assert ours[path] == value, path


@pytest.mark.parity
def test_hdus_are_where_the_peer_puts_them(peer, uncal, tmp_path):
    ours = models.RampModel(uncal).save(tmp_path / "o_ramp.fits")
    with peer.RampModel(uncal) as theirs:
        theirs.save(tmp_path / "p_ramp.fits")
    with fits.open(ours) as first, fits.open(tmp_path / "p_ramp.fits") as second:
        assert [h.name for h in first] == [h.name for h in second]
        for one, two in zip(first[:-1], second[:-1], strict=True):
            cards = [[c.keyword or str(c.value) for c in h.header.cards] for h in (one, two)]
            assert cards[0] == cards[1]
            for keyword in {c for c in cards[0] if c in one.header} - REWRITTEN:
                assert one.header[keyword] == two.header[keyword], keyword


@pytest.mark.parity
def test_a_step_of_the_peer_runs_on_our_file(peer, uncal, monkeypatch):
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    group_scale = pytest.importorskip("jwst.group_scale").GroupScaleStep
    model = models.RampModel(uncal)
    model.meta.exposure.nframes, model.meta.exposure.frame_divisor = 3, 4
    path = model.save(uncal.with_name("x_ramp.fits"))
    result = group_scale.call(str(path))
    assert result.meta.cal_step.group_scale == "COMPLETE"
    np.testing.assert_allclose(result.data, model.data * (4 / 3), rtol=1e-6)


TEXT = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=200).map(str.rstrip)
NUMBER = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False, width=64))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, number=NUMBER, flag=st.booleans(), free=st.recursive(TEXT | NUMBER | st.booleans(), st.lists))
def test_any_value_survives(tmp_path, text, number, flag, free):
    model = models.ImageModel()
    model.meta.program.title = text
    model.meta.target.ra = number
    model.meta.visit.tsovisit = flag
    model.meta.free = free
    again = models.open(model.save(tmp_path / "x.fits"))
    assert again.meta.program.title == text
    # A card has 20 characters for a number, not always 17 digits.
    assert again.meta.target.ra == pytest.approx(number, rel=1e-12)
    assert again.meta.visit.tsovisit is flag
    assert again.meta.free == free

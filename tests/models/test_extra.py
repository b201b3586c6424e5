"""What is changed in the cards and HDUs that no schema knows is saved."""

import numpy as np
import pytest
from astropy.io import fits

from upramp import models


@pytest.fixture
def path(tmp_path):
    """An image with a card and an HDU of somebody's own."""
    path = tmp_path / "x.fits"
    models.ImageModel(np.zeros((3, 4), np.float32)).save(path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["FOO"] = (1, "theirs")
        hdus.append(fits.ImageHDU(np.arange(6, dtype=np.int16).reshape(2, 3), fits.Header({"OWN": "a"}), "MINE"))
        hdus.append(fits.BinTableHDU(np.array([(1, 2.5)], [("n", "i4"), ("x", "f8")]), name="TAB"))
    return path


def test_changes_are_saved(path, tmp_path):
    model = models.ImageModel(path)
    extra = model.extra_fits
    extra.PRIMARY.header[0][1] = 99
    extra.PRIMARY.header.append(["BAR", 2])
    extra.MINE.data[:] = 7
    extra.MINE.header.append(["OTHER", 3.5, "mine"])
    assert model.extra_fits.PRIMARY.header == [["FOO", 99, "theirs"], ["BAR", 2]]
    for saved in (model, model.copy(), models.ImageModel(model)):
        saved.save(tmp_path / "y.fits")
        with fits.open(tmp_path / "y.fits") as hdus:
            assert (hdus[0].header["FOO"], hdus[0].header["BAR"], hdus["MINE"].header["OWN"]) == (99, 2, "a")
            assert (hdus["MINE"].data == 7).all() and hdus["MINE"].header["OTHER"] == 3.5
            assert hdus["TAB"].data["x"][0] == 2.5
    other = models.ImageModel((3, 4))
    other.update(model, extra_fits=True)
    assert other.extra_fits.PRIMARY.header[0][1] == 99


def test_what_is_only_looked_at_stays_as_it_lies(path, tmp_path):
    model = models.ImageModel(path)
    for name in model.extra_fits:
        assert model.extra_fits[name].header is not None
    model.save(tmp_path / "y.fits")
    with fits.open(path) as before, fits.open(tmp_path / "y.fits") as after:
        for name in ("MINE", "TAB"):
            assert str(before[name].header) == str(after[name].header)
            assert before[name].data.tobytes() == after[name].data.tobytes()


def test_a_copy_has_its_own(path):
    model = models.ImageModel(path)
    model.copy().extra_fits.PRIMARY.header[0][1] = 5
    assert model.extra_fits.PRIMARY.header[0][1] == 1


def test_they_are_replaced_and_removed_as_a_whole(path, tmp_path):
    model = models.ImageModel(path)
    model.extra_fits = {"PRIMARY": {"header": [["NEW", True, "c"]]}, "HERS": {"header": [], "data": np.ones(3, "f4")}}
    model.save(tmp_path / "y.fits")
    with fits.open(tmp_path / "y.fits") as hdus:
        assert hdus[0].header["NEW"] and "FOO" not in hdus[0].header and "MINE" not in hdus
        assert hdus["HERS"].data.tolist() == [1, 1, 1]
    model.extra_fits.PRIMARY.header = []
    del model.extra_fits.HERS.header[:]
    assert model.extra_fits.PRIMARY.header == []
    del model.extra_fits
    assert not model.extra_fits

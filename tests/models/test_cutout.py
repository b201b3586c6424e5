"""Which part of a reference belongs to an exposure."""

import numpy as np
import pytest

from upramp import models
from upramp.errors import MissingKeywordError, ReferenceFileError
from upramp.models import cutout


def placed(model, xstart, ystart, xsize, ysize):
    model.meta.subarray = {"xstart": xstart, "ystart": ystart, "xsize": xsize, "ysize": ysize}
    model.meta.instrument.name = "NIRCAM"
    return model


def science(xstart=11, ystart=21, nx=8, ny=6):
    return placed(models.RampModel((1, 1, ny, nx)), xstart, ystart, nx, ny)


def test_same_subarray():
    reference = placed(models.SuperBiasModel((6, 8)), 11, 21, 8, 6)
    assert cutout(reference, science()) == (slice(0, 6), slice(0, 8))


def test_larger_reference():
    reference = placed(models.LinearityModel(np.zeros((3, 40, 30))), 5, 2, 30, 40)
    assert cutout(reference, science()) == (slice(19, 25), slice(6, 14))


def test_full_frame_without_keywords(caplog):
    mask = models.MaskModel(np.zeros((2048, 2048), "u4"))
    assert cutout(mask, science()) == (slice(20, 26), slice(10, 18))
    assert "taken for that" in caplog.text
    miri = science()
    miri.meta.instrument.name = "MIRI"
    assert cutout(models.MaskModel(np.zeros((1024, 1032), "u4")), miri) == (slice(20, 26), slice(10, 18))
    with pytest.raises(MissingKeywordError, match="full frame is 1032 x 1024"):
        cutout(mask, miri)


def test_errors():
    with pytest.raises(MissingKeywordError, match="does not say which part of the detector"):
        cutout(models.GainModel((6, 8)), science())
    bare = models.RampModel((1, 1, 6, 8))
    with pytest.raises(MissingKeywordError, match=r"RampModel.*are \(None, None, None, None\)"):
        cutout(placed(models.GainModel((6, 8)), 1, 1, 8, 6), bare)
    with pytest.raises(ReferenceFileError, match="are 0 and 1; pixels count from 1"):
        cutout(placed(models.GainModel((6, 8)), 0, 1, 8, 6), science())
    with pytest.raises(ReferenceFileError, match=r"begins at pixel \(1, 1\) and has 8 x 6 .* at \(11, 21\)"):
        cutout(placed(models.GainModel((6, 8)), 1, 1, 8, 6), science())
    striped = science()
    striped.meta.subarray.num_superstripe = 2
    with pytest.raises(MissingKeywordError, match="lacks MSTR_RD1, MSTR_SK1, .* SLOWAXIS"):
        cutout(placed(models.GainModel((6, 8)), 11, 21, 8, 6), striped)


def test_wrong_size_keyword(caplog):
    reference = placed(models.GainModel((6, 8)), 11, 21, 9, 9)
    assert cutout(reference, science()) == (slice(0, 6), slice(0, 8))
    assert "SUBSIZE1 and SUBSIZE2 say 9 x 9, its arrays have 8 x 6" in caplog.text


def test_irs2_rows(caplog):
    ramp = placed(models.RampModel(np.zeros((1, 1, 3200, 4), "f4")), 1, 1, 4, 2048)
    reference = placed(models.SuperBiasModel(np.zeros((3200, 4), "f4")), 1, 1, 4, 2048)
    assert cutout(reference, ramp) == (slice(0, 3200), slice(0, 4))
    assert caplog.text == ""


def test_only_shapes_are_read(superbias_file):
    reference = models.SuperBiasModel(superbias_file)
    ramp = placed(models.RampModel((1, 1, 32, 512)), 1025, 957, 512, 32)
    assert cutout(reference, ramp) == (slice(0, 32), slice(0, 512))
    assert reference._slots["data"]._value is None


@pytest.mark.parity
@pytest.mark.parametrize(
    ("place", "shape"),
    [((11, 21, 8, 6), (6, 8)), ((5, 2, 30, 40), (40, 30)), ((11, 21, 9, 9), (6, 8)), ((1, 1, 8, 6), (6, 8))],
)
def test_as_the_peer_cuts(place, shape, tmp_path):
    utilities = pytest.importorskip("jwst.lib.reffile_utils")
    peer = pytest.importorskip("stdatamodels.jwst.datamodels")
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    reference = placed(models.SuperBiasModel(values), *place)
    ramp = science()
    theirs = peer.SuperBiasModel(str(reference.save(tmp_path / "r.fits")))
    exposure = peer.RampModel(str(ramp.save(tmp_path / "s.fits")))
    with theirs, exposure:
        if place[0] == 1:
            with pytest.raises(ValueError):
                utilities.get_subarray_model(exposure, theirs)
            with pytest.raises(ReferenceFileError):
                cutout(reference, ramp)
            return
        matches = utilities.ref_matches_sci(exposure, theirs)
        expected = theirs.data if matches else utilities.get_subarray_model(exposure, theirs).data
        np.testing.assert_array_equal(values[cutout(reference, ramp)], expected)

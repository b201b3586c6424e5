"""Which part of a reference belongs to an exposure."""

import numpy as np
import pytest

from upramp import models
from upramp.errors import MissingKeywordError, ReferenceFileError, ShapeError
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


def stripes(pattern, nx=8, n_lines=6, slowaxis=2, start=1, **changes):
    """An exposure of stripes along rows, or columns; ``pattern`` in the order of the keywords."""
    rows = abs(slowaxis) == 2
    model = placed(
        models.RampModel((4, 1, n_lines, nx) if rows else (4, 1, nx, n_lines)),
        *((11, start, nx, n_lines) if rows else (start, 11, n_lines, nx)),
    )
    names = (
        "multistripe_reads1", "multistripe_skips1", "multistripe_reads2", "multistripe_skips2", "repeat_stripe",
        "interleave_reads1", "superstripe_step", "num_superstripe",
    )  # fmt: skip
    values = dict(zip(names, pattern, strict=True)) | {"slowaxis": slowaxis, "fastaxis": 1 if rows else 2} | changes
    for name, value in values.items():
        model.meta.subarray[name] = value
    return model


FULL = placed(models.GainModel((2048, 2048)), 1, 1, 2048, 2048)
INTERLEAVED, STEPS = (1, 99, 2, 10, 1, 1, 0, 0), (1, 99, 5, 0, 1, 0, 5, 2)


@pytest.mark.parametrize(
    ("slowaxis", "start", "first"),
    [(2, 1, 0), (2, 4, 3), (-2, 2048, 0), (-2, 2045, 3), (-2, 1, 0), (1, 4, 3), (-1, 2045, 3)],
)
def test_stripes(slowaxis, start, first):
    read = first + np.array([0, 100, 101, 0, 112, 113])
    lines, fast = cutout(FULL, stripes(INTERLEAVED, slowaxis=slowaxis, start=start))
    if abs(slowaxis) == 1:
        lines, fast = fast, lines
    assert fast == slice(10, 18)
    np.testing.assert_array_equal(lines, read if slowaxis > 0 else 2047 - read[::-1])


def test_superstripes_have_lines_for_every_position():
    rows, columns = cutout(FULL, stripes(STEPS))
    assert columns == slice(10, 18)
    np.testing.assert_array_equal(rows, [[0, *range(100, 105)], [0, *range(105, 110)]])


def test_stripes_of_the_reference_itself():
    """A reference of the same subarray is taken as it is, but for superstripes."""
    own = placed(models.GainModel((6, 8)), 11, 1, 8, 6)
    assert cutout(own, stripes(INTERLEAVED)) == (slice(0, 6), slice(0, 8))
    with pytest.raises(ReferenceFileError, match=r"does not cover the stripes .*SSTR_NST\) are rows 1 to 110"):
        cutout(own, stripes(STEPS))


def test_early_dhs_exposures_start_at_the_first_line(caplog):
    rows, _ = cutout(FULL, stripes(INTERLEAVED, start=9, name="SUB41STRIPE1_DHS"))
    assert rows[0] == 0
    assert "taken to be the first one read" in caplog.text


def test_stripes_that_contradict_each_other():
    with pytest.raises(MissingKeywordError, match="lacks MSTR_SK2, SSTR_NST;"):
        cutout(FULL, stripes((1, 99, 2, None, 1, 1, 0, None)))
    with pytest.raises(ShapeError, match="stripes have 8 lines, but the exposure has 6 .*MSTR_RD2 3"):
        cutout(FULL, stripes((1, 99, 3, 10, 1, 1, 0, 0)))
    with pytest.raises(ShapeError, match="MSTR_RD2 of at least 1"):
        cutout(FULL, stripes((1, 99, 0, 10, 1, 1, 0, 0)))
    with pytest.raises(ShapeError, match="SUBSIZE2 says 7 lines, the array has 6"):
        cutout(FULL, stripes(INTERLEAVED, ysize=7))
    with pytest.raises(ShapeError, match="times are known only if"):
        cutout(FULL, stripes((1, 99, 2, 10, 0, 0, 2, 2), n_lines=5))
    small = placed(models.GainModel((100, 2048)), 1, 1, 2048, 100)
    with pytest.raises(ReferenceFileError, match="Use a full-frame reference"):
        cutout(small, stripes(INTERLEAVED))

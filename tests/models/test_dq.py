"""Flags, and their translation from the values in reference files."""

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.models.dqflags import GroupDQ, PixelDQ


def mask(dq, rows):
    model = models.MaskModel(np.asarray(dq))
    if rows is not None:
        table = np.zeros(len(rows), model.get_dtype("dq_def"))
        table["BIT"] = range(len(rows))
        table["VALUE"] = [value for value, _ in rows]
        table["NAME"] = [name for _, name in rows]
        model.dq_def = table
    return model


def write_mask(path, dq, rows):
    """A mask with file values, as a maker of references writes it."""
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.asarray(dq, "u4"), name="DQ")]
    hdus[0].header["DATAMODL"] = "MaskModel"
    if rows is not None:
        columns = [
            fits.Column("BIT", "J", array=np.arange(len(rows))),
            fits.Column("VALUE", "J", bzero=2**31, array=np.array([v for v, _ in rows], "u4")),
            fits.Column("NAME", "40A", array=[n for _, n in rows]),
            fits.Column("DESCRIPTION", "80A", array=[""] * len(rows)),
        ]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="DQ_DEF"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


ROWS = [(1, "DO_NOT_USE"), (2, "DEAD"), (4, "HOT"), (8, "NOSUCH"), (2**31, "JUMP_DET"), (0, "GOOD")]


def test_flags_agree_with_the_peer():
    peer = pytest.importorskip("stdatamodels.jwst.datamodels.dqflags")
    assert {flag.name: int(flag) for flag in PixelDQ.__members__.values()} == dict(peer.pixel)
    assert {flag.name: int(flag) for flag in GroupDQ.__members__.values()} == dict(peer.group)


def test_translation(tmp_path, caplog):
    path = write_mask(tmp_path / "m.fits", [[0, 1, 2, 3], [4, 8, 16, 2**31 + 6]], ROWS)
    model = models.open(path)
    expected = [[0, 1, 1024, 1025], [2048, 0, 0, 4 + 1024 + 2048]]
    assert not model.dq_is_standard
    mapped = model.mapped("dq")
    assert (mapped.kind, mapped.swapped, mapped.offset) == ("u4", False, 0)
    np.testing.assert_array_equal(mapped.bits, expected)
    np.testing.assert_array_equal(model.dq, expected)
    assert "m.fits: DQ_DEF names NOSUCH" in caplog.text


@pytest.mark.parity
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [], None, [(6, "HOT"), (2, "HOT"), (2, "DEAD")]])
def test_translation_is_that_of_the_peer(tmp_path, rows):
    peer = pytest.importorskip("stdatamodels.jwst.datamodels")
    dq = np.random.default_rng(1).integers(0, 2**32, (40, 30), dtype=np.uint64)
    dq[::2] &= 7
    path = write_mask(tmp_path / "m.fits", dq, rows)
    ours = models.MaskModel(path)
    with peer.MaskModel(path) as theirs:
        np.testing.assert_array_equal(ours.dq, theirs.dq)
        theirs.save(tmp_path / "theirs.fits")
    ours.save(tmp_path / "ours.fits")
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "ours.fits", "DQ"), fits.getdata(tmp_path / "theirs.fits", "DQ")
    )


def test_standard_flags_are_not_copied(tmp_path):
    rows = [(int(PixelDQ[name]), name) for name in ("DO_NOT_USE", "DEAD", "REFERENCE_PIXEL")]
    path = write_mask(tmp_path / "m.fits", [[0, 1], [1025, 2**31]], rows)
    model = models.open(path)
    assert model.dq_is_standard
    assert model.mapped("dq").source is not None
    np.testing.assert_array_equal(model.dq, [[0, 1], [1025, 2**31]])
    # A bit that the table does not define is dropped, so the array is not standard.
    model = models.open(write_mask(path, [[0, 1], [1025, 4]], rows))
    assert not model.dq_is_standard
    np.testing.assert_array_equal(model.dq, [[0, 1], [1025, 0]])
    assert models.open(write_mask(path, [[0, 4]], None)).dq_is_standard


def test_written_back_in_the_values_of_the_table(tmp_path):
    model = mask([[0, 1024, 1025, 4096]], ROWS)
    path = model.save(tmp_path / "m.fits")
    np.testing.assert_array_equal(fits.getdata(path, "DQ"), [[0, 2, 3, 0]])
    np.testing.assert_array_equal(model.dq, [[0, 1024, 1025, 4096]])
    np.testing.assert_array_equal(models.open(path).dq, [[0, 1024, 1025, 0]])


def test_real_files(superbias_file, dark_file):
    bias, dark = models.SuperBiasModel(superbias_file), models.DarkModel(dark_file)
    raw = fits.getdata(superbias_file, "DQ")
    np.testing.assert_array_equal(bias.dq & PixelDQ.UNRELIABLE_BIAS != 0, raw & 2 != 0)
    np.testing.assert_array_equal(bias.dq & PixelDQ.DO_NOT_USE, raw & 1)
    raw = fits.getdata(dark_file, "DQ")
    np.testing.assert_array_equal(dark.dq & PixelDQ.HOT != 0, raw & 4 != 0)
    assert dark.dq.dtype == np.uint32

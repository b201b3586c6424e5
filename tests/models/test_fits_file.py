"""Damaged and unusual files."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.errors import FileFormatError
from upramp.models._fits_file import FitsFile


def test_not_fits(tmp_path):
    path = tmp_path / "x.fits"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(FileFormatError, match=r"x\.fits is not a FITS file"):
        models.open(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="is not a FITS file"):
        models.open(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        models.open(tmp_path / "no.fits")


def test_truncated_data(uncal):
    content = uncal.read_bytes()
    with fits.open(uncal) as hdus:
        start = hdus["SCI"].fileinfo()["datLoc"]
    uncal.write_bytes(content[: start + 100])
    with pytest.raises(FileFormatError, match=rf"HDU 1 \(SCI\).*announces 240 bytes.*ends at byte {start + 100}"):
        models.open(uncal)


def test_truncated_header(uncal):
    uncal.write_bytes(uncal.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match=r"HDU 0: the header .* has no END"):
        models.open(uncal)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"BITPIX  =                   16", b"BITPIX  =                   17", "BITPIX is 17"),
        (b"NAXIS1  =                    5", b"NAXIS1  =                   -5", "lengths of the axes"),
        (b"NAXIS1  =                    5", b"NAXIS1  =               500000", "announces 24000000 bytes"),
        (b"NAXIS2  =                    4", b"NAXIS7  =                    4", "NAXIS2"),
    ],
)
def test_contradictory_header(uncal, old, new, message):
    content = uncal.read_bytes()
    assert old in content
    uncal.write_bytes(content.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=message):
        models.open(uncal)


def test_wrong_dimensions(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 4), "f4"), name="SCI")]).writeto(tmp_path / "a.fits")
    with pytest.raises(FileFormatError, match=r"HDU SCI: the array has 2 dimensions; expected 4.*\(3, 4\)"):
        models.RampModel(tmp_path / "a.fits")


def test_table_instead_of_image(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="SCI")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(FileFormatError, match="holds a table; expected an image"):
        models.ImageModel(tmp_path / "a.fits")


def test_wrong_columns(uncal):
    with fits.open(uncal) as hdus:
        hdus["INT_TIMES"] = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="INT_TIMES")
        hdus.writeto(uncal.with_name("b.fits"))
    model = models.RampModel(uncal.with_name("b.fits"))
    with pytest.raises(FileFormatError, match=r"HDU INT_TIMES: table int_times has the columns \['a'\]"):
        _ = model.int_times


def test_missing_hdu_is_none(uncal):
    with fits.open(uncal) as hdus:
        del hdus["SCI"], hdus["ZEROFRAME"]
        hdus.writeto(uncal.with_name("b.fits"))
    model = models.Level1bModel(uncal.with_name("b.fits"))
    assert model.data is None
    assert model.shape is None
    assert model.mapped("data") is None


def test_gzipped(uncal, tmp_path):
    path = tmp_path / "g.fits.gz"
    with uncal.open("rb") as source, gzip.open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    model, plain = models.open(path), models.open(uncal)
    np.testing.assert_array_equal(model.mapped("data").bits, plain.mapped("data").bits)
    np.testing.assert_array_equal(model.data, plain.data)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError, match="does not unpack"):
        models.open(path)


def test_scaled_and_compressed_images(tmp_path):
    values = np.arange(64, dtype="i4").reshape(8, 8)
    scaled = fits.ImageHDU(values.astype("i2"), name="SCI")
    scaled.header["BSCALE"], scaled.header["BZERO"] = 0.5, 10.0
    packed = fits.CompImageHDU(values.astype("i4"), name="DQ", compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), scaled, packed]).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        expected = hdus["SCI"].data.copy()
    model = models.ImageModel(tmp_path / "a.fits")
    assert model.shape == (8, 8)
    bits = model.mapped("data")
    assert (bits.kind, bits.swapped) == ("f4", False)
    np.testing.assert_array_equal(bits.bits.view("f4"), expected)
    assert model.data.dtype == np.float32
    np.testing.assert_array_equal(model.dq, values)
    assert model.dq.dtype == np.uint32
    model.save(tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits", disable_image_compression=True) as hdus:
        assert [card for card in hdus["DQ"].header if card.startswith("Z")] == []
        np.testing.assert_array_equal(hdus["DQ"].data, values)


def test_an_hdu_is_found_by_its_name_whatever_its_version(tmp_path):
    science, other = (fits.ImageHDU(np.full((3, 4), value, "f4"), name="SCI", ver=value) for value in (2, 3))
    science.header["PHOTMJSR"] = 0.5
    fits.HDUList([fits.PrimaryHDU(), science, other]).writeto(tmp_path / "a.fits")
    model = models.open(tmp_path / "a.fits")
    assert isinstance(model, models.ImageModel)
    assert (model.data == 2).all()
    assert model.meta.photometry.conversion_megajanskys == 0.5
    assert (model.extra_fits.SCI.data == 3).all()


def test_invalid_card_values_are_warned_about(uncal):
    with fits.open(uncal, mode="update") as hdus:
        hdus[0].header["DETECTOR"] = "NRCA9"
    with pytest.warns(models.ValidationWarning, match=r"small_uncal\.fits: the value 'NRCA9' of meta\.instr"):
        model = models.open(uncal)
    assert model.meta.instrument.detector == "NRCA1"  # from the ASDF extension
    with fits.open(uncal, mode="update") as hdus:
        del hdus["ASDF"]
    with pytest.warns(models.ValidationWarning):
        assert models.open(uncal).meta.instrument.detector is None


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_unparsable_card(uncal):
    content = uncal.read_bytes()
    old, new = b"NGROUPS =                    3", b"NGROUPS = 3 .. 'x".ljust(30)
    assert old in content
    uncal.write_bytes(content.replace(old, new, 1))
    with pytest.warns(models.ValidationWarning, match="NGROUPS"):
        model = models.open(uncal)
    assert model.meta.exposure.ngroups == 3  # from the ASDF extension
    assert model.meta.exposure.nints == 2


def test_padding_after_the_last_hdu(uncal):
    with uncal.open("ab") as handle:
        handle.write(bytes(2880))
    assert len(FitsFile(uncal).hdus) == 6

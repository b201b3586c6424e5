"""Models in ASDF files, objects in the metadata, and the same read and written by the peer."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.modeling import models as transforms

from upramp import models
from upramp.errors import FileFormatError, InvalidMetadataError


@pytest.fixture
def distortion():
    """A distortion: shift, then a polynomial for each of V2 and V3."""
    polynomial = transforms.Polynomial2D(2, c0_0=1, c1_0=0.1) & transforms.Polynomial2D(2, c0_0=2, c0_1=0.3)
    model = models.DistortionModel()
    model.model = (transforms.Shift(1.5) & transforms.Shift(2)) | transforms.Mapping((0, 1, 0, 1)) | polynomial
    model.meta.input_units, model.meta.output_units = u.pixel, u.arcsec
    model.meta.instrument = {"name": "NIRISS", "detector": "NIS", "p_pupil": "CLEARP|"}
    return model


def test_arrays_tables_and_metadata(uncal, tmp_path):
    ramp = models.RampModel(uncal)
    ramp.meta.mine = {"list": [1, {"deep": 2.5}], "nan": float("nan"), "array": np.arange(3.0)}
    ramp.add_history_entry("a line")
    path = ramp.save(tmp_path / "x_ramp.asdf")
    again = models.open(path)
    assert type(again) is models.RampModel
    assert again.meta.filename == "x_ramp.asdf"
    assert again.history == ramp.history
    assert again.meta.mine.list == [1, {"deep": 2.5}]
    np.testing.assert_array_equal(again.meta.mine.array, np.arange(3.0))
    for name in ("data", "zeroframe", "int_times", "group"):
        assert getattr(again, name).dtype == getattr(ramp, name).dtype
        np.testing.assert_array_equal(getattr(again, name), getattr(ramp, name))
    again.data[...] = 0  # the file is not written to
    assert models.open(path).data.any()
    assert models.open(again.save(tmp_path / "y_ramp.fits")).meta.instrument.detector == "NRCA1"


def test_extra_cards_and_hdus(dark_file, tmp_path):
    dark = models.DarkModel(dark_file)
    path = dark.save(tmp_path / "dark.asdf")
    again = models.DarkModel(path)
    assert [tuple(c) for c in again.extra_fits.PRIMARY.header] == [tuple(c) for c in dark.extra_fits.PRIMARY.header]
    np.testing.assert_array_equal(again.extra_fits.UNC.data, dark.extra_fits.UNC.data)
    np.testing.assert_array_equal(again.dq, dark.dq)
    back = models.DarkModel(again.save(tmp_path / "dark.fits"))
    np.testing.assert_array_equal(back.extra_fits.UNC.data, dark.extra_fits.UNC.data)
    assert back.extra_fits.UNC.header == dark.extra_fits.UNC.header
    with pytest.raises(AttributeError, match="no extra cards or HDUs 'NOTHING'"):
        _ = dark.extra_fits.NOTHING


def test_flags_are_translated_as_in_fits(tmp_path):
    mask = models.MaskModel(np.array([[0, 2], [1024, 3]]))
    mask.dq_def = np.array([(0, 1, "HOT", ""), (1, 2, "DEAD", "")], mask.get_dtype("dq_def"))
    mask.dq = np.array([[0, 1024], [2048, 3072]])
    for name in ("m.asdf", "m.fits"):
        np.testing.assert_array_equal(models.MaskModel(mask.save(tmp_path / name)).dq, mask.dq)


@pytest.mark.parametrize("name", ["d.asdf", "d2.asdf"])
def test_transforms(distortion, name, tmp_path):
    path = distortion.save(tmp_path / name)
    again = models.open(path)
    assert type(again) is models.DistortionModel
    if name == "d2.asdf":  # carried on without being looked at
        again = models.open(again.save(tmp_path / "carried.asdf"))
    assert again.model(1, 2) == distortion.model(1, 2)
    assert again.meta.output_units == u.arcsec
    copy = again.copy()
    copy.model.offset_0 = 7
    assert again.model(1, 2) == distortion.model(1, 2)


def test_a_wcs_lies_in_the_extension_of_a_fits_file(distortion, tmp_path):
    gwcs = pytest.importorskip("gwcs")
    from gwcs import coordinate_frames as frames

    detector, sky = frames.Frame2D(name="detector"), frames.Frame2D(name="v2v3", unit=(u.arcsec, u.arcsec))
    image = models.ImageModel((3, 4))
    image.meta.wcs = gwcs.WCS([(detector, distortion.model), (sky, None)])
    for name in ("x_cal.fits", "x_cal.asdf"):
        path = image.save(tmp_path / name)
        carried = models.open(path).save(tmp_path / f"again_{name}")
        assert models.open(carried).meta.wcs(1, 2) == distortion.model(1, 2)


def test_what_is_no_asdf_file_is_refused(tmp_path):
    path = tmp_path / "x.asdf"
    with pytest.raises(FileNotFoundError):
        models.open(path)
    for content, problem in (
        (b"", "is not an ASDF file"),
        (b"SIMPLE", "is not an ASDF file"),
        (b"#ASDF 1.0.0\n--- {a: [", "empty or damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=problem):
            models.open(path)


def test_damaged_blocks_are_refused(tmp_path):
    path = Path(models.ImageModel(np.ones((30, 40))).save(tmp_path / "x.asdf"))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(FileFormatError, match="truncated"):
        models.open(path)
    path.write_bytes(content.replace(b"source: 0", b"source: 7"))
    with pytest.raises(FileFormatError, match="array that is not there"):
        models.open(path)
    path.write_bytes(content.replace(b"- 30\n", b"- 3\n"))
    assert models.open(path).shape == (3, 40)


def test_what_no_document_can_hold_is_refused(tmp_path):
    image = models.ImageModel((3, 4))
    image.meta.mine = object()
    for name in ("x.fits", "x.asdf"):
        with pytest.raises(InvalidMetadataError, match="cannot be saved"):
            image.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parity
def test_the_peer_reads_ours_and_we_read_the_peers(uncal, distortion, tmp_path):
    peer = pytest.importorskip("stdatamodels.jwst.datamodels")
    ramp = models.RampModel(uncal)
    theirs = peer.open(ramp.save(tmp_path / "ours.asdf"))
    assert type(theirs).__name__ == "RampModel"
    ours = models.open(theirs.save(tmp_path / "theirs.asdf"))
    for model in (theirs, ours):
        np.testing.assert_array_equal(model.data, ramp.data)
        assert model.group["group_end_time"].astype("U")[0] == ramp.group["group_end_time"][0]
        assert model.meta.exposure.readpatt == "RAPID"
    theirs = peer.DistortionModel(distortion.save(tmp_path / "d.asdf"))
    assert theirs.model(1, 2) == distortion.model(1, 2)
    assert models.open(theirs.save(tmp_path / "theirs_d.asdf")).model(1, 2) == distortion.model(1, 2)

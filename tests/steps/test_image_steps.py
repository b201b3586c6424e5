"""assign_wcs, flat_field and photom: what they refuse, what they record as SKIPPED, and single rules."""

import sys

import numpy as np
import pytest
from astropy.modeling.models import Scale, Shift

from upramp.errors import (
    FileFormatError,
    MissingKeywordError,
    MissingPackageError,
    ReferenceFileError,
    ShapeError,
    UnsupportedModeError,
)
from upramp.models import (
    CubeModel,
    DataModel,
    DistortionModel,
    FilteroffsetModel,
    FlatModel,
    ImageModel,
    NrcImgPhotomModel,
    PixelAreaModel,
)
from upramp.steps import AssignWcsStep, FlatFieldStep, PhotomStep
from upramp.wcs import Pointing, footprint_region, imaging_wcs

SIZE = 24


def image(kind=ImageModel, instrument="NIRCAM", exposure_type="NRC_IMAGE", **pointing):
    """Rates of 10 DN/s in a subarray."""
    shape = (2, SIZE, SIZE) if kind is CubeModel else (SIZE, SIZE)
    model = kind(np.full(shape, 10, np.float32))
    model.dq = np.zeros(shape, np.uint32)
    for name in ("err", "var_poisson", "var_rnoise"):
        setattr(model, name, np.ones(shape, np.float32))
    model.meta.filename = "x_rate.fits"
    model.meta.instrument = {"name": instrument, "detector": "NRCB1", "filter": "F200W", "pupil": "CLEAR"}
    model.meta.exposure.type = exposure_type
    model.meta.exposure.mid_time = 60000.0
    model.meta.subarray = {"name": "SUB64P", "xstart": 3, "ystart": 5, "xsize": SIZE, "ysize": SIZE}
    pointing = {"v2_ref": 0.5, "v3_ref": 0.5, "ra_ref": 10.0, "dec_ref": 20.0, "roll_ref": 0.0} | pointing
    for name, value in pointing.items():
        model.meta.wcsinfo[name] = value
    return model


def distortion(**metadata):
    """0.1 arcsec per pixel."""
    reference = DistortionModel()
    reference.model = Scale(0.1) & Scale(0.1)
    reference.meta.instrument.name = "NIRCAM"
    return reference


def wcs_step(**pars):
    return AssignWcsStep(**({"override_distortion": distortion(), "override_filteroffset": "N/A"} | pars))


def flat():
    reference = FlatModel(np.full((SIZE, SIZE), 2, np.float32))
    reference.meta.subarray = {"xstart": 3, "ystart": 5, "xsize": SIZE, "ysize": SIZE}
    return reference


def photom(rows=(("F200W", "CLEAR", 0.5, 0.1), ("F444W", "CLEAR", 0.25, 0.1))):
    reference = NrcImgPhotomModel()
    reference.phot_table = np.array(
        list(rows), [("filter", "U12"), ("pupil", "U12"), ("photmjsr", "f4"), ("uncertainty", "f4")]
    )
    reference.meta.photometry.pixelarea_steradians, reference.meta.photometry.pixelarea_arcsecsq = 1e-14, 1e-3
    return reference


def photom_step(**pars):
    return PhotomStep(**({"override_photom": photom(), "override_area": "N/A"} | pars))


# ---- assign_wcs ----


def test_sky_coordinates_by_hand():
    result = wcs_step().run(image())
    # The pixel at the reference point: (x + 2) * 0.1 = 0.5 and (y + 4) * 0.1 = 0.5.
    np.testing.assert_allclose(result.meta.wcs(3.0, 1.0), (10.0, 20.0), atol=1e-12)
    # A step along V2 (to the left of V3, which is north) is one to the east.
    ra, dec = result.meta.wcs(4.0, 1.0)
    np.testing.assert_allclose([(ra - 10) * np.cos(np.deg2rad(20)) * 3600, (dec - 20) * 3600], [0.1, 0], atol=1e-6)
    assert result.meta.wcs.bounding_box == ((-0.5, SIZE - 0.5), (-0.5, SIZE - 0.5))
    assert result.meta.cal_step.assign_wcs == "COMPLETE" and result.meta.wcsinfo.ctype1.startswith("RA---TAN")


@pytest.mark.parametrize("filters", [("F200W", (0.5, -0.25)), ("F444W", (0, 0))])
def test_offset_of_the_filter(filters):
    offsets = FilteroffsetModel()
    offsets.filters = [{"filter": filters[0], "pupil": "CLEAR", "column_offset": 0.5, "row_offset": -0.25}]
    plain = wcs_step().run(image()).meta.wcs
    shifted = wcs_step(override_filteroffset=offsets).run(image()).meta.wcs
    dx, dy = filters[1]
    np.testing.assert_allclose(shifted(2.0, 3.0), plain(2.0 + dx, 3.0 + dy), rtol=0, atol=1e-12)
    offsets.filters = offsets.filters * 2
    if filters[0] == "F200W":
        with pytest.raises(ReferenceFileError, match="2 offsets"):
            wcs_step(override_filteroffset=offsets).run(image())


def test_the_reference_is_left_as_it_is():
    reference = distortion()
    wcs_step(override_distortion=reference).run(image())
    with pytest.raises(NotImplementedError):
        _ = reference.model.bounding_box


def test_exposures_without_sky(caplog):
    result = wcs_step().run(image(exposure_type="NRC_DARK"))
    assert result.meta.cal_step.assign_wcs == "SKIPPED" and "does not see the sky" in caplog.text
    assert result.meta.wcs is None


@pytest.mark.parametrize(
    ("instrument", "exposure_type"),
    [("NIRCAM", "NRC_WFSS"), ("MIRI", "MIR_IMAGE"), ("NIRISS", "NIS_SOSS"), ("NIRSPEC", "NRS_IFU")],
)
def test_modes_without_wcs_are_refused(instrument, exposure_type):
    with pytest.raises(UnsupportedModeError, match=f"EXP_TYPE {exposure_type}; .* NIRCam, NIRISS and FGS"):
        wcs_step().run(image(instrument=instrument, exposure_type=exposure_type))


def test_what_the_wcs_needs(monkeypatch):
    with pytest.raises(MissingKeywordError, match=r"V2_REF \(meta.wcsinfo.v2_ref\), ROLL_REF"):
        wcs_step().run(image(v2_ref=None, roll_ref=None))
    with pytest.raises(ReferenceFileError, match="needs? a DISTORTION reference, and it is N/A"):
        wcs_step(override_distortion="N/A").run(image())
    with pytest.raises(ReferenceFileError, match="holds no transform"):
        wcs_step(override_distortion=DistortionModel()).run(image())
    wrong = image()
    wrong.meta.velocity_aberration.scale_factor = -1.0
    with pytest.raises(ValueError, match="VA_SCALE"):
        wcs_step().run(wrong)
    monkeypatch.setitem(sys.modules, "gwcs", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'upramp\[wcs\]'"):
        wcs_step().run(image())


def test_approximation_that_fails(caplog):
    result = wcs_step(sip_npoints=1).run(image())
    assert "no SIP approximation" in caplog.text
    assert result.meta.cal_step.assign_wcs == "COMPLETE" and result.meta.wcsinfo.cd1_1 is None


def test_a_wcs_without_models():
    pointing = Pointing(0, 0, 359.9999, 0, 0)
    wcs = imaging_wcs(Shift(-5) & Shift(-5), pointing, (10, 12))
    np.testing.assert_allclose(wcs(5, 5), (359.9999, 0), atol=1e-12)
    corners = np.array(footprint_region(wcs, (10, 12)).split()[2:], float).reshape(4, 2)
    assert (corners[:, 0] >= 0).all() and (corners[:, 0] < 360).all() and np.ptp(corners[:, 0]) > 350


# ---- flat_field ----


def test_flat_by_hand():
    reference = flat()
    reference.err[:] = 0.2
    reference.data[0, 0], reference.data[0, 1], reference.dq[0, 2] = np.nan, 0, 2**18
    result = FlatFieldStep(override_flat=reference).run(image())
    assert result.data[5, 5] == 5 and result.var_poisson[5, 5] == 0.25
    assert result.var_flat[5, 5] == pytest.approx(25 / 4 * 0.04)
    assert result.err[5, 5] == pytest.approx(np.sqrt(0.5 + 0.25))
    assert np.isnan(result.data[0, :3]).all() and (result.dq[0, :3] == 2**18 | 1).all() and not result.dq[1:].any()
    assert np.isnan(reference.data[0, 0]) and reference.dq[0, 0] == 0  # as it was


@pytest.mark.parametrize("kind", [ImageModel, CubeModel])
def test_flat_of_integrations_and_inverse(kind):
    original = image(kind)
    there = FlatFieldStep(override_flat=flat()).run(original)
    back = FlatFieldStep(override_flat=flat(), inverse=True).run(there)
    for name in ("data", "var_poisson", "var_rnoise"):
        np.testing.assert_array_equal(getattr(back, name), getattr(original, name))
    assert not back.var_flat.any() and (there.data == 5).all() and (original.data == 10).all()


def test_flats_that_are_not_used(caplog):
    assert FlatFieldStep(override_flat="N/A").run(image()).meta.cal_step.flat_field == "SKIPPED"
    small = FlatModel(np.ones((4, 4), np.float32))
    result = FlatFieldStep(override_flat=small).run(image())
    assert result.meta.cal_step.flat_field == "SKIPPED" and "smaller than the exposure" in caplog.text
    done = image()
    done.meta.cal_step.extract_2d = "COMPLETE"
    assert FlatFieldStep(override_flat=flat()).run(done).meta.cal_step.flat_field == "SKIPPED"
    lamp = image(instrument="NIRSPEC", exposure_type="NRS_AUTOFLAT")
    assert FlatFieldStep(override_flat=flat()).run(lamp).meta.cal_step.flat_field == "SKIPPED"
    with pytest.raises(UnsupportedModeError, match="NRS_IFU; of NIRSpec only images"):
        FlatFieldStep(override_flat=flat()).run(image(instrument="NIRSPEC", exposure_type="NRS_IFU"))


def test_the_flat_that_was_used_is_saved():
    FlatFieldStep(override_flat=flat(), save_interpolated_flat=True).run(image())
    with FlatModel("x_interpolatedflat.fits") as saved:
        assert (saved.data == 2).all()


def test_rates_that_lack_something():
    bare = ImageModel(np.ones((SIZE, SIZE), np.float32))
    bare.update(image())
    with pytest.raises(FileFormatError, match="no dq, var_poisson, var_rnoise"):
        FlatFieldStep(override_flat=flat()).run(bare)
    odd = image()
    odd.var_rnoise = np.ones((3, 3), np.float32)
    with pytest.raises(ShapeError, match="var_rnoise has shape"):
        FlatFieldStep(override_flat=flat()).run(odd)


# ---- photom ----


def test_photom_by_hand():
    area = PixelAreaModel(np.arange(60 * 50, dtype=np.float32).reshape(60, 50))
    area.meta.photometry.pixelarea_steradians = 3e-14
    original = image()
    original.data[2, 2], original.dq[3, 3] = np.nan, 1
    result = photom_step(override_area=area).run(original)
    assert result.data[0, 0] == 5 and result.err[0, 0] == 0.5 and result.var_poisson[0, 0] == 0.25
    for y, x in ((2, 2), (3, 3)):
        assert np.isnan(result.data[y, x]) and np.isnan(result.var_rnoise[y, x]) and result.dq[y, x] == 1
    meta = result.meta.photometry
    assert meta.conversion_megajanskys == 0.5 and meta.conversion_microjanskys == pytest.approx(11.75221526954)
    assert meta.pixelarea_steradians == 3e-14 and meta.pixelarea_arcsecsq is None
    np.testing.assert_array_equal(result.area, area.data[4 : 4 + SIZE, 2 : 2 + SIZE])
    assert result.meta.bunit_data == result.meta.bunit_err == "MJy/sr"


def test_pixel_area_without_a_map():
    meta = photom_step().run(image()).meta.photometry
    assert (meta.pixelarea_steradians, meta.pixelarea_arcsecsq) == (1e-14, 1e-3)


def test_a_filter_that_the_table_does_not_know(caplog):
    other = image()
    other.meta.instrument.filter = "F090W"
    result = photom_step().run(other)
    assert result.meta.cal_step.photom == "SKIPPED" and "no factor for {'filter': 'F090W'" in caplog.text
    assert (result.data == 10).all() and result.meta.bunit_data is None


def test_table_with_a_row_twice():
    with pytest.raises(ReferenceFileError, match="2 rows for"):
        photom_step(override_photom=photom([("F200W", "CLEAR", 0.5, 0.1), ("f200w", "clear", 0.6, 0.1)])).run(image())


def test_photom_that_is_skipped_or_refused(caplog):
    assert photom_step(override_photom="N/A").run(image()).meta.cal_step.photom == "SKIPPED"
    other = DataModel()
    other.meta.instrument.name = "NIRCAM"
    assert photom_step().run(other).meta.cal_step.photom == "SKIPPED"
    assert "takes an ImageModel or a CubeModel, not a DataModel" in caplog.text
    with pytest.raises(UnsupportedModeError, match="NRC_WFSS"):
        photom_step().run(image(exposure_type="NRC_WFSS"))
    with pytest.raises(UnsupportedModeError, match="is from NIRSPEC"):
        photom_step().run(image(instrument="NIRSPEC", exposure_type="NRS_IMAGE"))
    with pytest.raises(ReferenceFileError, match="AREA reference"):
        photom_step(override_area=PixelAreaModel((10, 10))).run(image())


def test_loss_of_throughput():
    reference = photom()
    losses = np.array(
        [("F200W", "CLEAR", 59635, 0.1), ("F444W", "CLEAR", 59635, 0.2)],
        [("filter", "U12"), ("pupil", "U12"), ("t0", "f4"), ("lossperyear", "f4")],
    )
    reference.timecoeff_linear = losses
    assert photom_step(override_photom=reference).run(image()).data[0, 0] == pytest.approx(5 / 0.9, rel=1e-6)
    off = photom_step(override_photom=reference, apply_time_correction=False).run(image())
    assert off.data[0, 0] == 5
    untimed = image()
    untimed.meta.exposure.mid_time = None
    with pytest.raises(ReferenceFileError, match="EXPMID"):
        photom_step(override_photom=reference).run(untimed)
    reference.timecoeff_linear = losses[::-1]
    with pytest.raises(ReferenceFileError, match="rows of timecoeff_linear are not those of phot_table"):
        photom_step(override_photom=reference).run(image())

"""picture_frame on rates of NIRSpec against the peer's correction."""

import numpy as np
import pytest

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A reference file: brighter towards the edges."""
    from upramp.models import PictureFrameModel

    y, x = np.mgrid[:2048, :2048]
    distance = np.minimum(np.minimum(x, 2047 - x), np.minimum(y, 2047 - y))
    model = PictureFrameModel((0.2 * np.exp(-distance / 120)).astype(np.float32))
    model.meta.instrument.name = "NIRSPEC"
    path = tmp_path_factory.mktemp("pattern") / "pictureframe.fits"
    model.save(path)
    return path


def make_rates(model_class, pattern, shape):
    from astropy.io import fits

    rng = np.random.default_rng(6)
    frame = fits.getdata(pattern)
    data = (0.3 + 3 * frame + 0.05 * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)
    data[..., ::53, :] += 5
    data[..., :4, :] = np.nan
    model = model_class(data)
    model.dq = np.zeros(shape, np.uint32)
    model.meta.instrument.name, model.meta.instrument.detector = "NIRSPEC", "NRS1"
    model.meta.exposure.type, model.meta.subarray.name = "NRS_FIXEDSLIT", "FULL"
    for name, value in {"xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}.items():
        setattr(model.meta.subarray, name, value)
    return model


@pytest.mark.parametrize("kind", ["ImageModel", "CubeModel"])
def test_rates(pattern, kind):
    from jwst.picture_frame.picture_frame import correct_picture_frame
    from stdatamodels.jwst import datamodels

    from upramp import models
    from upramp.steps import PictureFrameStep

    shape = (2048, 2048) if kind == "ImageModel" else (2, 2048, 2048)
    theirs = make_rates(getattr(datamodels, kind), pattern, shape)
    reference = datamodels.PictureFrameModel(pattern)
    _, _, _, status = correct_picture_frame(theirs, reference, mask_science_regions=False)
    assert status == "COMPLETE"
    rates = make_rates(getattr(models, kind), pattern, shape)
    step = PictureFrameStep(override_pictureframe=str(pattern), mask_science_regions=False)
    ours = step.run(rates)
    assert ours.meta.cal_step.picture_frame == "COMPLETE"
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-6, atol=1e-6)

    def contrast(data):
        return abs(np.nanmedian(data[..., 10:60, 900:1100]) - np.nanmedian(data[..., 900:1100, 900:1100]))

    assert contrast(ours.data) < 0.3 * contrast(rates.data)

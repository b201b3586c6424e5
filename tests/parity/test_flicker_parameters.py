"""What autoparam of clean_flicker_noise measures and chooses, against the functions of the peer.

Choices are compared with those of the peer as it is. Statistics are compared with our model of the background put into
the peer: models differ where boxes that hold sources are filled in, see docs/deviations.md.
"""

import numpy as np
import pytest

from upramp.kernels.flicker_noise import background_level, restore_flat
from upramp.kernels.flicker_parameters import NIRCAM, NIRISS, choose_fit, image_statistics

autoparam = pytest.importorskip("jwst.clean_flicker_noise.autoparam", reason="the peer is not installed")

pytestmark = pytest.mark.parity

RULES = {"nircam": NIRCAM, "niriss": NIRISS}
FIELDS = {
    "sky": {},
    "stars": {"stars": 12},
    "crowded": {"stars": 150},
    "gradient": {"gradient": (2e-3, 5e-4)},
    "crowded gradient": {"stars": 150, "gradient": (1e-3, 1e-3)},
    "slight gradient": {"gradient": (3e-5, 3e-5), "noise": 0.01},
    "holes": {"stars": 12, "holes": 0.3},
    "flat": {"stars": 12, "flat": True},
}
LONG = {
    "even": {},
    "offset": {"offsets": (0, 0.1, 0, 0.02)},
    "offset, crowded": {"offsets": (0, 0.1, 0, 0.02), "stars": 300},
    "noisy": {"offsets": (0, 0.01, 0, 0.02), "noise": 0.3},
    "slope": {"gradient": (0, 2e-5), "noise": 0.01},
}


def _image(shape, stars=0, gradient=(0, 0), noise=0.1, holes=0.01, offsets=(0, 0, 0, 0), **_):
    """Rates of a field with stripes along the rows; channels follow each other along a row."""
    rng = np.random.default_rng(stars + 7)
    y, x = np.indices(shape)
    image = 3.0 + gradient[0] * y + gradient[1] * x + np.repeat(offsets, -(-shape[1] // 4))[: shape[1]]
    image += rng.normal(0, noise, shape) + rng.normal(0, 0.05, (shape[0], 1))
    for row, column, flux in zip(
        rng.uniform(0, shape[0], stars), rng.uniform(0, shape[1], stars), rng.uniform(1, 300, stars), strict=True
    ):
        image += flux * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    image[rng.random(shape) < holes] = np.nan
    image[rng.random(shape) < 0.01] = 0
    return image.astype(np.float32)


def _peer(instrument, rate, monkeypatch, flat_file):
    """Statistics and the choice of the peer."""
    from stdatamodels.jwst import datamodels

    seen = {}
    decide, level = autoparam._image_decision_tree, autoparam.cfn.background_level

    def our_model(image, mask, background_method="median", **others):
        if background_method == "model":
            return background_level(np.ascontiguousarray(image, np.float32), mask, "model")[0]
        return level(image, mask, background_method=background_method, **others)

    def record(parameters, limits, *statistics):
        seen["statistics"] = statistics
        decide(parameters, limits, *statistics)

    kind = datamodels.ImageModel if rate.ndim == 2 else datamodels.CubeModel
    model = kind(rate.copy())
    model.meta.subarray.slowaxis = {"nircam": -2, "niriss": -1}[instrument]
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.ysize, model.meta.subarray.xsize = rate.shape[-2:]
    choose = getattr(autoparam, f"{instrument}_image_parameters")
    chosen = choose(model.copy(), flat_file)
    with monkeypatch.context() as patch:
        patch.setattr(autoparam, "_image_decision_tree", record)
        patch.setattr(autoparam.cfn, "background_level", our_model)
        choose(model, flat_file)
    assert chosen["apply_flat_field"] == (flat_file is not None)
    return seen["statistics"], (chosen["background_method"], chosen["fit_by_channel"])


def _compare(instrument, shape, field, monkeypatch, tmp_path):
    rate = _image(shape, **field)
    if instrument == "niriss":
        rate = np.ascontiguousarray(rate.T)
    flat, path = None, None
    if field.get("flat"):
        from stdatamodels.jwst import datamodels

        flat = np.random.default_rng(3).normal(1, 0.02, rate.shape).astype(np.float32)
        flat[5:8, 9:12], path = 0, tmp_path / "flat.fits"
        model = datamodels.FlatModel(flat.copy())
        model.meta.subarray.xstart = model.meta.subarray.ystart = 1
        model.meta.subarray.ysize, model.meta.subarray.xsize = rate.shape
        model.save(path)
        flat = restore_flat(flat)
    statistics, chosen = _peer(instrument, rate, monkeypatch, path)
    found = image_statistics(rate if flat is None else rate / flat, RULES[instrument])
    mask, offset, slope, ratio, sigma = statistics
    assert found.masked_fraction == mask
    # The peer takes means of channels in single precision.
    assert found.channel_offset == pytest.approx(offset, abs=2 * float(np.spacing(np.nanmedian(rate))))
    np.testing.assert_allclose(
        [found.slope, found.slope / found.slope_ratio, found.channel_sigma],
        [slope, slope / ratio, sigma],
        rtol=1e-6,
        atol=1e-8,
    )
    assert choose_fit(found, RULES[instrument]) == chosen
    return chosen


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("instrument", RULES)
def test_subarrays(instrument, name, monkeypatch, tmp_path):
    _compare(instrument, (64, 96), FIELDS[name], monkeypatch, tmp_path)


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("instrument", RULES)
def test_channels(instrument, name, monkeypatch, tmp_path):
    """Lines of 2048 pixels, in which channels can be told apart."""
    _, by_channel = _compare(instrument, (48, 2048), LONG[name], monkeypatch, tmp_path)
    if name == "offset":
        assert by_channel


@pytest.mark.parametrize("shape", [(64, 96), (2, 64, 96)])
@pytest.mark.parametrize("field", ["sky", "gradient"])
def test_rates(shape, field, tmp_path):
    """The step on rates, those of integrations averaged for the choice."""
    from jwst.clean_flicker_noise import CleanFlickerNoiseStep as PeerStep
    from stdatamodels.jwst import datamodels

    from upramp import models
    from upramp.steps.clean_flicker_noise import CleanFlickerNoiseStep

    rate = _image((64, 96), **FIELDS[field])
    if len(shape) == 3:
        rate = np.stack([rate, rate[::-1]])
    model = (datamodels.ImageModel if rate.ndim == 2 else datamodels.CubeModel)(rate)
    model.dq = np.zeros(rate.shape, np.uint32)
    model.meta.instrument.name, model.meta.instrument.detector = "NIRCAM", "NRCA1"
    model.meta.exposure.type, model.meta.subarray.name = "NRC_IMAGE", "SUB64"
    model.meta.subarray.slowaxis, model.meta.subarray.fastaxis = -2, 1
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.ysize, model.meta.subarray.xsize = rate.shape[-2:]
    model.save(tmp_path / "x_rate.fits")
    reference = datamodels.FlatModel(np.full(rate.shape[-2:], 1.5, np.float32))
    reference.update({"meta": {"subarray": model.meta.subarray.instance}})
    reference.save(tmp_path / "flat.fits")
    parameters = {
        "skip": False,
        "autoparam": True,
        "background_method": None,
        "override_flat": str(tmp_path / "flat.fits"),
    }
    theirs = PeerStep(**parameters).process(model)
    ours = CleanFlickerNoiseStep(**parameters).process(models.open(tmp_path / "x_rate.fits"))
    assert ours.meta.cal_step.clean_flicker_noise == theirs.meta.cal_step.clean_flicker_noise == "COMPLETE"
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(ours.data, rate, equal_nan=True)

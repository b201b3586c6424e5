"""Reference files: they undo the simulated effects, and the peer's models read them without a warning."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from upramp.errors import ConfigError
from upramp.simulate import ReferenceDefects, SimulationConfig, Window, make_references, simulate_exposure
from upramp.simulate.references import deconvolution_kernel

MODELS = {
    "mask": datamodels.MaskModel,
    "saturation": datamodels.SaturationModel,
    "superbias": datamodels.SuperBiasModel,
    "linearity": datamodels.LinearityModel,
    "dark": datamodels.DarkModel,
    "gain": datamodels.GainModel,
    "readnoise": datamodels.ReadnoiseModel,
    "ipc": datamodels.IPCModel,
}
CONFIG = SimulationConfig(subarray="GENERIC", window=Window(1, 1, 48, 32), nints=1, ngroups=4, ipc=0.01)


def read(path, model, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with model(path) as opened:
            opened.validate()
            arrays = {
                name: np.array(getattr(opened, name))
                for name in ("data", "dq", "coeffs", "inv_coeffs")
                if opened.hasattr(name) and getattr(opened, name) is not None
            }
            meta = opened.to_flat_dict(include_arrays=False)
    assert not caplog.records
    return arrays, meta


@pytest.mark.parametrize("inverse", [False, True])
def test_peer_reads_them_without_a_warning(tmp_path, caplog, inverse):
    paths = make_references(CONFIG, tmp_path, inverse_linearity=inverse)
    assert set(paths) == set(MODELS)
    for reftype, model in MODELS.items():
        arrays, meta = read(paths[reftype], model, caplog)
        assert meta["meta.reftype"].lower() == reftype
        assert meta["meta.instrument.detector"] == "NRCBLONG"
        if reftype == "linearity":
            assert ("inv_coeffs" in arrays) == inverse
        if reftype != "ipc":
            assert (meta["meta.subarray.xsize"], meta["meta.subarray.ysize"]) == (48, 32)
        with fits.open(paths[reftype]) as hdus:
            assert "ASDF" not in hdus


def test_they_undo_the_effects(tmp_path, caplog):
    config = SimulationConfig(
        subarray="SUB64P", detector="NRCB2", ngroups=12, nints=1, sky_rate=40000.0, star_count=0, readpatt="BRIGHT1"
    ).without("poisson", "read-noise", "refpix", "one-over-f", "cosmic-rays", "bad-pixels")
    exposure = simulate_exposure(config)
    paths = make_references(config, tmp_path)
    content = {name: read(path, MODELS[name], caplog)[0] for name, path in paths.items() if name in MODELS}
    light = exposure.truth.rate > 0
    raw = exposure.data[0].astype(float)
    saturated = raw >= content["saturation"]["data"]
    group = np.arange(12)[:, None, None]
    assert np.all(saturated[group >= exposure.truth.saturation_group])
    measured = raw - content["superbias"]["data"]
    linear = np.polynomial.polynomial.polyval(measured, content["linearity"]["coeffs"], tensor=False)
    signal = linear - content["dark"]["data"][::2]
    expected = exposure.truth.rate * (2 * group + 1) * config.frame_time
    assert np.abs(signal - expected)[~saturated & light].max() < 0.7
    np.testing.assert_array_equal(content["mask"]["dq"], exposure.truth.maps.dq)
    np.testing.assert_allclose(content["readnoise"]["data"], 0)
    np.testing.assert_array_equal(content["gain"]["data"], exposure.truth.maps.gain)


def test_read_noise_is_that_of_a_difference(tmp_path):
    paths = make_references(CONFIG, tmp_path)
    maps = simulate_exposure(CONFIG).truth.maps
    np.testing.assert_allclose(fits.getdata(paths["readnoise"]), np.sqrt(2) * maps.read_noise, rtol=1e-6)


def test_inverse_polynomial(tmp_path):
    paths = make_references(CONFIG, tmp_path, inverse_linearity=True)
    with fits.open(paths["linearity"]) as hdus:
        coefficients, inverse = hdus["COEFFS"].data.astype(float), hdus["INV_COEFFS"].data.astype(float)
    linear = np.linspace(0, 48000, 9)[:, None, None] * np.ones((32, 48))
    measured = np.polynomial.polynomial.polyval(linear, inverse, tensor=False)
    back = np.polynomial.polynomial.polyval(measured, coefficients, tensor=False)
    np.testing.assert_allclose(back, linear, atol=0.2)


def test_full_frame_contains_the_window(large_tmp_path):
    parts = make_references(CONFIG, large_tmp_path / "parts")
    whole = make_references(CONFIG, large_tmp_path / "whole", full_frame=True)
    for reftype, hdu in (("mask", "DQ"), ("superbias", "SCI"), ("gain", "SCI"), ("saturation", "SCI")):
        full = fits.getdata(whole[reftype], hdu)
        assert full.shape == (2048, 2048)
        np.testing.assert_array_equal(full[:32, :48], fits.getdata(parts[reftype], hdu))
        assert fits.getheader(whole[reftype])["SUBARRAY"] == "FULL"
    assert fits.getdata(whole["dark"]).shape == (4, 32, 48)


def test_dark_covers_the_exposure(tmp_path):
    config = SimulationConfig(subarray="SUB64P", readpatt="SHALLOW4", ngroups=3)
    path = make_references(config, tmp_path)["dark"]
    assert fits.getdata(path).shape == (3 * 4 + 2, 64, 64)
    header = fits.getheader(path)
    assert (header["NFRAMES"], header["GROUPGAP"], header["NGROUPS"]) == (1, 0, 14)
    short = make_references(config, tmp_path / "short", dark_groups=5)["dark"]
    assert fits.getdata(short).shape[0] == 5
    with pytest.raises(ConfigError, match="dark_groups is 1"):
        make_references(config, tmp_path / "none", dark_groups=1)


def test_kernel_undoes_the_coupling():
    forward = np.array([[0, 0.01, 0], [0.01, 0.96, 0.01], [0, 0.01, 0]])
    kernel = deconvolution_kernel(0.01).astype(float)
    product = np.fft.ifft2(np.fft.fft2(forward, (16, 16)) * np.fft.fft2(kernel, (16, 16))).real
    assert product[2, 2] == pytest.approx(1, abs=2e-3)
    product[2, 2] = 0
    assert np.abs(product).max() < 3e-4
    assert kernel.sum() == pytest.approx(1)


def test_pixelwise_kernel(large_tmp_path):
    path = make_references(CONFIG, large_tmp_path, pixelwise_ipc=True)["ipc"]
    with fits.open(path) as hdus:
        assert hdus["SCI"].shape == (3, 3, 2048, 2048)


def test_defects(tmp_path, caplog):
    defects = ReferenceDefects(
        nan_bias=0.02, nan_gain=0.02, nan_read_noise=0.02, nan_linearity=0.02, nan_dark=0.02, nan_saturation=0.02,
        zero_gain=0.02, negative_gain=0.02, zero_linear_coefficient=0.02, no_lin_corr=0.02, no_sat_check=0.02,
        bad_reference_pixels=0.2, scrambled_dq=True,
    )  # fmt: skip
    clean = make_references(CONFIG, tmp_path / "clean")
    paths = make_references(CONFIG, tmp_path / "bad", defects=defects)
    for reftype, array in (("superbias", "data"), ("gain", "data"), ("readnoise", "data"), ("dark", "data")):
        assert np.isnan(read(paths[reftype], MODELS[reftype], caplog)[0][array]).any()
    gain = fits.getdata(paths["gain"])
    assert (gain == 0).any() and (gain < 0).any()
    linearity, _ = read(paths["linearity"], datamodels.LinearityModel, caplog)
    assert np.isnan(linearity["coeffs"][2]).any() and (linearity["coeffs"][1] == 0).any()
    # The table of the file moves the bits; the peer's model moves them back.
    assert np.any(linearity["dq"] & (1 << 20))
    assert not np.any(fits.getdata(paths["linearity"], "DQ") & np.uint32(1 << 20))
    saturation, _ = read(paths["saturation"], datamodels.SaturationModel, caplog)
    assert np.any(saturation["dq"] & (1 << 21))
    mask, before = (read(group["mask"], datamodels.MaskModel, caplog)[0]["dq"] for group in (paths, clean))
    assert np.all((mask & before) == before)
    assert (mask != before).any()


def test_files_are_not_overwritten(tmp_path):
    make_references(CONFIG, tmp_path)
    with pytest.raises(FileExistsError, match="mask"):
        make_references(CONFIG, tmp_path)
    make_references(CONFIG, tmp_path, overwrite=True)

"""MIRI: geometry, effects of resets, references, segments."""

import numpy as np
import pytest
from astropy.io import fits

from upramp.errors import ConfigError
from upramp.simulate import SimulationConfig, Window, make_references, simulate_exposure, write_exposure
from upramp.simulate.miri import LATER_RESET, RESET_DECAY_FRAMES


def quiet(**changes):
    """Only bias and what ``changes`` say; 72 x 64 pixels with reference columns at the left."""
    sizes = ("reset_anomaly", "switch_charge", "first_frame_offset", "last_frame_offset", "refpix_offset")
    values = {"detector": "MIRIMAGE", "nints": 2, "ngroups": 5, **changes}
    on = {name: values[name] for name in sizes if name in values}
    config = SimulationConfig(**values).without("all")
    return SimulationConfig(**(vars(config) | on | {"bias_level": 8000.0}))


def test_defaults_of_the_instrument():
    config = SimulationConfig(detector="MIRIMAGE")
    assert (config.subarray, config.readpatt, config.exposure_type) == ("SUB64", "FASTR1", "MIR_IMAGE")
    assert (config.geometry, config.outputs) == (Window(1, 779, 72, 64), 4)
    assert SimulationConfig().subarray == "SUB160"
    with pytest.raises(ConfigError, match="expected one of FASTR1, SLOWR1"):
        SimulationConfig(detector="MIRIMAGE", readpatt="RAPID")
    with pytest.raises(ConfigError, match=r"y = 1000\.\.1063; expected a part of 1\.\.1024"):
        SimulationConfig(detector="MIRIMAGE", window=Window(1, 1000, 64, 64))


@pytest.mark.parametrize(("readpatt", "seconds"), [("FASTR1", 2.77504), ("SLOWR1", 23.88992)])
def test_frame_times_of_full_frames(readpatt, seconds):
    config = SimulationConfig(detector="MIRIMAGE", subarray="FULL", readpatt=readpatt)
    assert config.geometry.shape == (1024, 1032)
    assert config.frame_time == pytest.approx(seconds, abs=1e-5)


def test_reference_pixels_are_at_the_sides():
    maps = simulate_exposure(quiet(ngroups=1, nints=1)).truth.maps
    assert maps.reference_pixels[:, :4].all() and not maps.reference_pixels[:, 4:].any()


def test_reset_anomaly_decays_and_is_weaker_later():
    data = simulate_exposure(quiet(reset_anomaly=1000.0)).data.astype(float) - 8000
    np.testing.assert_allclose(data[1].mean() / data[0].mean(), LATER_RESET, rtol=1e-2)
    ratio = data[0, 1:].mean(axis=(1, 2)) / data[0, :-1].mean(axis=(1, 2))
    np.testing.assert_allclose(ratio, np.exp(-1 / RESET_DECAY_FRAMES), rtol=1e-2)


def test_first_and_last_frames_and_switch_charge():
    data = simulate_exposure(quiet(first_frame_offset=30.0, last_frame_offset=50.0)).data.astype(int) - 8000
    assert (data[:, 0, :, 4:] == 30).all() and (data[:, -1, :, 4:] == 50).all()
    assert not data[:, 1:-1].any() and not data[..., :4].any()
    later = simulate_exposure(quiet(switch_charge=100.0)).data.astype(int) - 8000
    assert not later[0].any()
    assert (np.diff(later[1, :, 0, 10]) > 0).all() and later[1, 0, 0, 10] < -40


def test_drifts_are_those_of_interleaved_amplifiers():
    data = simulate_exposure(quiet(refpix_offset=20.0, nints=1)).data[0, 1].astype(int)
    assert len(np.unique(data)) > 4
    for row in range(2):
        for column in range(4):
            assert len(np.unique(data[row::2, column::4])) == 1


def test_references(tmp_path):
    config = SimulationConfig(detector="MIRIMAGE", ngroups=4)
    paths = make_references(config, tmp_path)
    assert {"reset", "rscd", "dark", "linearity"} <= set(paths) and "superbias" not in paths
    with fits.open(paths["reset"]) as hdus:
        assert hdus["SCI"].data.shape == (2, 4, 64, 72)
        assert (hdus[0].header["NGROUPS"], hdus[0].header["NINTS"]) == (4, 2)
    with fits.open(paths["dark"]) as hdus:
        assert hdus["SCI"].data.shape == (2, 4, 64, 72) and hdus["DQ"].data.shape == (2, 1, 64, 72)
    with fits.open(paths["rscd"]) as hdus:
        modes = {(row["subarray"], row["readpatt"]) for row in hdus["RSCD_GROUP_SKIP"].data}
        assert ("SUB64", "FASTR1") in modes and ("SUB64", "SLOWR1") not in modes


def test_linearity_takes_the_bias_away(tmp_path):
    config = SimulationConfig(detector="MIRIMAGE", ngroups=1, nints=1, bad_reference_fraction=0.0)
    exposure = simulate_exposure(config.without("reset", "frame-offsets", "refpix", "one-over-f", "read-noise"))
    with fits.open(make_references(config, tmp_path)["linearity"]) as hdus:
        coefficients = hdus["COEFFS"].data.astype(float)
    raw = exposure.data[0, 0].astype(float)
    linear = sum(c * raw**power for power, c in enumerate(coefficients))
    assert abs(np.median(linear[:, 4:])) < 5


def test_segment(tmp_path):
    config = SimulationConfig(detector="MIRIMAGE", nints=2, ngroups=3, first_integration=4, exposure_nints=8)
    path = write_exposure(simulate_exposure(config), tmp_path / "x_uncal.fits")
    with fits.open(path) as hdus:
        header = hdus[0].header
        assert (header["NINTS"], header["INTSTART"], header["INTEND"]) == (8, 4, 5)
        assert hdus["INT_TIMES"].data["integration_number"].tolist() == [4, 5]
        assert sorted(set(hdus["GROUP"].data["integration_number"])) == [4, 5]
        assert header["NSAMPLES"] == 1 and "CHANNEL" not in header
    with pytest.raises(ConfigError, match="exposure_nints is 4; expected at least 5"):
        SimulationConfig(nints=2, first_integration=4, exposure_nints=4)

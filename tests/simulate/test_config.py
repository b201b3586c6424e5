"""Modes, timing and the switches of effects."""

import pytest

from upramp.errors import ConfigError
from upramp.simulate import EFFECTS, SimulationConfig, Window


@pytest.mark.parametrize(
    ("mode", "frame_time"),
    [
        # Published frame times (JWST user documentation, NIRCam detector subarrays).
        ({"subarray": "FULL"}, 10.73677),
        ({"subarray": "SUB640"}, 4.18584),
        ({"subarray": "SUB320"}, 1.06904),
        ({"subarray": "SUB160"}, 0.27864),
        ({"subarray": "SUBGRISM64"}, 0.34061),
        ({"subarray": "SUBGRISM64", "noutputs": 1}, 1.3596),
        # ... NIRISS detector subarrays.
        ({"detector": "NIS", "subarray": "FULL"}, 10.73677),
        ({"detector": "NIS", "subarray": "SUBSTRIP256"}, 5.494),
        ({"detector": "NIS", "subarray": "SUBSTRIP96"}, 2.214),
        ({"detector": "NIS", "subarray": "SUB80"}, 0.07544),
        ({"detector": "NIS", "subarray": "SUB64"}, 0.05016),
        ({"detector": "NIS", "subarray": "WFSS64R"}, 0.34061),
        # The guider's acquisition, from the header of a flight exposure (a window of 128 x 128).
        ({"detector": "GUIDER2", "subarray": "SUB128CNTR"}, 0.182),
    ],
)
def test_frame_times(mode, frame_time):
    assert SimulationConfig(**mode).frame_time == pytest.approx(frame_time, abs=1e-5)


@pytest.mark.parametrize(
    ("detector", "readpatt", "exposure_type"),
    [("NRCA1", "RAPID", "NRC_IMAGE"), ("NIS", "NISRAPID", "NIS_IMAGE"), ("GUIDER1", "FGSRAPID", "FGS_IMAGE")],
)
def test_defaults_of_the_instrument(detector, readpatt, exposure_type):
    config = SimulationConfig(detector=detector, subarray="FULL")
    assert (config.readpatt, config.exposure_type, config.frames_per_group) == (readpatt, exposure_type, 1)
    assert SimulationConfig(detector=detector, subarray="FULL", exposure_type="X").exposure_type == "X"


def test_subarrays_belong_to_an_instrument():
    assert SimulationConfig(detector="NIS", subarray="SUBSTRIP96").geometry == Window(1, 1803, 2048, 96)
    assert SimulationConfig(detector="NIS", subarray="WFSS64C").geometry == Window(1, 1985, 2048, 64)
    assert SimulationConfig(detector="NIS", subarray="WFSS64R").geometry == Window(1985, 1, 64, 2048)
    with pytest.raises(ConfigError, match="SUB80"):
        SimulationConfig(detector="NIS", subarray="SUB640")


@pytest.mark.parametrize(
    ("readpatt", "nframes", "groupgap", "frames"),
    [("RAPID", 1, 0, 10), ("BRIGHT2", 2, 0, 20), ("SHALLOW4", 4, 1, 49), ("MEDIUM8", 8, 2, 98), ("DEEP8", 8, 12, 188)],
)
def test_readout_patterns(readpatt, nframes, groupgap, frames):
    config = SimulationConfig(readpatt=readpatt, ngroups=10)
    assert (config.frames_per_group, config.frames_dropped) == (nframes, groupgap)
    assert config.frames_per_integration == frames
    assert config.group_time == pytest.approx((nframes + groupgap) * config.frame_time)
    assert config.divisor == nframes


def test_frames_of_ones_own():
    config = SimulationConfig(nframes=5, groupgap=3, frame_divisor=8, ngroups=2)
    assert (config.frames_per_group, config.frames_dropped, config.divisor) == (5, 3, 8)
    assert config.frames_per_integration == 13


def test_stripes_start_where_the_readout_starts():
    assert SimulationConfig(detector="NRCALONG", subarray="SUBGRISM64").geometry == Window(1, 1, 2048, 64)
    assert SimulationConfig(detector="NRCA2", subarray="SUBGRISM64").geometry == Window(1, 1985, 2048, 64)


def test_window_of_ones_own():
    config = SimulationConfig(subarray="GENERIC", window=Window(5, 1, 32, 16))
    assert config.geometry.shape == (16, 32)
    assert config.outputs == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detector": "NRCC1"}, "NRCA1"),
        ({"subarray": "SUB161"}, "SUB160"),
        ({"readpatt": "FAST"}, "RAPID"),
        ({"window": Window(2000, 1, 64, 64)}, r"x = 2000\.\.2063"),
        ({"window": Window(0, 1, 64, 64)}, "part of 1..2048"),
        ({"noutputs": 2}, "expected 1 or 4"),
        ({"noutputs": 4}, "lines of 160 pixels"),
        ({"ngroups": 0}, "ngroups is 0"),
        ({"frame_divisor": 0}, "frame_divisor is 0"),
        ({"read_noise": -1.0}, "read_noise is -1.0"),
        ({"star_flux": (0.0, 1.0)}, "star_flux"),
    ],
)
def test_bad_values_say_what_is_expected(values, message):
    with pytest.raises(ConfigError, match=message):
        SimulationConfig(**values)


def test_without_switches_effects_off():
    config = SimulationConfig().without("sky", "poisson", "dark")
    assert (config.sky_rate, config.poisson, config.dark_rate, config.dark_settling) == (0, False, 0, 0)
    assert config.read_noise == SimulationConfig().read_noise
    quiet = SimulationConfig(ipc=0.01, snowballs=3).without("all")
    assert quiet.ipc is None
    assert quiet.full_well == float("inf")
    assert all(
        getattr(quiet, name) == off for sizes in EFFECTS.values() for name, off in sizes.items() if off is not None
    )
    with pytest.raises(ConfigError, match="sky"):
        config.without("clouds")

"""What the simulator makes, against closed forms: effects one at a time, and truth against data."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from upramp.simulate import SimulationConfig, Window, simulate_exposure
from upramp.simulate.detector_maps import detector_maps

QUIET = SimulationConfig(subarray="SUB64P", detector="NRCB2", nints=2, ngroups=5).without("all")
EDGE = replace(QUIET, subarray="GENERIC", window=Window(1, 1, 48, 32))


def simulate(config=QUIET, **sizes):
    return simulate_exposure(replace(config, **sizes))


def frame_times(config):
    """(ngroups, nframes) time at which every frame is read [s]."""
    step = config.frames_per_group + config.frames_dropped
    frames = np.arange(config.ngroups)[:, None] * step + np.arange(config.frames_per_group)
    return (frames + 1) * config.frame_time


def test_all_effects_off_is_zero():
    exposure = simulate(zero_frame=True)
    assert exposure.data.dtype == np.uint16
    assert exposure.data.shape == (2, 5, 64, 64)
    assert not exposure.data.any()
    assert not exposure.zeroframe.any()


def test_groups_are_bias_plus_rate_times_time():
    exposure = simulate(bias_level=9000.0, bias_spread=100.0, sky_rate=431.0, star_count=4)
    truth, config = exposure.truth, exposure.config
    signal = truth.rate.astype(float) * frame_times(config)[:, :1, None]
    expected = np.rint(truth.maps.bias + signal)
    assert truth.rate.max() > 2 * 431
    # The truth is stored in single precision, which may move a value across one half.
    difference = exposure.data[0] - expected
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01
    np.testing.assert_array_equal(exposure.data[0], exposure.data[1])


@pytest.mark.parametrize("readpatt", ["BRIGHT1", "BRIGHT2", "SHALLOW4", "MEDIUM8", "DEEP8"])
def test_groups_are_averages_of_frames(readpatt):
    exposure = simulate(readpatt=readpatt, sky_rate=777.0, ngroups=3, zero_frame=True)
    reads = np.rint(777.0 * frame_times(exposure.config))
    expected = reads.sum(axis=1) // exposure.config.frames_per_group
    pixels = exposure.truth.rate > 0
    for group in range(3):
        assert np.all(exposure.data[:, group, pixels] == expected[group])
    assert np.all(exposure.zeroframe[:, pixels] == reads[0, 0])


def test_divisor_on_board():
    exposure = simulate(nframes=5, frame_divisor=8, bias_level=1000.0)
    assert np.all(exposure.data == 5 * 1000 // 8)


def test_zero_frame_only_on_request():
    assert simulate().zeroframe is None


def test_nonlinearity_is_inverted_by_the_polynomial():
    exposure = simulate(sky_rate=15000.0, nonlinearity=0.08, full_well=60000.0, ngroups=40)
    curvature, measured = exposure.truth.maps.curvature, exposure.data[0].astype(float)
    linear = measured + curvature * measured**2
    expected = 15000.0 * frame_times(exposure.config)[:, :1, None]
    light = exposure.truth.rate > 0
    assert measured[-1][light].max() < 0.97 * expected[-1].max()
    # Half a DN of rounding times the slope of the polynomial.
    assert np.abs(linear - expected)[:, light].max() < 0.6


def test_saturation_stops_the_signal():
    exposure = simulate(sky_rate=2.0e5, full_well=30000.0, bias_level=500.0)
    saturated, full_well = exposure.truth.saturation_group[0], exposure.truth.maps.full_well
    light = exposure.truth.rate > 0
    expected = np.ceil(full_well / 2.0e5 / exposure.config.frame_time) - 1
    np.testing.assert_array_equal(saturated[light], expected[light])
    assert np.all(saturated[~light] == exposure.config.ngroups)
    np.testing.assert_allclose(exposure.data[0, -1][light], 500 + full_well[light], atol=0.51)


def test_converter_does_not_wrap():
    assert simulate(sky_rate=1e6).data[:, -1].max() == 65535


def test_dark_settles():
    exposure = simulate(dark_rate=2000.0, dark_settling=300.0, readpatt="BRIGHT2")
    maps, config = exposure.truth.maps, exposure.config
    frames = frame_times(config) / config.frame_time - 1
    reads = np.rint([[maps.dark(frame, config.frame_time) for frame in group] for group in frames])
    difference = exposure.data[0] - reads.sum(axis=1) // 2
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.02
    assert not exposure.truth.rate.any()


def test_poisson_statistics():
    exposure = simulate(sky_rate=4000.0, poisson=True, gain=2.0, ngroups=40, nints=1)
    light = exposure.truth.rate > 0
    differences = np.diff(exposure.data[0].astype(float), axis=0)[:, light]
    mean = 4000.0 * exposure.config.frame_time
    assert differences.mean() == pytest.approx(mean, rel=0.005)
    assert differences.var() == pytest.approx(mean / 2.0, rel=0.02)


def test_read_noise():
    exposure = simulate(read_noise=12.0, bias_level=1000.0, ngroups=40, nints=1)
    per_pixel = exposure.data[0].astype(float).std(axis=0, ddof=1)
    assert np.median(per_pixel / exposure.truth.maps.read_noise) == pytest.approx(1.0, abs=0.02)
    averaged = simulate(read_noise=12.0, bias_level=1000.0, ngroups=40, nints=1, readpatt="SHALLOW4")
    assert averaged.data[0].astype(float).std() == pytest.approx(6.0, rel=0.03)


def test_offsets_by_amplifier_and_parity():
    stripe = replace(QUIET, subarray="SUBGRISM64", nints=1, ngroups=3)
    data = simulate(stripe, refpix_offset=30.0, bias_level=1000.0).data[0].astype(int)
    blocks = data.reshape(3, 64, 4, 256, 2)
    assert np.all(blocks == blocks[:, :1, :, :1])
    assert np.unique(blocks[:, 0, :, 0]).size > 15
    single = simulate(stripe, refpix_offset=30.0, bias_level=1000.0, noutputs=1).data[0].reshape(3, 64, 1024, 2)
    assert np.all(single == single[:, :1, :1])


def test_one_over_f_is_common_to_a_line():
    data = simulate(one_over_f=20.0, bias_level=1000.0, ngroups=40).data
    assert np.all(data == data[..., :1])
    lines = data[..., 0].reshape(2, -1).astype(float)
    assert lines[0].std() == pytest.approx(20.0, rel=0.02)
    power = np.abs(np.fft.rfft(lines[0] - lines[0].mean())) ** 2
    slow, fast = power[1:20].mean(), power[200:400].mean()
    assert 10 < slow / fast < 200  # white noise would have 1


def test_reference_pixels_see_no_light():
    exposure = simulate(EDGE, sky_rate=1e4, dark_rate=100.0, bias_level=2000.0)
    border = np.zeros((32, 48), bool)
    border[:4] = border[:, :4] = True
    np.testing.assert_array_equal(exposure.truth.maps.reference_pixels, border)
    assert np.all(exposure.data[..., border] == 2000)
    assert exposure.data[:, 0, ~border].min() > 2000


def test_bad_pixels():
    exposure = simulate(EDGE, dead_fraction=0.05, hot_fraction=0.05, bad_reference_fraction=0.2, sky_rate=1e4)
    dq = exposure.truth.maps.dq
    dead, hot, bad_reference = (dq & 1024) != 0, (dq & 2048) != 0, (dq & (1 << 17)) != 0
    assert dead.any() and hot.any() and bad_reference.any()
    assert not exposure.data[..., dead].any()
    assert np.all(dq[dead] & 1) and np.all(dq[bad_reference] & 1) and not np.any(dq[hot] & 1)
    assert exposure.truth.maps.dark_rate[hot].min() > 10


def test_cosmic_rays_are_the_difference():
    config = replace(SimulationConfig(subarray="SUB64P", readpatt="BRIGHT1", nints=2, ngroups=8, star_count=0))
    config = replace(config.without("nonlinearity", "saturation"), cosmic_ray_rate=1e-2)
    with_rays, without = simulate_exposure(config), simulate_exposure(config.without("cosmic-rays"))
    rays = with_rays.truth.cosmic_rays
    assert without.truth.cosmic_rays.size == 0
    assert rays["primary"].sum() > 20
    steps = np.zeros(with_rays.data.shape)
    np.add.at(steps, (rays["integration"], rays["group"], rays["y"], rays["x"]), rays["charge"])
    difference = with_rays.data.astype(float) - without.data
    unclipped = with_rays.data < 65535
    assert np.abs(difference - np.cumsum(steps, axis=1))[unclipped].max() <= 1
    first = rays[rays["primary"]][0]
    neighbours = rays[
        (rays["frame"] == first["frame"])
        & (np.abs(rays["y"] - first["y"]) + np.abs(rays["x"] - first["x"]) == 1)
        & (rays["integration"] == first["integration"])
    ]
    expected = 0.08 / 0.68 * first["charge"]
    assert np.any(np.isclose(neighbours["charge"], expected))


def test_cosmic_rays_in_dropped_frames_show_in_the_next_group():
    config = replace(QUIET, readpatt="SHALLOW2", cosmic_ray_rate=0.05, cosmic_ray_charge=500.0)
    rays = simulate_exposure(config).truth.cosmic_rays
    np.testing.assert_array_equal(rays["group"], rays["frame"] // 5 + (rays["frame"] % 5 >= 2))


def test_snowballs_saturate_their_core():
    exposure = simulate(snowballs=2, snowball_radius=5.0, full_well=40000.0, ngroups=12, nints=3)
    balls = exposure.truth.snowballs
    assert balls.size == 6
    rows, columns = np.mgrid[:64, :64]
    sensitive = exposure.truth.maps.responsive
    for ball in balls:
        distance = np.hypot(rows - ball["y"], columns - ball["x"])
        core = (distance < ball["core_radius"]) & sensitive
        saturated = exposure.truth.saturation_group[ball["integration"]]
        assert np.all(saturated[core] <= ball["group"])
        halo = (distance > ball["core_radius"]) & (distance < ball["halo_radius"]) & sensitive
        assert exposure.data[ball["integration"], ball["group"]][halo].min() > 100
        assert ball["group"] >= 1


def test_ipc_keeps_the_sum_away_from_edges():
    exposure = simulate(replace(QUIET, subarray="SUB160"), star_count=3, ipc=0.02, ngroups=2, nints=1)
    plain = simulate(replace(QUIET, subarray="SUB160"), star_count=3, ngroups=2, nints=1)
    coupled, isolated = exposure.data.astype(float)[0, 1], plain.data.astype(float)[0, 1]
    assert coupled.sum() == pytest.approx(isolated.sum(), rel=0.01)
    y, x = np.unravel_index(np.argmax(isolated[1:-1, 1:-1]), (158, 158)) + np.ones(2, int)
    around = isolated[y - 1, x] + isolated[y + 1, x] + isolated[y, x - 1] + isolated[y, x + 1]
    assert coupled[y, x] == pytest.approx(0.92 * isolated[y, x] + 0.02 * around, abs=1)


def test_same_seed_same_exposure():
    config = SimulationConfig(subarray="SUB64P", snowballs=1, zero_frame=True)
    first, again = simulate_exposure(config), simulate_exposure(config)
    np.testing.assert_array_equal(first.data, again.data)
    np.testing.assert_array_equal(first.zeroframe, again.zeroframe)
    np.testing.assert_array_equal(first.truth.cosmic_rays, again.truth.cosmic_rays)
    other = simulate_exposure(replace(config, seed=2))
    assert not np.array_equal(first.data, other.data)
    np.testing.assert_array_equal(first.truth.maps.bias, other.truth.maps.bias)


def test_switching_an_effect_off_leaves_the_others():
    config = replace(SimulationConfig(subarray="SUB64P"), star_count=0)
    both = simulate_exposure(config.without("read-noise")).data.astype(int)
    offsets = simulate_exposure(config.without("read-noise", "one-over-f")).data.astype(int)
    # What 1/f adds is one value per line, whatever else is there.
    added = both - offsets
    assert np.ptp(added, axis=-1).max() <= 1


def test_maps_of_a_window_are_cut_out_of_the_detector():
    whole = detector_maps(replace(QUIET, subarray="GENERIC", window=Window(1, 1, 2048, 40), bias_spread=50.0))
    part = detector_maps(replace(QUIET, subarray="GENERIC", window=Window(101, 11, 30, 20), bias_spread=50.0))
    for name in ("bias", "gain", "read_noise", "curvature", "full_well", "dark_rate", "dq"):
        np.testing.assert_array_equal(getattr(whole, name)[10:30, 100:130], getattr(part, name))


def test_memory_does_not_grow_with_frames():
    config = SimulationConfig(subarray="SUB320", nints=1, ngroups=2, readpatt="DEEP8")
    tracemalloc.start()
    simulate_exposure(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pixels = 320 * 320
    assert peak < pixels * (2 * 2 + 150)

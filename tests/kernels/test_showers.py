"""Flagging of showers."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.reference import large_events as naive

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.jump import detect_jumps
from upramp.kernels.showers import ShowerParameters, flag_showers, flag_showers_in_place

DNU, SAT, JUMP = 1, 2, 4
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
PARAMETERS = {
    "default": ShowerParameters(),
    "small and long": ShowerParameters(extend_min_area=30, time_masked_after_shower=60),
    "another ring": ShowerParameters(extend_inner_radius=2, extend_outer_radius=3.0, extend_snr_threshold=1.1),
    "disc": ShowerParameters(extend_inner_radius=0, extend_outer_radius=2.0),
    "low amplitude": ShowerParameters(max_shower_amplitude=0.2, extend_min_area=20),
    "narrow": ShowerParameters(max_extended_radius=4),
    "wide ring": ShowerParameters(extend_inner_radius=3, extend_outer_radius=9.5, extend_snr_threshold=1.05),
    "no ring": ShowerParameters(3.0, 4, extend_inner_radius=0, extend_outer_radius=0),
}


def exposure(seed, ni=2, ng=12, frame=(64, 80), showers=3):
    """Ramps with showers, flags, NaN and bad references: data, group flags, pixel flags, gain, read noise."""
    rng = np.random.default_rng(seed)
    gain, noise = rng.uniform(3, 5, frame), rng.uniform(3, 6, frame)
    rate = rng.choice([5.0, 20.0, 60.0], frame)
    steps = rng.normal(rate, np.sqrt(rate / 4 + noise**2), (ni, ng, *frame))
    y, x = np.indices(frame)
    for _ in range(showers):
        cy, cx = rng.uniform(0, frame)
        a, b = rng.uniform(5, 14, 2)
        inside = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1
        steps[rng.integers(ni), rng.integers(2, ng - 1), inside] += rng.uniform(8, 20)
    data = steps.cumsum(axis=1)
    gdq = np.zeros(data.shape, np.uint8)
    for flag, fraction in ((JUMP, 0.01), (DNU, 0.003), (JUMP | 32, 0.003), (64, 0.01)):
        gdq[rng.random(data.shape) < fraction] |= flag
    gdq[:, ng // 2 :, rng.random(frame) < 0.01] |= SAT
    gdq[:, [0, -1]] |= DNU
    pdq = np.where(rng.random(frame) < 0.01, DNU, 0).astype(np.uint32)
    pdq[:, [0, 1, -2, -1]] |= 2**31
    pdq[5, 1] |= DNU
    gain[3, 7], noise[4, 5], noise[6, 6], gain[7, 7] = np.nan, np.nan, 0, 0
    data[0, 3, -3, -9], data[-1, 2, -5, -9] = np.nan, np.inf
    return data.astype(np.float32), gdq, pdq, gain.astype(np.float32), noise.astype(np.float32)


def assert_nearly_the_same(found, expected, before):
    """Rounding at the threshold may decide on single pixels."""
    assert np.count_nonzero(found != expected) <= 1e-3 * np.count_nonzero(expected != before)


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("nframes", [1, 4])
def test_equals_plain_numpy(name, nframes):
    p = PARAMETERS[name]
    arrays = exposure(nframes)
    copies = [array.copy() for array in arrays]
    result = flag_showers(*arrays, nframes=nframes, group_time=2.8, parameters=p, threads=1)
    expected, count = naive.showers(*arrays, nframes, 2.8, p)
    assert result.n_showers == count > 0
    assert_nearly_the_same(result.groupdq, expected, arrays[1])
    assert (result.groupdq != arrays[1]).any()
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    two = flag_showers(*arrays, nframes=nframes, group_time=2.8, parameters=p, threads=2)
    np.testing.assert_array_equal(two.groupdq, result.groupdq)


def test_vector_through_jump_detection():
    v = next(v for v in VECTORS if v["id"] == "SHW01")
    p, frame = v["params"], (32, 32)
    y, x = np.indices(frame)
    shower = ((y - 15) / 7) ** 2 + ((x - 16) / 9) ** 2 < 1
    steps = np.full((1, 12, *frame), 20.0)
    steps[0, 5, shower] += 10
    data = steps.cumsum(axis=1).astype(np.float32)
    gain, noise = np.ones(frame, np.float32), np.full(frame, 5, np.float32)
    pdq = np.zeros(frame, np.uint32)
    jumps = detect_jumps(data, np.zeros(data.shape, np.uint8), pdq, gain, noise, nframes=1, group_time=10.0)
    parameters = ShowerParameters(
        extend_ellipse_expand_ratio=p["extend_ellipse_expand_ratio"],
        time_masked_after_shower=10.0 * p["grps_masked_after_shower"],
        max_shower_amplitude=p["max_shower_amplitude"] / 10.0,
        max_extended_radius=p["max_extended_width"] // 2,
    )
    result = flag_showers(data, jumps.groupdq, pdq, gain, noise, nframes=1, group_time=10.0, parameters=parameters)
    assert (jumps.n_primary, result.n_showers) == (v["expected"]["primary_crs"], v["expected"]["extended_events"])
    flagged = result.groupdq[0] & JUMP
    assert np.count_nonzero(flagged, axis=(1, 2)).tolist() == v["expected"]["flagged_per_group"]
    drawn = ["".join("#" if pixel else "." for pixel in row) for row in flagged[5]]
    assert drawn == v["expected"]["group5_mask_rows"]


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
def test_many_integrations_use_the_scatter_over_them():
    """Clipping leaves the noise of quiet pixels what it is, so that the showers found are nearly the same."""
    arrays = exposure(3, ni=24, ng=5, frame=(48, 60), showers=6)
    clipped = flag_showers(
        *arrays, nframes=1, group_time=2.8, parameters=ShowerParameters(minimum_sigclip_groups=24), threads=1
    )
    plain, _ = naive.showers(*arrays, 1, 2.8, ShowerParameters())
    shower = (clipped.groupdq != arrays[1]) & (plain != arrays[1])
    assert clipped.n_showers >= 3
    assert shower.sum() > 0.5 * np.count_nonzero(plain != arrays[1])


@pytest.mark.parametrize("shape", [(1, 10, 8, 8), (3, 4, 8, 8), (0, 12, 8, 8), (1, 12, 0, 8), (2, 1, 8, 8)])
def test_too_few_differences(shape):
    gdq = np.zeros(shape, np.uint8)
    gdq[:, :1] = DNU
    frame = np.ones(shape[2:], np.float32)
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result = flag_showers(data, gdq, np.zeros(shape[2:], np.uint32), frame, frame, nframes=1, group_time=1.0)
    assert result.n_showers == 0
    np.testing.assert_array_equal(result.groupdq, gdq)


@pytest.mark.parametrize("kind", ["nan", "inf", "saturated", "unusable", "jumps", "reference", "no gain", "noiseless"])
def test_nothing_to_look_at(kind):
    data, gdq, pdq, gain, noise = exposure(0, frame=(20, 24), showers=0)
    data[:] = {"nan": np.nan, "inf": np.inf}.get(kind, 7.0)
    gdq[:, 1:-1] = {"saturated": SAT, "unusable": DNU, "jumps": JUMP}.get(kind, 0)
    pdq[:] = 2**31 if kind == "reference" else 0
    gain[:] = np.nan if kind == "no gain" else 1
    noise[:] = 0 if kind == "noiseless" else 1
    result = flag_showers(data, gdq, pdq, gain, noise, nframes=1, group_time=1.0)
    assert result.n_showers == 0
    np.testing.assert_array_equal(result.groupdq, gdq)


@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
def test_a_frame_smaller_than_the_ring():
    data, gdq, pdq, gain, noise = exposure(0, frame=(40, 40), showers=0)
    parameters = ShowerParameters(extend_min_area=1, extend_snr_threshold=0.5)
    for rows, columns in ((1, 40), (40, 1), (2, 3)):
        part = np.s_[..., :rows, :columns]
        arrays = data[part], gdq[part], pdq[part], gain[part], noise[part]
        result = flag_showers(*arrays, nframes=1, group_time=2.8, parameters=parameters)
        assert result.n_showers == naive.showers(*arrays, 1, 2.8, parameters)[1]


def test_what_does_not_fit_is_refused():
    arrays = exposure(0, frame=(8, 10), showers=0)
    with pytest.raises(ShapeError, match="gain"):
        flag_showers(*arrays[:3], arrays[3][1:], arrays[4], nframes=1, group_time=1.0)
    with pytest.raises(ShapeError, match="groupdq"):
        flag_showers(arrays[0], arrays[1][:1], *arrays[2:], nframes=1, group_time=1.0)
    with pytest.raises(ValueError, match="has 66044 pixels"):
        flag_showers(*arrays, nframes=1, group_time=1.0, parameters=ShowerParameters(extend_outer_radius=144))
    arrays[1].flags.writeable = False
    with pytest.raises(DTypeError, match="read-only"):
        flag_showers_in_place(*arrays, nframes=1, group_time=1.0)

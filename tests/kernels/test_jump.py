"""Two-point jump detection."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import jump as naive

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import _jump_search, jump
from upramp.kernels.jump import JumpParameters, choose_mode, common_flags, detect_jumps

DNU, SAT, JUMP, NO_GAIN_VALUE = 1, 2, 4, 2**19
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
FIELDS = set(JumpParameters.__dataclass_fields__)
THRESHOLDS = (4.0, 5.0, 6.0)
NO_MARKS = np.empty((0, 0, 0, 0), np.uint8)
NO_ROWS = np.empty((0, 0, 0), np.uint8)
MODES = {
    "iterative": {},
    "single": {"min_diffs_single_pass": 2},
    "clip": {"minimum_sigclip_groups": 2},
    "clip_all": {"minimum_sigclip_groups": 2, "only_use_ints": False},
}


def numbers(values, dtype):
    names = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}

    def convert(value):
        return [convert(v) for v in value] if isinstance(value, list) else names.get(value, value)

    return np.array(convert(values), dtype)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["id"].startswith("JMP")], ids=lambda v: v["id"])
def test_vector(vector):
    p = vector["params"]
    data, gdq = numbers(vector["data"], np.float32), np.array(vector["groupdq"], np.uint8)
    frame = data.shape[-2:]
    settings = {name: value for name, value in p.items() if name in FIELDS}
    settings |= {f"after_jump_flag_time{k}": 10.0 * p.get(f"after_jump_flag_n{k}", 0) for k in (1, 2)}
    gain, noise = (np.broadcast_to(numbers(p[k], np.float32), frame) for k in ("gain", "readnoise"))
    result = detect_jumps(
        data,
        gdq,
        np.zeros(frame, np.uint32),
        gain,
        noise,
        nframes=p["nframes"],
        group_time=10.0,
        parameters=JumpParameters(**settings),
        threads=1,
    )
    np.testing.assert_array_equal(result.groupdq, vector["expected"]["groupdq"])
    np.testing.assert_array_equal(result.pixeldq, vector["expected"]["pixeldq"])
    assert result.n_primary == vector["expected"]["primary_crs"]


def exposure(seed, ni=3, ng=7, frame=(9, 70), jumps=0.04, flags=0.05, nans=0.01, whole=True):
    """Ramps of many brightnesses with jumps, ties, flags, NaN and bad references."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 1.0, 30.0, 1000.0, -20.0], frame)
    steps = rng.normal(rate, np.sqrt(np.abs(rate) + 30), (ni, ng, *frame))
    steps += (rng.random(steps.shape) < jumps) * rng.normal(0, 500, steps.shape)
    data = steps.cumsum(axis=1)
    data[:, :, :2] = np.round(data[:, :, :2], -1)  # many ties
    data[rng.random(data.shape) < nans] = np.nan
    gdq = np.where(rng.random(data.shape) < flags, rng.integers(0, 256, data.shape), 0).astype(np.uint8)
    if whole:
        gdq[:, 0] |= DNU
    gain = rng.uniform(0.5, 4, frame)
    gain[4, :6] = [np.nan, 0, -1, np.inf, 1, 1]
    noise = rng.uniform(1, 12, frame)
    noise[5, :3] = [np.nan, 0, 1e5]
    pdq = rng.integers(0, 2**31, frame, dtype=np.uint32)
    return data.astype(np.float32), gdq, pdq, gain.astype(np.float32), noise.astype(np.float32)


def by_pixel(data, gdq, gain, noise, mode, parameters, nframes):
    out = gdq.copy()
    with np.errstate(all="ignore"):
        for y, x in np.ndindex(gain.shape):
            pixel = np.s_[:, :, y, x]
            out[pixel] = naive.primary_jumps(
                data[pixel], gdq[pixel], gain[y, x], noise[y, x], mode, nframes, THRESHOLDS
            )
        if mode.startswith("clip"):
            everywhere = ((out & (JUMP | DNU)) != 0).all(axis=(2, 3), keepdims=True)
            out[everywhere & (out == JUMP)] = 0
        count = np.count_nonzero(out & JUMP)
        limits = parameters.min_jump_to_flag_neighbors, parameters.max_jump_to_flag_neighbors
        out = naive.spread(data, out, gain, noise, nframes, *limits)
        median = np.nanmedian(gain)
        rules = [(100.0 * median, 1), (300.0 * median, 2)]
        return naive.clean_up(naive.after_jumps(data, out, gain, rules)), count


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("seed", "earlier"), [(1, True), (2, True), (3, False)])
def test_equals_plain_numpy(mode, seed, earlier):
    data, gdq, pdq, gain, noise = exposure(seed, ni=8 if mode == "clip" else 2, frame=(7, 60))
    if not earlier:  # jumps that were there before are marked in another way than those just found
        gdq &= np.uint8(~JUMP & 255)
    parameters = JumpParameters(
        after_jump_flag_dn1=100.0,
        after_jump_flag_time1=10.0,
        after_jump_flag_dn2=300.0,
        after_jump_flag_time2=20.0,
        min_jump_to_flag_neighbors=5.0,
        **MODES[mode],
    )
    result = detect_jumps(data, gdq, pdq, gain, noise, nframes=2, group_time=10.0, parameters=parameters, threads=1)
    expected, count = by_pixel(data, gdq, gain, noise, mode, parameters, 2)
    assert result.n_primary == count
    np.testing.assert_array_equal(result.groupdq, expected)
    bad = ~(gain > 0)
    np.testing.assert_array_equal(result.pixeldq, np.where(bad, pdq | NO_GAIN_VALUE | DNU, pdq))


@pytest.mark.parametrize("mode", [jump.ITERATIVE, jump.SINGLE_PASS, jump.SIGMA_CLIP_ALL])
def test_proof_that_a_ramp_is_clean_changes_nothing(mode):
    """Values at and around the limits, through the quick proof and through the exact rules."""
    rng = np.random.default_rng(5)
    n, frame = 9, (64, 64)
    steps = rng.normal(0, 1, (1, n, *frame)) * rng.choice([1, 3, 30], frame) + rng.choice([0, 5, 400], frame)
    steps[0, 4] += rng.uniform(2, 6, frame) * np.sqrt(np.abs(np.median(steps[0], axis=0)) + 9)
    data = steps.cumsum(axis=1).astype(np.float32)
    one, unused = np.ones(frame, np.float32), np.zeros((1, n), np.uint8)
    noise = np.full(frame, 3, np.float32)
    quick = np.zeros(data.shape, np.uint8)
    limits = (2.0, 2.0, 2.0) if mode == jump.SIGMA_CLIP_ALL else THRESHOLDS
    arguments = (data, one, noise, unused, mode, *limits, 1, 10.0, 1000.0)
    jump.detect_jumps_tile(quick, NO_MARKS, NO_ROWS, *arguments, 0, 64, 0, 64)
    # A NaN in a group of its own sends every ramp to the exact rules.
    longer = np.concatenate([data, np.full((1, 1, *frame), np.nan, np.float32)], axis=1)
    exact = np.zeros(longer.shape, np.uint8)
    longer_arguments = (longer, one, noise, np.zeros((1, n + 1), np.uint8), *arguments[4:])
    jump.detect_jumps_tile(exact, NO_MARKS, NO_ROWS, *longer_arguments, 0, 64, 0, 64)
    assert 0 < np.count_nonzero(exact) < exact.size / 4
    np.testing.assert_array_equal(quick, exact[:, :n])


@pytest.mark.parametrize("mode", ["clip", "clip_all"])
def test_differences_whose_squares_overflow_are_clipped(mode):
    parameters = JumpParameters(**MODES[mode], rejection_threshold=2.4, flag_4_neighbors=False)
    rng = np.random.default_rng(4)
    data = rng.normal(100, 5, (6, 5, 2, 20)).cumsum(axis=1).astype(np.float32)
    data[2, 4, :, :18] = 1e25  # not all: groups that are flagged all over are cleared
    frame = np.ones((2, 20), np.float32)
    gdq = np.zeros(data.shape, np.uint8)
    result = detect_jumps(
        data, gdq, np.zeros((2, 20), np.uint32), frame, frame, nframes=1, group_time=1.0, parameters=parameters
    )
    assert (result.groupdq[2, 4, :, :18] & JUMP).all()


def test_a_jump_as_large_as_the_limit_flags_the_groups_after_it():
    # The limit is 10 DN of gain 1.6f: 16 e- in float32, and 2e-7 more in float64.
    data = np.zeros((1, 8, 1, 3), np.float32)
    data[:, 3:, 0, 1] = 10
    gain = np.full((1, 3), 1.6, np.float32)
    parameters = JumpParameters(flag_4_neighbors=False, after_jump_flag_dn1=10.0, after_jump_flag_time1=2.0)
    result = detect_jumps(
        data,
        np.zeros(data.shape, np.uint8),
        np.zeros((1, 3), np.uint32),
        gain,
        np.full((1, 3), 0.5, np.float32),
        nframes=1,
        group_time=1.0,
        parameters=parameters,
    )
    assert result.groupdq[0, :, 0, 1].tolist() == [0, 0, 0, JUMP, JUMP, JUMP, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_result_does_not_depend_on_threads_or_tiles(mode):
    data, gdq, pdq, gain, noise = exposure(3, frame=(40, 70))
    parameters = JumpParameters(**MODES[mode])
    run = {"nframes": 1, "group_time": 10.0, "parameters": parameters}
    one = detect_jumps(data, gdq, pdq, gain, noise, threads=1, **run)
    two = detect_jumps(data, gdq, pdq, gain, noise, threads=2, **run)
    np.testing.assert_array_equal(one.groupdq, two.groupdq)
    assert one.n_primary == two.n_primary

    unused = common_flags(gdq) & np.uint8(DNU)
    arguments = (data, gain, noise, unused, choose_mode(unused, parameters), *THRESHOLDS, 1, 10.0, 1000.0)
    whole, tiled = gdq.copy(), gdq.copy()
    marks, tiled_marks = np.zeros_like(gdq), np.zeros_like(gdq)
    marked, tiled_marked = np.zeros(gdq.shape[:3], np.uint8), np.zeros(gdq.shape[:3], np.uint8)
    jump.detect_jumps_tile(whole, marks, marked, *arguments, 0, 40, 0, 70)
    tiles = [(0, 3, 0, 70), (3, 40, 0, 1), (3, 40, 1, 33), (3, 40, 33, 70)]
    for tile in tiles:
        jump.detect_jumps_tile(tiled, tiled_marks, tiled_marked, *arguments, *tile)
    np.testing.assert_array_equal(tiled, whole)
    np.testing.assert_array_equal(tiled_marks, marks)
    np.testing.assert_array_equal(tiled_marked, marked)
    np.testing.assert_array_equal(marked, marks.any(axis=3))
    assert marked.any()
    jump.spread_cores_tile(whole, marked, marks, 0, 40, 0, 70)
    for tile in tiles:
        jump.spread_cores_tile(tiled, marked, marks, *tile)
        jump.flag_after_jumps_tile(tiled, data, gain, unused, 0.0, 0.0, 1, 2, *tile)
        jump.clear_bad_jumps_tile(tiled, *tile)
    jump.flag_after_jumps_tile(whole, data, gain, unused, 0.0, 0.0, 1, 2, 0, 40, 0, 70)
    jump.clear_bad_jumps_tile(whole, 0, 40, 0, 70)
    np.testing.assert_array_equal(tiled, whole)


def test_groups_that_nobody_uses_may_be_left_out():
    data, gdq, _, gain, noise = exposure(4)
    unused = common_flags(gdq) & np.uint8(DNU)
    assert unused.any()
    results = []
    for table in (unused, np.zeros_like(unused)):
        out = gdq.copy()
        rules = (table, jump.ITERATIVE, *THRESHOLDS, 1, 10.0, 1000.0)
        jump.detect_jumps_tile(out, NO_MARKS, NO_ROWS, data, gain, noise, *rules, 0, 9, 0, 70)
        results.append(out)
    np.testing.assert_array_equal(*results)


def test_inputs_stay_as_they_are_and_may_be_read_only():
    inputs = exposure(6)
    copies = [array.copy() for array in inputs]
    for array in inputs:
        array.flags.writeable = False
    detect_jumps(*inputs, nframes=1, group_time=10.0)
    for array, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4), st.integers(-3, 3))
def test_invariants(seed, pedestal, power):
    """A pedestal of whole numbers, and a change of units between gain and data, change nothing."""
    data, gdq, pdq, gain, noise = exposure(seed, ni=1, ng=5, frame=(6, 9))
    data = np.round(data)
    run = {"nframes": 1, "group_time": 10.0, "threads": 1}
    expected = detect_jumps(data, gdq, pdq, np.round(gain), noise, **run)
    shifted = detect_jumps(data + np.round(np.float32(pedestal)), gdq, pdq, np.round(gain), noise, **run)
    np.testing.assert_array_equal(shifted.groupdq, expected.groupdq)
    unit = np.float32(2.0**power)
    scaled = detect_jumps(data * unit, gdq, pdq, np.round(gain) / unit, noise * unit, **run)
    np.testing.assert_array_equal(scaled.groupdq, expected.groupdq)


def test_only_jumps_are_added_and_never_on_unusable_samples():
    data, gdq, pdq, gain, noise = exposure(7, jumps=0.3)
    out = detect_jumps(data, gdq, pdq, gain, noise, nframes=1, group_time=10.0).groupdq
    np.testing.assert_array_equal(out & ~np.uint8(JUMP), gdq & ~np.uint8(JUMP))
    assert not (out & JUMP)[(out & (DNU | SAT)) != 0].any()
    assert not (out & ~gdq & JUMP)[:, 0].any()


def test_false_alarms_are_as_rare_as_the_threshold_says():
    rng = np.random.default_rng(8)
    frame = (100, 100)
    data = rng.normal(0, 5, (1, 21, *frame)).astype(np.float32)
    one = np.ones(frame, np.float32)
    result = detect_jumps(
        data,
        np.zeros(data.shape, np.uint8),
        one.astype(np.uint32),
        one,
        one * 5 * np.sqrt(2),
        nframes=1,
        group_time=1.0,
    )
    # Two-sided Gaussian tail beyond 4 sigma: 6.3e-5. The median makes the noise estimate a little too large.
    assert result.n_primary / (20 * 100 * 100) < 8e-5


@pytest.mark.parametrize(
    ("shape", "whole", "settings", "mode"),
    [
        ((1, 10), [], {}, jump.ITERATIVE),
        ((1, 11), [], {}, jump.SINGLE_PASS),
        ((2, 11), [(1, 0)], {}, jump.ITERATIVE),
        ((1, 4), [(0, 0), (0, 3)], {}, jump.DECLINED),
        ((100, 4), [], {}, jump.SIGMA_CLIP),
        ((99, 4), [], {}, jump.ITERATIVE),
        ((10, 10), [], {"only_use_ints": False}, jump.SIGMA_CLIP_ALL),
        ((10, 10), [(3, 3)], {"only_use_ints": False}, jump.ITERATIVE),
    ],
)
def test_choice_of_mode(shape, whole, settings, mode):
    unused = np.zeros(shape, bool)
    for index in whole:
        unused[index] = True
    assert choose_mode(unused, JumpParameters(**settings)) == mode


def test_errors_come_before_anything_is_written():
    data, gdq, pdq, gain, noise = exposure(9)
    run = {"nframes": 1, "group_time": 10.0}
    with pytest.raises(ShapeError, match="at least 3"):
        detect_jumps(data[:, :2], gdq[:, :2], pdq, gain, noise, **run)
    with pytest.raises(ShapeError, match="gain has shape"):
        detect_jumps(data, gdq, pdq, gain[1:], noise, **run)
    with pytest.raises(DTypeError, match="groupdq"):
        detect_jumps(data, gdq.astype(float), pdq, gain, noise, **run)
    flags = gdq.copy()
    with pytest.raises(ShapeError):
        jump.detect_jumps_in_place(data, flags, pdq, gain, noise[1:], **run)
    np.testing.assert_array_equal(flags, gdq)


def test_every_kernel_has_one_signature():
    data, gdq, pdq, gain, noise = exposure(10)
    for rules in (*MODES.values(), {"after_jump_flag_time1": 30.0}):
        detect_jumps(
            data, gdq, pdq, gain, noise, nframes=1, group_time=10, parameters=JumpParameters(**rules), threads=1
        )
    for module in (jump, _jump_search):
        for name, function in vars(module).items():
            if (name.endswith("_tile") and name != "run_tile") or name in ("common_flags", "clear_whole_frame_jumps"):
                assert len(function.signatures) == 1, name

"""Flagging of snowballs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import large_events as naive

from upramp.errors import DTypeError, ShapeError
from upramp.kernels.snowballs import SnowballParameters, flag_snowballs, flag_snowballs_in_place

DNU, SAT, JUMP = 1, 2, 4
DATA = Path(__file__).parents[1] / "data"
VECTORS = json.loads((DATA / "jump_rampfit_vectors.json").read_text())["vectors"]
PARAMETERS = {
    "default": SnowballParameters(),
    "no core needed": SnowballParameters(sat_required_snowball=False),
    "inside": SnowballParameters(edge_size=0, expand_factor=1.7, snowball_time_masked_next_int=30),
    "narrow": SnowballParameters(max_extended_radius=6, min_jump_area=15, min_sat_area=3, sat_expand=5),
    "no afterimage": SnowballParameters(edge_size=0, mask_snowball_core_next_int=False, min_sat_radius_extend=6),
}


def flags_of_snowballs(seed, shape, n=6, noise=0.002):
    """Group flags with snowballs, some saturated a group late, and flags of everything else."""
    rng = np.random.default_rng(seed)
    ni, ng, ny, nx = shape
    gdq = np.zeros(shape, np.uint8)
    y, x = np.indices((ny, nx))
    for _ in range(n * ni):
        i, k, core = rng.integers(ni), rng.integers(1, ng), rng.uniform(0.5, 7)
        distance = np.hypot((y - rng.uniform(0, ny)) * rng.uniform(0.7, 1.3), x - rng.uniform(0, nx))
        late = rng.random() < 0.3
        gdq[i, k, distance < core * rng.uniform(1.2, 2.2)] |= JUMP
        gdq[i, k + late :, distance < core] = SAT
    gdq[rng.random(shape) < noise] |= JUMP
    gdq[rng.random(shape) < noise] |= DNU
    gdq[:, 2:, rng.random((ny, nx)) < noise] |= SAT
    return gdq


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("shape", [(2, 5, 70, 90), (3, 3, 64, 40)])
def test_equals_plain_numpy(name, shape):
    p = PARAMETERS[name]
    gdq = flags_of_snowballs(len(name), shape)
    before = gdq.copy()
    result = flag_snowballs(gdq, group_time=10.0, parameters=p, threads=1)
    expected, count = naive.snowballs(gdq, 10.0, p)
    np.testing.assert_array_equal(gdq, before)
    assert result.n_snowballs == count > 0
    assert np.count_nonzero(result.groupdq != expected) <= 1e-3 * np.count_nonzero(expected != gdq)
    two = flag_snowballs(gdq, group_time=10.0, parameters=p, threads=2)
    np.testing.assert_array_equal(two.groupdq, result.groupdq)


def vector(name):
    return next(v for v in VECTORS if v["id"] == name)


def test_vector_with_core_and_afterimage():
    v = vector("SNB01")
    p = v["params"]
    parameters = SnowballParameters(
        min_jump_area=p["min_jump_area"],
        min_sat_area=p["min_sat_area"],
        expand_factor=p["expand_factor"],
        sat_expand=p["sat_expand_doubled"] // 2,
        edge_size=p["edge_size"],
        max_extended_radius=p["max_extended_width"] // 2,
        snowball_time_masked_next_int=10 * p["persist_grps_flagged"],
        min_sat_radius_extend=p["min_sat_radius_extend"],
    )
    result = flag_snowballs(np.array(v["groupdq"], np.uint8), group_time=10.0, parameters=parameters)
    np.testing.assert_array_equal(result.groupdq, v["expected"]["groupdq"])
    assert result.n_snowballs == v["expected"]["total"]


@pytest.mark.parametrize("name", ["SNB03", "SNB04"])
def test_vector_of_a_line(name):
    v = vector(name)
    parameters = SnowballParameters(sat_required_snowball=False, min_jump_area=5.0)
    result = flag_snowballs(np.array(v["groupdq"], np.uint8), group_time=10.0, parameters=parameters)
    np.testing.assert_array_equal(result.groupdq[0, 1], v["expected"]["groupdq_group1"])
    assert result.n_snowballs == v["expected"]["total"]


@pytest.mark.parametrize("name", ["snowball1_20x21", "snowball1_34x36"])
def test_real_snowballs(name):
    """The ring of jumps around a saturated core grows on all sides; the core grows too."""
    cutout = fits.getdata(DATA / f"{name}.fits").astype(np.uint8)
    gdq = np.zeros((1, 4, 120, 110), np.uint8)
    where = np.s_[40 : 40 + cutout.shape[0], 40 : 40 + cutout.shape[1]]
    gdq[0, 1][where] = cutout
    gdq[0, 2:, where[0], where[1]] = cutout & SAT
    result = flag_snowballs(gdq, group_time=10.0)
    expected, count = naive.snowballs(gdq, 10.0, SnowballParameters())
    assert result.n_snowballs == count >= 1
    np.testing.assert_array_equal(result.groupdq, expected)
    assert (result.groupdq[0, 1][(gdq[0, 1] & JUMP) > 0] & (JUMP | SAT)).all()
    assert np.count_nonzero(result.groupdq[0, 1] & JUMP) > 1.5 * np.count_nonzero(gdq[0, 1] & JUMP)
    assert np.count_nonzero(result.groupdq[0, 3] & SAT) > np.count_nonzero(gdq[0, 3] & SAT)


def test_real_core_that_is_too_small_to_grow():
    gdq = fits.getdata(DATA / "start_sat_extend.fits").astype(np.uint8)[None]
    result = flag_snowballs(gdq, group_time=10.0, parameters=SnowballParameters(edge_size=0, min_jump_area=1))
    np.testing.assert_array_equal(result.groupdq, naive.snowballs(gdq, 10.0, SnowballParameters(edge_size=0))[0])


def disc(shape, y, x, radius):
    rows, columns = np.indices(shape)
    return np.hypot(rows - y, columns - x) < radius


def round_event(shape=(2, 4, 100, 100), y=50, x=50, late=False):
    gdq = np.zeros(shape, np.uint8)
    gdq[0, 1, disc(shape[2:], y, x, 12)] = JUMP
    gdq[0, 1 + late :, disc(shape[2:], y, x, 6)] = SAT
    return gdq


@pytest.mark.parametrize("late", [False, True])
def test_round_event(late):
    gdq = round_event(late=late)
    result = flag_snowballs(gdq, group_time=10.0)
    assert result.n_snowballs == 1
    flagged = result.groupdq[0, 1] & JUMP
    assert flagged[disc((100, 100), 50, 50, 15) & (result.groupdq[0, 1] != SAT)].all()
    assert not flagged[~disc((100, 100), 50, 50, 35)].any()
    # What saturates a group late is enlarged from there on.
    grown = result.groupdq[0] == SAT
    assert [np.count_nonzero(plane) > 120 for plane in grown] == [False, not late, True, True]
    # All groups of the next integration but the first one.
    np.testing.assert_array_equal((result.groupdq[1] & JUMP).any(axis=(1, 2)), [False, True, True, True])
    assert (result.groupdq[1, 1:, disc((100, 100), 50, 50, 5)] == JUMP).all()


def test_without_a_core_it_is_none_unless_near_the_edge():
    for x, expected in ((50, 0), (10, 1), (80, 1)):
        gdq = round_event(x=x)
        gdq[gdq == SAT] = 0
        result = flag_snowballs(gdq, group_time=10.0)
        assert result.n_snowballs == expected
        assert (result.groupdq != gdq).any() == bool(expected)
    # The number of rows limits the columns too.
    gdq = round_event((1, 4, 60, 200), y=30, x=100)
    gdq[gdq == SAT] = 0
    assert flag_snowballs(gdq, group_time=10.0).n_snowballs == 1


def test_time_of_the_afterimage():
    gdq = round_event((2, 6, 100, 100))
    for seconds, groups in ((0, []), (19, []), (20, [1]), (45, [1, 2, 3]), (4000, [1, 2, 3, 4, 5])):
        parameters = SnowballParameters(snowball_time_masked_next_int=seconds)
        result = flag_snowballs(gdq, group_time=10.0, parameters=parameters)
        assert np.flatnonzero((result.groupdq[1] & JUMP).any(axis=(1, 2))).tolist() == groups


@pytest.mark.parametrize("value", [0, JUMP, SAT, DNU, JUMP | DNU, 255])
@pytest.mark.parametrize(
    "shape", [(1, 3, 30, 40), (2, 4, 1, 7), (1, 2, 5, 1), (2, 1, 4, 4), (0, 3, 4, 4), (1, 3, 0, 4)]
)
def test_frames_that_are_flagged_as_a_whole(value, shape):
    gdq = np.full(shape, value, np.uint8)
    gdq[:, :1] = 0
    result = flag_snowballs(gdq, group_time=10.0, threads=1)
    if 0 not in shape:
        expected, count = naive.snowballs(gdq, 10.0, SnowballParameters())
        np.testing.assert_array_equal(result.groupdq, expected)
        assert result.n_snowballs == count


@pytest.mark.parametrize("place", [(0, 0), (0, 59), (59, 0), (59, 59), (0, 30), (30, 59)])
def test_events_at_edges_and_corners(place):
    gdq = round_event((2, 4, 60, 60), *place)
    result = flag_snowballs(gdq, group_time=10.0)
    expected, count = naive.snowballs(gdq, 10.0, SnowballParameters())
    np.testing.assert_array_equal(result.groupdq, expected)
    assert result.n_snowballs == count == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 3, 40, 40), (2, 4, 25, 60)]))
def test_flags_only_spread(seed, shape):
    """No flag is lost but under an enlarged core, which stays saturated."""
    gdq = flags_of_snowballs(seed, shape, n=3)
    p = SnowballParameters(edge_size=0)
    result = flag_snowballs(gdq, group_time=10.0, parameters=p)
    lost = (gdq & ~result.groupdq) != 0
    assert np.isin(result.groupdq[lost], (SAT, SAT | JUMP)).all()  # the latter with an afterimage
    saturated = (result.groupdq & SAT) > 0
    grown = saturated & ~((gdq & SAT) > 0)
    assert not (grown[:, :-1] & ~saturated[:, 1:]).any()
    assert (result.groupdq[:, 0] == gdq[:, 0]).all()
    # Without the search for cores nothing is saturated or lost.
    free = flag_snowballs(gdq, group_time=10.0, parameters=replace(p, sat_required_snowball=False))
    assert ((free.groupdq & gdq) == gdq).all() and np.isin(free.groupdq ^ gdq, (0, JUMP)).all()


def test_in_place():
    gdq = round_event()
    expected = flag_snowballs(gdq, group_time=10.0)
    seen = []
    count = flag_snowballs_in_place(gdq, group_time=10.0, after_integration=seen.append, threads=1)
    assert count == expected.n_snowballs and seen == [0, 1]
    np.testing.assert_array_equal(gdq, expected.groupdq)
    gdq.flags.writeable = False
    with pytest.raises(DTypeError, match="read-only"):
        flag_snowballs_in_place(gdq, group_time=10.0)
    with pytest.raises(ShapeError, match="dimensions"):
        flag_snowballs(gdq[0], group_time=10.0)
    with pytest.raises(DTypeError, match="float"):
        flag_snowballs(gdq.astype(float), group_time=10.0)

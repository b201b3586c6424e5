"""Snowballs and showers against stcal on arrays, and snowballs through both pipelines."""

import numpy as np
import pytest
from tests.kernels.test_showers import exposure as shower_exposure
from tests.kernels.test_snowballs import PARAMETERS, flags_of_snowballs
from tests.parity.test_detector1_products import arrays_of, check_arrays_where_flags_agree, check_headers

from upramp.kernels.showers import ShowerParameters, flag_showers
from upramp.kernels.snowballs import SnowballParameters, flag_snowballs

pytestmark = pytest.mark.parity

FLAGS = {
    "GOOD": 0,
    "DO_NOT_USE": 1,
    "SATURATED": 2,
    "JUMP_DET": 4,
    "NO_GAIN_VALUE": 2**19,
    "REFERENCE_PIXEL": 2**31,
}


def peer_snowballs(gdq, p, group_time):
    from stcal.jump.jump import flag_large_events
    from stcal.jump.jump_class import JumpData

    setup = JumpData(dqflags=FLAGS)
    setup.set_snowball_info(
        True,
        p.min_jump_area,
        p.min_sat_area,
        p.expand_factor,
        p.sat_required_snowball,
        p.min_sat_radius_extend,
        2 * p.sat_expand,
        p.edge_size,
    )
    setup.max_extended_width = 2 * p.max_extended_radius
    setup.mask_persist_grps_next_int = p.mask_snowball_core_next_int
    setup.persist_grps_flagged = int(p.snowball_time_masked_next_int // group_time)
    return flag_large_events(gdq.copy(), FLAGS["JUMP_DET"], FLAGS["SATURATED"], setup)


def peer_showers(arrays, p, nframes, group_time):
    from stcal.jump.jump import find_faint_extended
    from stcal.jump.jump_class import JumpData

    data, gdq, pdq, gain, noise = (array.copy() for array in arrays)
    setup = JumpData(dqflags=FLAGS)
    setup.nframes = nframes
    setup.set_shower_info(
        True,
        p.extend_snr_threshold,
        p.extend_min_area,
        p.extend_inner_radius,
        p.extend_outer_radius,
        p.extend_ellipse_expand_ratio,
        10,
        2 * p.max_extended_radius,
    )
    setup.set_sigma_clipping_info(3, p.minimum_sigclip_groups, True)
    setup.grps_masked_after_shower = int(p.time_masked_after_shower // group_time)
    setup.max_shower_amplitude *= group_time
    electrons = data * gain
    electrons[(gdq & 3) != 0] = np.nan  # as the search for jumps leaves them
    return find_faint_extended(electrons, gdq, pdq, noise * gain, setup)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize(
    ("shape", "noise"),
    [((2, 5, 180, 180), 0.002), ((2, 4, 120, 240), 0.005), ((120, 4, 40, 40), 0.002)],
    ids=["square", "wide", "series"],
)
def test_snowball_flags(name, shape, noise):
    p = PARAMETERS[name]
    gdq = flags_of_snowballs(7, shape, n=2 if shape[0] > 2 else 12, noise=noise)
    expected, count = peer_snowballs(gdq, p, 10.0)
    result = flag_snowballs(gdq, group_time=10.0, parameters=p)
    assert result.n_snowballs == count > 10
    changed = np.count_nonzero(expected != gdq)
    assert changed > 1000
    assert np.count_nonzero(result.groupdq != expected) <= 1e-4 * changed


@pytest.mark.parametrize("value", [0, 2, 4, 6, 1])
def test_whole_frames(value):
    gdq = np.zeros((2, 4, 60, 50), np.uint8)
    gdq[:, 1:] = value
    expected, count = peer_snowballs(gdq, SnowballParameters(), 10.0)
    result = flag_snowballs(gdq, group_time=10.0)
    np.testing.assert_array_equal(result.groupdq, expected)
    assert result.n_snowballs == count


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((2, 12, 128, 140), ShowerParameters()),
        ((3, 8, 100, 132), ShowerParameters(extend_min_area=40, time_masked_after_shower=30)),
        ((1, 20, 90, 90), ShowerParameters(extend_inner_radius=2, extend_outer_radius=3, extend_snr_threshold=1.15)),
        ((104, 5, 48, 50), ShowerParameters(extend_min_area=50)),
    ],
    ids=["default", "long", "ring", "series"],
)
@pytest.mark.parametrize("nframes", [1, 4])
def test_shower_flags(shape, parameters, nframes):
    arrays = shower_exposure(5, *shape[:2], shape[2:], showers=12)
    expected, count = peer_showers(arrays, parameters, nframes, 2.8)
    result = flag_showers(*arrays, nframes=nframes, group_time=2.8, parameters=parameters)
    assert result.n_showers == count > 2
    changed = np.count_nonzero(expected != arrays[1])
    assert changed > 500
    # Rounding at the threshold can change one pixel of a region, and so the size of its ellipse.
    assert np.count_nonzero(result.groupdq != expected) <= 1e-3 * changed


@pytest.mark.parametrize("kind", ["rate", "rateints", "ramp"])
@pytest.mark.parametrize("name", ["default", "changed"])
def test_pipelines(snowball_runs, name, kind):
    """Flags are the same but for pixels exactly on an edge, where they depend on the processor in the peer."""
    theirs, ours = (snowball_runs.product(package, name, kind) for package in ("jwst", "upramp"))
    expected, found = arrays_of(theirs), arrays_of(ours)
    for flags in ("GROUPDQ", "PIXELDQ") if kind == "ramp" else ("DQ",):
        changed = np.count_nonzero(expected[flags] & 6)
        assert np.count_nonzero(found[flags] != expected[flags]) <= 1e-3 * changed
    if kind != "ramp":
        check_arrays_where_flags_agree(expected, found)
    check_headers(theirs, ours)

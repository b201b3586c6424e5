"""Jump detection and ramp fit against stcal on random exposures with mixed flags."""

import numpy as np
import pytest

from upramp.kernels.jump import JumpParameters, detect_jumps
from upramp.kernels.ramp_fit import fit_ramps

pytestmark = pytest.mark.parity

DNU, SAT, JUMP, PERS, CHG = 1, 2, 4, 32, 128
FLAGS = {
    "GOOD": 0,
    "DO_NOT_USE": DNU,
    "SATURATED": SAT,
    "JUMP_DET": JUMP,
    "PERSISTENCE": PERS,
    "CHARGELOSS": CHG,
    "NO_GAIN_VALUE": 2**19,
    "UNRELIABLE_SLOPE": 2**24,
    "REFERENCE_PIXEL": 2**31,
}


def exposure(seed, ni, ng, frame=(12, 25)):
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 5.0, 100.0, 5000.0, -10.0], frame)
    steps = rng.normal(rate, np.sqrt(np.abs(rate) + 30), (ni, ng, *frame))
    steps += (rng.random(steps.shape) < 0.05) * rng.normal(0, 600, steps.shape)
    data = steps.cumsum(axis=1)
    data[rng.random(data.shape) < 0.003] = np.nan
    choices = [DNU, SAT, JUMP, JUMP, PERS, CHG | DNU, JUMP | DNU, JUMP | PERS, 64]
    flagged = (rng.random(data.shape) < 0.15) & (rng.random(frame) < 0.5)
    gdq = np.where(flagged, rng.choice(choices, data.shape), 0).astype(np.uint8)
    saturated = (rng.random((ni, 1, *frame)) < 0.15) & (np.arange(ng)[:, None, None] >= rng.integers(0, ng, frame))
    gdq[saturated] |= SAT
    pdq = np.where(rng.random(frame) < 0.05, rng.choice([1, 2, 4, 2048], frame), 0).astype(np.uint32)
    gain = rng.uniform(0.5, 4, frame)
    gain[rng.random(frame) < 0.03] = np.nan
    gain[rng.random(frame) < 0.03] = -1
    noise = rng.uniform(1, 12, frame)
    noise[rng.random(frame) < 0.02] = 0
    return data.astype(np.float32), gdq, pdq, gain.astype(np.float32), noise.astype(np.float32)


def peer_jumps(data, gdq, pdq, gain, noise, nframes, parameters, groups_after):
    from stcal.jump.jump import detect_jumps_data
    from stcal.jump.jump_class import JumpData

    setup = JumpData(gain2d=gain.copy(), rnoise2d=noise.copy(), dqflags=FLAGS)
    setup.init_arrays_from_arrays(data.copy(), gdq.copy(), pdq.copy())
    setup.nframes = nframes
    setup.dt_group, setup.n_reads_groupdiff = np.ones(1), np.ones(1) * 2 * nframes
    setup.set_detection_settings(
        parameters.rejection_threshold,
        parameters.three_group_rejection_threshold,
        parameters.four_group_rejection_threshold,
        parameters.max_jump_to_flag_neighbors,
        parameters.min_jump_to_flag_neighbors,
        parameters.flag_4_neighbors,
    )
    setup.set_after_jump(
        parameters.after_jump_flag_dn1, groups_after[0], parameters.after_jump_flag_dn2, groups_after[1]
    )
    setup.set_sigma_clipping_info(3, parameters.minimum_sigclip_groups, parameters.only_use_ints)
    setup.min_diffs_single_pass = parameters.min_diffs_single_pass
    setup.max_cores = "none"
    return detect_jumps_data(setup)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("nframes", [1, 4])
@pytest.mark.parametrize(
    ("ni", "ng", "rules"),
    [
        (1, 3, {}),
        (1, 4, {}),
        (1, 5, {}),
        (3, 6, {}),
        (2, 10, {}),
        (2, 12, {}),
        (1, 30, {}),
        (9, 5, {"minimum_sigclip_groups": 9, "rejection_threshold": 2.2}),
        (3, 9, {"minimum_sigclip_groups": 12, "only_use_ints": False}),
    ],
)
def test_jump_flags(ni, ng, rules, nframes):
    data, gdq, pdq, gain, noise = exposure(ni * 100 + ng, ni, ng)
    parameters = JumpParameters(
        **rules,
        after_jump_flag_dn1=50.0,
        after_jump_flag_time1=20.0,
        after_jump_flag_dn2=400.0,
        after_jump_flag_time2=40.0,
        min_jump_to_flag_neighbors=8.0,
    )
    flags, pixel_flags, count, _ = peer_jumps(data, gdq, pdq, gain, noise, nframes, parameters, (2, 4))
    result = detect_jumps(data, gdq, pdq, gain, noise, nframes=nframes, group_time=10.0, parameters=parameters)
    np.testing.assert_array_equal(result.groupdq, flags)
    np.testing.assert_array_equal(result.pixeldq, pixel_flags)
    assert result.n_primary == count


def peer_fit(data, gdq, pdq, gain, noise, times, instrument, suppress, zeroframe, dark):
    from stcal.ramp_fitting.ramp_fit import ramp_fit_data
    from stcal.ramp_fitting.ramp_fit_class import RampData

    ramp = RampData()
    flags = gdq.copy()
    original = gdq.copy() if (gdq & CHG).any() else None
    ramp.set_arrays(data.copy(), flags, pdq.copy(), dark.copy(), original, zeroframe)
    ramp.set_meta(instrument, times["frame_time"], times["group_time"], 1, times["nframes"], 0)
    ramp.set_dqflags(FLAGS)
    ramp.flags_chargeloss = CHG
    ramp.suppress_one_group_ramps = suppress
    ramp.start_row, ramp.num_rows = 0, data.shape[2]
    image, integrations, _ = ramp_fit_data(ramp, False, noise.copy(), gain.copy(), "OLS_C", "optimal", "none")
    return image, integrations


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suppress", [True, False])
@pytest.mark.parametrize(
    ("ni", "ng", "instrument"),
    [(1, 2, "NIRCAM"), (1, 5, "NIRCAM"), (3, 8, "NIRISS"), (2, 12, "MIRI"), (1, 40, "NIRSPEC")],
)
def test_rates(ni, ng, instrument, suppress):
    data, gdq, pdq, gain, noise = exposure(ni * 10 + ng, ni, ng)
    if instrument == "MIRI":
        gdq[:, [0, -1]] |= DNU
        gdq[:, 1] |= np.where(np.arange(gdq.shape[-1]) % 5 == 0, JUMP, 0).astype(np.uint8)
    times = {"group_time": 53.68385, "frame_time": 10.73677, "nframes": 4}
    rng = np.random.default_rng(3)
    zeroframe = np.where(rng.random(data[:, 0].shape) < 0.5, rng.normal(30, 20, data[:, 0].shape), 0)
    zeroframe = zeroframe.astype(np.float32)
    dark = rng.choice([0, 0.01], pdq.shape).astype(np.float32)
    image, integrations = peer_fit(data, gdq, pdq, gain, noise, times, instrument, suppress, zeroframe, dark)
    fit = fit_ramps(
        data,
        gdq,
        pdq,
        gain,
        noise,
        **times,
        suppress_one_group=suppress,
        zeroframe=zeroframe,
        average_dark_current=dark,
        miri=instrument == "MIRI",
    )
    for planes, peer in ((fit.rate, image), (fit.integrations, integrations)):
        np.testing.assert_array_equal(planes.dq, peer["dq"])
        for name in ("slope", "var_poisson", "var_rnoise", "err"):
            np.testing.assert_allclose(getattr(planes, name), peer[name], rtol=3e-6, atol=1e-7, err_msg=name)

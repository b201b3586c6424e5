"""The MIRI chain in the fused schedule: bit by bit the numbers of the stepwise one."""

import dataclasses

import numpy as np
import pytest
from tests.kernels.test_chain import assert_same_bits, make, plane

from upramp.kernels import corrections as c
from upramp.kernels import stepwise
from upramp.kernels.chain import Chain, RampPlanes, WholeFrameRule, calibrate
from upramp.kernels.dark import dark_integrations, dark_plan
from upramp.kernels.jump import JumpParameters
from upramp.kernels.reset import reset_integrations
from upramp.kernels.rscd import rscd_skips

ORDER = (
    "scale", "mask", "saturation", "ipc", "first_group", "last_group", "reset", "linearity", "rscd", "dark", "refpix",
    "charge_migration",
)  # fmt: skip


def make_miri(
    shape, *, skips=(1, 3), first=1, first_frame=None, bright=True, dark_nframes=1, n_dark=2, n_reset=2, **keywords
):
    """A raw exposure and the chain of MIRI for it."""
    raw, chain = make(shape, **keywords)
    ni, ng, ny, nx = shape
    rng = np.random.default_rng(7)
    raw = raw.astype(np.int64) - np.where(np.arange(nx) % 2, 0, 3)
    if not bright:
        raw = np.minimum(raw, 30000)
    elif ng > 3:
        raw[:, 2:, ny // 2 :, 10] = 65535
        raw[-1, 1:, 1, 11] = 65535
        raw[0, :, 2, 12] = 65535
    raw = np.clip(raw, 0, 65535).astype(np.uint16)
    reset = rng.normal(0, 20, (n_reset, 4, ny, nx))
    reset[..., rng.random((ny, nx)) < 0.01] = np.nan
    nframes = chain.jump.nframes
    groups = ng * nframes + (ng - 1) * chain.fit.groupgap - 1
    plan = dark_plan(ng, nframes, chain.fit.groupgap, groups, dark_nframes, 0)
    dark = rng.normal(0, 2, (n_dark * groups, ny, nx))
    dark[..., rng.random((ny, nx)) < 0.01] = np.nan
    chosen = rscd_skips(ng, ni, ni + first - 1, first, *skips) if skips is not None else None
    return raw, dataclasses.replace(
        chain,
        superbias=None,
        saturation=chain.saturation._replace(has_bias=False, bias=c.NO_PLANE),
        first_group=None if first_frame is None else c.FirstGroup(True, first_frame),
        last_group=c.LastGroup(True),
        reset=c.ResetAnomaly(
            True,
            plane(reset.reshape(-1, ny, nx), np.float32),
            chain.mask.mask,
            reset_integrations(ni, n_reset, first),
            4,
            min(3, ng),
        ),
        rscd=None if chosen is None else c.SwitchCharge(True, chosen.skips, int(chosen.first is not None)),
        dark=c.DarkCurrent(
            True,
            plane(dark, np.float32),
            chain.dark.flags,
            plan.starts,
            plan.counts,
            plan.direct,
            dark_integrations(ni, n_dark, first),
            groups,
        ),
        refpix=c.SideMeasurement(True, 3.0),
        fit=chain.fit._replace(miri=True),
    )


def run_stepwise(raw, chain):
    """Ramp before the fit, fit, number of jumps and of unused groups, counts of RSCD."""
    frame = raw.shape[-2:]
    ramp = stepwise.Ramp(raw.astype(np.float32), np.zeros(raw.shape, np.uint8), np.zeros(frame, np.uint32))
    rscd = None
    for name in ORDER:
        if getattr(chain, name) is not None:
            result = stepwise.apply(getattr(chain, name), ramp)
            rscd = result if name == "rscd" else rscd
    count, n_unused = stepwise.detect_jumps(chain.jump, ramp)[:2] if chain.jump is not None else (0, 0)
    before = stepwise.Ramp(ramp.data.copy(), ramp.groupdq.copy(), ramp.pixeldq.copy())
    fit = stepwise.fit_ramps(chain.fit, ramp)
    for planes in fit or ():
        for name, power in (("slope", 1), ("err", 1), ("var_poisson", 2), ("var_rnoise", 2)):
            getattr(planes, name)[...] *= np.float32(chain.gain_factor**power)
    return before, fit, (count, n_unused, rscd)


MODES = {
    "default": {"shape": (2, 7, 40, 50)},
    "one integration": {"shape": (1, 7, 33, 21)},
    "no bright source": {"shape": (2, 7, 20, 30), "bright": False},
    "segment": {"shape": (3, 7, 20, 30), "first": 4},
    "many groups skipped": {"shape": (2, 12, 20, 30), "skips": (2, 6)},
    "first group too": {"shape": (2, 7, 20, 30), "first_frame": True},
    "first group always": {"shape": (2, 7, 20, 30), "first_frame": False, "skips": None},
    "averaged frames": {"shape": (3, 6, 20, 30), "nframes": 4, "groupgap": 1, "n_dark": 2},
    "ipc": {"shape": (2, 7, 30, 40), "ipc": True},
    "many groups": {"shape": (2, 12, 20, 30), "first_frame": True},
    "wide growth": {"shape": (2, 7, 30, 40), "grow": 3},
    "time series": {"shape": (12, 6, 20, 20), "parameters": JumpParameters(minimum_sigclip_groups=10)},
    "narrow": {"shape": (2, 7, 20, 13)},
}


@pytest.mark.parametrize("mode", MODES)
def test_fused_equals_stepwise(mode):
    raw, chain = make_miri(**MODES[mode])
    ramp, fit, counts = run_stepwise(raw, chain)
    assert counts[1] >= len(raw)
    out = RampPlanes(np.empty(raw.shape, ">f4"), np.empty(raw.shape, np.uint8), np.empty(raw.shape[2:], np.uint32))
    for options in ({}, {"threads": 2, "tile_bytes": 20000, "block": 7}):
        result = calibrate(raw, chain, ramp_out=out, **options)
        assert (result.n_primary, result.n_unused, result.rscd) == counts
        np.testing.assert_array_equal(out.data, ramp.data)
        np.testing.assert_array_equal(out.gdq, ramp.groupdq)
        np.testing.assert_array_equal(out.pdq, ramp.pixeldq)
        assert_same_bits(result.fit, fit)


@pytest.mark.parametrize("left_out", ["last_group", "reset", "rscd", "dark", "refpix", "saturation", "jump"])
def test_corrections_can_be_left_out(left_out):
    raw, chain = make_miri((2, 7, 20, 30))
    chain = dataclasses.replace(chain, **{left_out: None})
    _, fit, counts = run_stepwise(raw, chain)
    result = calibrate(raw, chain, tile_bytes=30000)
    assert (result.n_primary, result.rscd) == (counts[0], counts[2])
    assert_same_bits(result.fit, fit)


def test_side_pixels_without_a_good_one_leave_the_exposure():
    raw, chain = make_miri((2, 7, 20, 30))
    mask = np.zeros((20, 30), np.uint32)
    mask[1::2, 29] = 1
    chain = dataclasses.replace(chain, mask=c.StaticMask(True, plane(mask, np.uint32)))
    assert_same_bits(calibrate(raw, chain).fit, calibrate(raw, dataclasses.replace(chain, refpix=None)).fit)


def test_rules_about_whole_frames_are_left_to_the_stepwise_schedule():
    raw, chain = make_miri((2, 4, 20, 30), bright=False)
    with pytest.raises(WholeFrameRule, match="too few of the 4 groups"):
        calibrate(raw, chain)
    raw, chain = make_miri((2, 7, 20, 30))
    unusable = raw.copy()
    unusable[:, 4] = 0
    with pytest.raises(WholeFrameRule, match="unusable in every pixel"):
        calibrate(unusable, dataclasses.replace(chain, rscd=None))
    # What the pass over the flags of the first groups finds needs no other schedule.
    _, fit, _ = run_stepwise(unusable, chain)
    assert_same_bits(calibrate(unusable, chain).fit, fit)
    long, chain_of_long = make_miri((2, 9, 20, 30))
    long[:, 7] = 0
    with pytest.raises(WholeFrameRule, match="unusable in every pixel"):
        calibrate(long, chain_of_long)
    lone = dataclasses.replace(chain, jump=None, rscd=None)
    raw[:, 1:] = 65535
    with pytest.raises(WholeFrameRule, match="hardly any pixel"):
        calibrate(raw, lone)


def test_groups_that_most_pixels_cannot_use_are_the_same_in_both_schedules():
    """Rounding depends on them, and charge migration comes after the pass over the flags."""
    raw, chain = make_miri((2, 7, 40, 50))
    _, fit, _ = run_stepwise(
        raw, migrating := dataclasses.replace(chain, charge_migration=c.ChargeMigration(True, 14e3))
    )
    assert_same_bits(calibrate(raw, migrating, tile_bytes=20000).fit, fit)
    migrating = dataclasses.replace(chain, charge_migration=c.ChargeMigration(True, 13e3))
    with pytest.raises(WholeFrameRule, match="most pixels cannot use a group"):
        calibrate(raw, migrating)


def test_chain_of_miri_is_in_the_order_of_the_fields():
    names = [name for name in Chain.__dataclass_fields__ if name in ORDER]
    assert [name for name in names if name != "refpix"] == [name for name in ORDER if name != "refpix"]

"""The corrections of a chain, and what compiled code is told of them."""

import math
from dataclasses import dataclass

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits, as_bits
from upramp.kernels._layout import ShapeError
from upramp.kernels._work import CompiledChain, FitRules, JumpRules, Outputs, RampPlanes, RateTargets
from upramp.kernels.jump import DECLINED, _after_jump_limits, choose_mode
from upramp.kernels.likelihood import ONE_OMISSION, TWO_OMISSIONS
from upramp.kernels.likelihood_model import readout_table
from upramp.kernels.ramp_fit import RampFit, RatePlanes, segment_weights, suppresses_one_group
from upramp.kernels.stepwise import native_plane

__all__ = [
    "NO_RAMP",
    "Chain",
    "WholeFrameRule",
    "check_references",
    "compiled_chain",
    "halo_of",
    "outputs_for",
]


class WholeFrameRule(Exception):
    """A rule about a whole frame applies, which the fused schedule cannot judge: the caller goes stepwise.

    Nothing that has been written is valid.
    """


@dataclass(frozen=True)
class Chain:
    """Corrections in the order of the stage-1 chain; None for those that are not made.

    The order is that of the near infrared and that of MIRI, which agree in what they share but for ``refpix``: a
    `SideMeasurement` (MIRI) comes after the dark.
    """

    scale: c.FrameScale | None = None
    mask: c.StaticMask | None = None
    saturation: c.Saturation | None = None
    ipc: c.InterPixelCapacitance | None = None
    first_group: c.FirstGroup | None = None
    last_group: c.LastGroup | None = None
    reset: c.ResetAnomaly | None = None
    superbias: c.SuperBias | None = None
    refpix: c.ReferenceMeasurement | c.SideMeasurement | c.InterleavedReference | None = None
    linearity: c.Linearity | None = None
    rscd: c.SwitchCharge | None = None
    dark: c.DarkCurrent | None = None
    charge_migration: c.ChargeMigration | None = None
    jump: c.JumpDetection | None = None
    persistence: c.Persistence | None = None
    fit: c.RampFitting | None = None
    gain_factor: float | None = None


def _jump_rules(op, shape, unused):
    if op is None:
        return JumpRules()
    p = op.parameters
    mode = choose_mode(unused, p)
    if mode == DECLINED:
        raise WholeFrameRule(f"too few of the {shape[1]} groups of the exposure can be used to look for jumps")
    e1, e2, n1, n2 = 0.0, 0.0, 0, 0
    if p.after_jump_flag_time1 > 0 or p.after_jump_flag_time2 > 0:
        e1, e2, n1, n2 = _after_jump_limits(native_plane(op.gain, np.float32, shape[-2:]), op.group_time, p)
    return JumpRules(
        True,
        op.gain,
        op.read_noise,
        int(mode),
        float(p.rejection_threshold),
        float(p.four_group_rejection_threshold),
        float(p.three_group_rejection_threshold),
        int(op.nframes),
        bool(p.flag_4_neighbors),
        float(p.min_jump_to_flag_neighbors),
        float(p.max_jump_to_flag_neighbors),
        float(e1),
        float(e2),
        int(n1),
        int(n2),
        unused,
    )


def _fitted_groups(op, unused):
    """Groups to fit, half-open: without those at the ends that no pixel can use, for MIRI."""
    start, stop = 0, unused.shape[1]
    if not op.miri or stop == 1:
        return start, stop
    used = np.flatnonzero(~unused.all(axis=0))
    if used.size:
        start = int(used[0])
        stop -= bool(unused[:, -1].all())
    if used.size == 0 or stop - start < 2:
        raise WholeFrameRule("fewer than two groups can be fitted")
    return start, stop


def _fit_rules(op, gain_factor, unused, mostly_unused):
    if op is None:
        return FitRules()
    start, stop = _fitted_groups(op, unused)
    frame_time = float(np.float32(op.frame_time))
    return FitRules(
        True,
        op.gain,
        op.read_noise,
        op.average_dark,
        segment_weights(stop - start, op.group_time),
        int(suppresses_one_group(op.suppress_one_group, unused.shape[1])),
        math.sqrt(2.0 * op.nframes),
        float(np.float32(op.group_time)),
        frame_time,
        (op.nframes + 1) * frame_time / 2,
        1.0 if gain_factor is None else float(gain_factor),
        start,
        stop,
        *((True, readout_table(op.read_times), ONE_OMISSION, TWO_OMISSIONS) if op.read_times else ()),
        unused=mostly_unused if op.miri else np.zeros_like(unused),
    )


def compiled_chain(chain, shape, unused, mostly_unused=None):
    """The chain as compiled code takes it; the reference pixels are still to be measured.

    ``unused`` are the groups that no pixel can use, ``mostly_unused`` (the same if None) those that most cannot.
    """
    # What an IRS2 readout gets from refpix has no bias any more.
    superbias = None if isinstance(chain.refpix, c.InterleavedReference) else chain.superbias
    return CompiledChain(
        chain.mask or c.StaticMask(),
        chain.saturation or c.Saturation(),
        chain.ipc or c.InterPixelCapacitance(),
        chain.first_group or c.FirstGroup(),
        chain.last_group or c.LastGroup(),
        chain.reset or c.ResetAnomaly(),
        superbias or c.SuperBias(),
        c.ReferencePixels(isinstance(chain.refpix, c.ReferenceMeasurement)),
        chain.linearity or c.Linearity(),
        chain.rscd or c.SwitchCharge(),
        chain.dark or c.DarkCurrent(),
        c.SidePixels(isinstance(chain.refpix, c.SideMeasurement)),
        chain.charge_migration or c.ChargeMigration(),
        _jump_rules(chain.jump, shape, unused),
        chain.persistence or c.Persistence(),
        _fit_rules(chain.fit, chain.gain_factor, unused, unused if mostly_unused is None else mostly_unused),
    )


def halo_of(chain):
    """Pixels around a tile that its corrections look at."""
    jump = 1 if chain.jump is not None else 0
    saturation = 2 * chain.saturation.grow if chain.saturation is not None else 0
    ipc = len(chain.ipc.kernel) // 2 if chain.ipc is not None else 0
    migration = 1 if chain.charge_migration is not None else 0
    return jump + migration + max(saturation, ipc)


def check_references(raw, chain, shape):
    """Refuse references that do not cover the exposure, before any work."""
    for op in (getattr(chain, field) for field in Chain.__dataclass_fields__ if field != "gain_factor"):
        for name, source in zip(getattr(op, "_fields", ()), op or (), strict=True):
            if not isinstance(source, Bits) or source.bits.shape[0] == 0:
                continue
            rows, columns = source.bits.shape[1:]
            if source.first_row + shape[2] > rows or source.first_column + shape[3] > columns:
                raise ShapeError(
                    f"{type(op).__name__}.{name} has {rows} rows and {columns} columns; the exposure needs "
                    f"{shape[2]} x {shape[3]} of them from row {source.first_row}, column {source.first_column} on"
                )


def _empty_planes(shape):
    floats = [np.empty(shape, np.float32) for _ in range(4)]
    return RatePlanes(*floats, np.empty(shape, np.uint32))


def _as_targets(planes):
    """`RateTargets` for arrays to be filled."""
    floats = [as_bits(array, np.float32, writable=True) for array in planes[:4]]
    return RateTargets(*floats, as_bits(planes.dq, np.uint32, writable=True))


def outputs_for(chain, out, ramp_out, shape):
    """Where results go: (`Outputs`, RampFit of new arrays or None)."""
    ni, _, ny, nx = shape
    fit = None
    if chain.fit is None:
        rate = integrations = _as_targets(_empty_planes((0, 1, 1)))
    else:
        if out is None:
            out = fit = RampFit(_empty_planes((ny, nx)), _empty_planes((ni, ny, nx)))
        rate, integrations = _as_targets(out.rate), _as_targets(out.integrations)
    if ramp_out is None:
        return Outputs(rate, integrations, NO_RAMP), fit
    ramp = RampPlanes(
        as_bits(ramp_out.data, np.float32, writable=True),
        as_bits(ramp_out.gdq, np.uint8, writable=True),
        as_bits(ramp_out.pdq, np.uint32, writable=True),
    )
    return Outputs(rate, integrations, ramp), fit


NO_RAMP = RampPlanes(*(as_bits(np.empty((0, 1, 1), dtype), dtype) for dtype in (np.float32, np.uint8, np.uint32)))

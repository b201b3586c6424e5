"""The whole chain on plain arrays: raw samples in, slopes out, in one pass through the data.

`Chain` lists the corrections to make; `calibrate` makes them, in the fused schedule of `upramp.kernels.fused`.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits, as_bits, decode_flags_tile, decode_float_tile, decode_raw_tile
from upramp.kernels._irs2_layout import DETECTORS, LINES, is_interleaved
from upramp.kernels._irs2_prepass import correct_before_fusing, place_interleaved
from upramp.kernels._jit import run_rows
from upramp.kernels._layout import ShapeError
from upramp.kernels.fused import (
    JUMP_MISSING,
    OPERATIONS,
    PAIR_FOUND,
    SATURATED_MISSING,
    UNUSED_MISSING,
    CompiledChain,
    FitRules,
    JumpRules,
    KnownFlags,
    Outputs,
    RampPlanes,
    RateTargets,
    RawSamples,
    Work,
    calibrate_rows,
    operations_needed,
)
from upramp.kernels.jump import DECLINED, SIGMA_CLIP, SIGMA_CLIP_ALL, _after_jump_limits, choose_mode
from upramp.kernels.likelihood import ONE_OMISSION, TWO_OMISSIONS
from upramp.kernels.likelihood_model import readout_table
from upramp.kernels.ramp_fit import RampFit, RatePlanes, segment_weights
from upramp.kernels.refpix import (
    EDGELESS_SUBARRAYS,
    ORIENTATION,
    edge_corrections,
    gather_edges,
    needs_edges,
    pooled_corrections,
    reference_positions,
)
from upramp.kernels.rscd import TALLIES, RscdCounts, summarize
from upramp.kernels.side_pixels import AMPLIFIERS, drifts_of_sides
from upramp.kernels.snowballs import flag_snowballs_in_place
from upramp.kernels.stepwise import native_plane
from upramp.kernels.superbias import subtract_bias_tile

__all__ = ["Calibrated", "Chain", "WholeFrameRule", "calibrate"]

# Bytes of a tile: its ramps, flags and marks. Long rows matter more than the nearest cache: every loop over a
# row has a cost of its own. Measured: benchmarks/test_tiles.py.
TILE_BYTES = 12_000_000
BLOCK_ROWS = 16  # rows of a tile without its margin
_SAMPLE_BYTES = 6  # float32, group flags, marks
_FLAGGING = ("mask", "saturation", "first_group", "last_group", "rscd")  # what decides which groups can be used


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


class Calibrated(NamedTuple):
    """Result of `calibrate`.

    fit : RampFit of native arrays, or None if they went elsewhere (``out``)
    n_primary : samples with a jump before neighbours were flagged; -99 if jumps were not looked for
    n_events : snowballs
    n_unused : groups, over all integrations, that no pixel of the frame can use
    rscd : counts of the first integration and of later ones, if groups were left out for RSCD
    n_saturated, n_jumps : samples with these flags that went into the fit; 0 without a fit
    """

    fit: RampFit | None
    n_primary: int
    n_events: int = 0
    n_unused: int = 0
    rscd: tuple[RscdCounts, RscdCounts] | None = None
    n_saturated: int = 0
    n_jumps: int = 0


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
        int(op.suppress_one_group and unused.shape[1] > 1),
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


class _ReferenceReader:
    """Reads superbias-subtracted samples and pixel flags of any rectangle, for the reference pixels."""

    def __init__(self, raw, chain, shape):
        self.raw, self.chain, self.shape = raw, chain, shape

    def flags(self, first, last, left, right):
        """Pixel flags as refpix sees them: those of mask, saturation and superbias."""
        dq = np.zeros((last - first, right - left), np.uint32)
        sources = [(self.chain.mask, "mask"), (self.chain.saturation, "flags"), (self.chain.superbias, "flags")]
        for op, name in sources:
            source = getattr(op, name) if op is not None else c.NO_PLANE
            if source.bits.shape[0] > 0:
                plane = np.empty_like(dq)
                decode_flags_tile(plane, source.record(), first, left)
                dq |= plane
        return dq

    def __call__(self, first, last, left, right):
        ni, ng = self.shape[:2]
        data = np.empty((ni, ng, last - first, right - left), np.float32)
        decode_raw_tile(data, self.raw.samples.record(), ng, self.raw.scale, first, left)
        dq = self.flags(first, last, left, right)
        if self.chain.superbias is not None:
            bias = np.empty((1, *dq.shape), np.float32)
            decode_float_tile(bias, self.chain.superbias.bias.record(), 0, first, left)
            subtract_bias_tile(data, dq.copy(), bias[0], dq, 0, last - first, 0, right - left)
        return data, dq


def measure_reference_pixels(raw, chain, shape, threads=None, after_block=None, frames_out=None, after_group=None):
    """Reference-pixel corrections of an exposure, from its reference pixels alone.

    Parameters
    ----------
    raw : RawSamples
    chain : Chain
        With the corrections before refpix, and its ``refpix``.
    shape : (nint, ngroup, ny, nx)
    threads : int or None
    after_block : callable, optional
        Called with the first and last row of blocks of rows that have been read.
    frames_out, after_group
        For IRS2, as `calibrate`.

    Returns
    -------
    ReferencePixels
    """
    op = chain.refpix
    if isinstance(op, c.InterleavedReference):
        return correct_before_fusing(raw, chain, shape, threads, frames_out, after_group)
    if not isinstance(op, c.ReferenceMeasurement):
        return c.ReferencePixels()
    if op.side_kernels is not None:
        raise WholeFrameRule("side reference pixels are convolved (SIRS), for each amplifier apart")
    fast, slow = ORIENTATION[op.detector]
    ny, nx = shape[-2:]
    read = _ReferenceReader(raw, chain, shape)
    if needs_edges((ny, nx), op.noutputs, op.striped):
        edges = gather_edges(read, shape, op.row0, op.column0, after_block)
        vectors = edge_corrections(edges, fast, slow, op.row0, op.column0, threads=threads, **op.parameters)
    else:
        positions = reference_positions(read.flags(0, ny, 0, nx), op.subarray in EDGELESS_SUBARRAYS)
        vectors = pooled_corrections(
            _values_at(read, positions, shape),
            positions,
            (ny, nx),
            fast,
            slow,
            op.row0,
            op.column0,
            striped=op.striped,
            odd_even_columns=op.parameters["odd_even_columns"],
            siglimit=op.parameters["siglimit"],
            threads=threads,
        )
    return c.ReferencePixels(True, *vectors)


def _values_at(read, positions, shape):
    """Samples (nint, ngroup, n) at positions, read a block of rows at a time."""
    rows, columns = positions
    values = np.empty((*shape[:2], len(rows)), np.float32)
    for first in range(0, shape[2], BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, shape[2])
        here = np.flatnonzero((rows >= first) & (rows < last))
        if len(here):
            data, _ = read(first, last, 0, shape[3])
            values[:, :, here] = data[:, :, rows[here] - first, columns[here]]
    return values


def _halo(chain):
    """Pixels around a tile that its corrections look at."""
    jump = 1 if chain.jump is not None else 0
    saturation = 2 * chain.saturation.grow if chain.saturation is not None else 0
    ipc = len(chain.ipc.kernel) // 2 if chain.ipc is not None else 0
    migration = 1 if chain.charge_migration is not None else 0
    return jump + migration + max(saturation, ipc)


def _check(raw, chain, shape):
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


def _outputs(chain, out, ramp_out, shape):
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
        return Outputs(rate, integrations, _NO_RAMP), fit
    ramp = RampPlanes(
        as_bits(ramp_out.data, np.float32, writable=True),
        as_bits(ramp_out.gdq, np.uint8, writable=True),
        as_bits(ramp_out.pdq, np.uint32, writable=True),
    )
    return Outputs(rate, integrations, ramp), fit


_NO_RAMP = RampPlanes(*(as_bits(np.empty((0, 1, 1), dtype), dtype) for dtype in (np.float32, np.uint8, np.uint32)))


# What only sets group flags is not done again.
_FLAGGED_BEFORE = {
    "first_group": c.FirstGroup(),
    "last_group": c.LastGroup(),
    "rscd": c.SwitchCharge(),
    "charge_migration": c.ChargeMigration(),
}


def _around_large_events(work, flags):
    """What is done before large events are looked for, and after that.

    Persistence and the fit come after them. The flags of a calibrated ramp are written again if persistence changes
    them: every tile its own, which only the tile itself looks at.
    """
    chain, outputs, flags = work.chain, work.outputs, as_bits(flags, np.uint8, writable=True)
    known = KnownFlags(True, flags, chain.saturation, chain.jump.gain)
    return (
        work._replace(
            chain=chain._replace(persistence=c.Persistence(), fit=FitRules()),
            outputs=outputs._replace(ramp=outputs.ramp._replace(gdq=flags)),
        ),
        work._replace(
            chain=chain._replace(saturation=c.Saturation(), jump=JumpRules(), known=known, **_FLAGGED_BEFORE),
            outputs=outputs._replace(ramp=_NO_RAMP._replace(gdq=flags) if chain.persistence.active else _NO_RAMP),
        ),
    )


def _find_large_events(op, flags, threads, after_integration):
    """Snowballs in the group flags, an array or a mapped one, which change; returns their number."""
    return flag_snowballs_in_place(
        getattr(flags, "bits", flags),
        group_time=op.group_time,
        parameters=op.snowballs,
        threads=threads,
        after_integration=after_integration,
    )


def _compiled_chain(chain, shape, unused, mostly_unused=None):
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


def _tile_width(shape, halo, block, tile_bytes):
    """Columns of a tile whose ramps, flags and marks take about so many bytes."""
    ni, ng, ny, nx = shape
    rows = min(block, ny) + 2 * halo
    width = tile_bytes // (_SAMPLE_BYTES * ni * ng * rows) - 2 * halo
    return min(nx, max(32, width // 16 * 16))


class _Pass(NamedTuple):
    """What a pass of the fused driver leaves besides its outputs."""

    seen: np.ndarray  # (ni, ng) uint8, see `SEEN` of `upramp.kernels.fused`
    counts: np.ndarray  # (3, ny) int64: primary jumps; saturated samples and jumps that go into the fit
    tallies: np.ndarray  # (ny, 6) int64, or no rows if nobody wants them
    unusable: np.ndarray  # (ny, ni * ng) int64, or no rows: samples with DO_NOT_USE

    def mostly_unused(self, nx):
        """Groups that have DO_NOT_USE in more than half of the pixels: (ni, ng) uint8."""
        share = self.unusable.sum(axis=0).reshape(self.seen.shape)
        return (2 * share > len(self.unusable) * nx).astype(np.uint8)


def _one_pass(
    work,
    shape,
    halo,
    *,
    threads=None,
    tile_bytes=TILE_BYTES,
    block=BLOCK_ROWS,
    after_block=None,
    tallied=False,
    counted=False,
):
    """Run the fused driver over a frame; its kernels must have been wanted before."""
    # Records hold addresses, and kernels get theirs: `work` and they keep the arrays alive until the kernels are done.
    record = np.zeros(1, c.record_dtype(Work))[0]
    c.fill_record(record, work)
    ni, ng, ny, _ = shape
    counts, tallies = np.zeros((3, ny), np.int64), np.zeros((tallied * ny, TALLIES), np.int64)
    unusable = np.zeros((counted * ny, ni * ng), np.int64)
    found = _Pass(np.zeros(shape[:2], np.uint8), counts, tallies, unusable)
    addresses = OPERATIONS.addresses(operations_needed(work))
    width = _tile_width(shape, halo, block, tile_bytes)
    places = (one.__array_interface__["data"][0] for one in (addresses, record))
    arguments = (*places, *found, halo, width)
    run_rows(calibrate_rows, ny, *arguments, threads=threads, block=block, after_block=after_block)
    return found


def _unused_beforehand(chain, shape):
    """Groups that no pixel can use whatever the data: (ni, ng) uint8."""
    unused = np.zeros(shape[:2], np.uint8)
    if chain.last_group is not None:
        unused[:, -1] = 1
    return unused


class _Groups(NamedTuple):
    """What is known of the groups before the pass over the samples."""

    unused: np.ndarray  # (ni, ng) uint8: no pixel can use them
    mostly_unused: np.ndarray  # (ni, ng) uint8: more than half of the pixels cannot
    certain: bool  # the flags that decide about the latter have been looked at
    rscd: tuple | None  # counts of RSCD


def _measure_groups(samples, chain, shape, threads, after_block):
    """Which groups are left out: `_Groups`.

    Only where the first groups are left out, which depends on saturation, does that take a pass, over the flags alone.
    """
    unused = _unused_beforehand(chain, shape)
    if chain.first_group is None and chain.rscd is None:
        return _Groups(unused, unused, False, None)
    flags = Chain(**{name: getattr(chain, name) for name in _FLAGGING})
    work = Work(samples, _compiled_chain(flags, shape, unused), _outputs(flags, None, None, shape)[0])
    options = {"threads": threads, "after_block": after_block, "tallied": True, "counted": True}
    found = _one_pass(work, shape, _halo(flags), **options)
    unused = ((found.seen & UNUSED_MISSING) == 0).astype(np.uint8)
    certain = chain.charge_migration is None and chain.persistence is None
    rscd = summarize(found.tallies) if chain.rscd is not None else None
    return _Groups(unused, found.mostly_unused(shape[3]), certain, rscd)


def _for_columns(op, first, width):
    """A correction for ``width`` columns of the exposure from ``first`` on."""
    if isinstance(op, c.InterPixelCapacitance):
        limits = (min(max(limit - first, 0), width) for limit in (op.first_science_column, op.last_science_column))
        return op._replace(first_science_column=next(limits), last_science_column=next(limits))
    if not hasattr(op, "_fields"):
        return op
    planes = {name: value for name, value in op._asdict().items() if isinstance(value, Bits)}
    return op._replace(**{name: bits._replace(first_column=bits.first_column + first) for name, bits in planes.items()})


def measure_side_pixels(samples, chain, shape, threads=None, after_block=None):
    """Drifts of the amplifiers of MIRI, from its reference columns alone.

    Each side goes through the corrections before refpix as a narrow exposure of its own, with a margin of the columns
    that they look at.

    Parameters
    ----------
    samples : RawSamples
    chain : Chain
    shape : (nint, ngroup, ny, nx)
    threads : int or None
    after_block : callable, optional
        Called with the first and last row of each finished block.

    Returns
    -------
    SidePixels
    """
    if not isinstance(chain.refpix, c.SideMeasurement):
        return c.SidePixels()
    later = dict.fromkeys(
        ("first_group", "last_group", "rscd", "refpix", "charge_migration", "jump", "persistence", "fit")
    )
    before = replace(chain, **later)
    halo, (*counts, ny, nx) = _halo(before), shape
    width = min(AMPLIFIERS + halo, nx)
    data, dq = np.empty((*counts, ny, 2 * AMPLIFIERS), np.float32), np.empty((ny, 2 * AMPLIFIERS), np.uint32)
    for first, inner, side in ((0, slice(0, AMPLIFIERS), 0), (nx - width, slice(-AMPLIFIERS, None), AMPLIFIERS)):
        narrow = (*counts, ny, width)
        ramp = RampPlanes(
            *(np.empty(narrow, dtype) for dtype in (np.float32, np.uint8)), np.empty(narrow[2:], np.uint32)
        )
        part = Chain(**{name: _for_columns(getattr(before, name), first, width) for name in Chain.__dataclass_fields__})
        outputs, _ = _outputs(part, None, ramp, narrow)
        place = samples.samples._replace(first_column=samples.samples.first_column + first)
        raw = samples._replace(samples=place, nx=width)
        work = Work(raw, _compiled_chain(part, narrow, _unused_beforehand(part, narrow)), outputs)
        _one_pass(work, narrow, halo, threads=threads, block=128, after_block=after_block)
        data[..., side : side + AMPLIFIERS], dq[:, side : side + AMPLIFIERS] = ramp.data[..., inner], ramp.pdq[:, inner]
    drifts = drifts_of_sides(data, dq, **chain.refpix._asdict(), threads=threads)
    return c.SidePixels() if drifts is None else c.SidePixels(True, drifts)


def calibrate(
    raw,
    chain,
    *,
    out=None,
    ramp_out=None,
    flags_out=None,
    frames_out=None,
    threads=None,
    tile_bytes=TILE_BYTES,
    block=BLOCK_ROWS,
    after_block=None,
    after_rows=None,
    after_integration=None,
    after_group=None,
    before_compiling=None,
):
    """Calibrate a raw exposure in one pass, or in two with the search for large events between them.

    Parameters
    ----------
    raw : (nint, ngroup, ny, nx) uint16
        Raw samples [DN]: an array in either byte order, or a mapped one.
    chain : Chain
        The corrections, with their references.
    out : RampFit, optional
        Where slopes go: arrays or mapped products in either byte order. New native arrays if None.
    ramp_out : RampPlanes of arrays, optional
        Where the calibrated ramp before the fit goes; nowhere if None.
    flags_out : (nint, ngroup, ny, nx) uint8, optional
        Where group flags are kept while large events are looked for, an array or a mapped one: by default the group
        flags of ``ramp_out``, or a new array.
    frames_out : (nint, ngroup, ny, nx) float32, optional
        Where the samples of an IRS2 readout are kept after the correction of whole frames, an array or a mapped one. A
        new array if None.
    threads : int or None
        Number of threads; None for all cores. Results do not depend on it.
    tile_bytes, block : int
        Size of the tiles' ramps [bytes] and rows of a block; results do not depend on them.
    after_block : callable, optional
        Called with the first and last row of each finished block.
    after_rows : callable, optional
        The same for the passes that calibrate, and not for those before them, which look at flags or reference pixels.
    after_integration : callable, optional
        Called with each integration in which large events have been looked for.
    after_group : callable, optional
        Called with integration and group of every frame of an IRS2 readout that has been read or corrected as a whole.
    before_compiling : callable, optional
        Called with the names of the kernels that are needed, see `upramp.kernels.warmup.compile_kernels`.

    Returns
    -------
    Calibrated

    Raises
    ------
    WholeFrameRule
        A rule about whole frames applies; the outputs are not valid and the chain has to be done stepwise.
    ShapeError, DTypeError
        References do not cover the exposure; nothing has been written.
    """
    shape = tuple((raw.bits if hasattr(raw, "bits") else raw).shape)
    if len(shape) != 4:
        raise ShapeError(f"raw has shape {shape}; expected (nint, ngroup, ny, nx)")
    bits = as_bits(raw, np.uint16)
    if is_interleaved(shape):
        if not isinstance(chain.refpix, c.InterleavedReference):
            raise WholeFrameRule("an IRS2 readout is not corrected by refpix")
        chain = place_interleaved(chain)
        bits = bits._replace(interleaved=1 + DETECTORS.index(chain.refpix.detector))
        shape = (*shape[:2], LINES, LINES)
    _check(raw, chain, shape)
    scale = chain.scale.factor if chain.scale is not None else 1.0
    samples = RawSamples(bits, *shape[2:], float(scale))
    outputs, fit = _outputs(chain, out, ramp_out, shape)
    if chain.jump is not None and chain.jump.snowballs is not None and chain.fit is not None and chain.fit.miri:
        raise WholeFrameRule("snowballs change which groups no pixel of MIRI can use")
    first = work = Work(samples, _compiled_chain(chain, shape, _unused_beforehand(chain, shape)), outputs)
    second = None
    if chain.jump is not None and chain.jump.snowballs is not None:
        flags = flags_out if ramp_out is None else ramp_out.gdq
        flags = np.empty(shape, np.uint8) if flags is None else flags
        first, second = _around_large_events(work, flags)
    if before_compiling is not None:
        before_compiling(operations_needed(first) | (operations_needed(second) if second else set()))
    groups = _measure_groups(samples, chain, shape, threads, after_block)
    miri = chain.fit is not None and chain.fit.miri
    measured = {
        "refpix": measure_reference_pixels(samples, chain, shape, threads, after_block, frames_out, after_group),
        "side_pixels": measure_side_pixels(samples, chain, shape, threads, after_block),
    }

    def after_tiles(first, last):
        for call in (after_block, after_rows):
            if call is not None:
                call(first, last)

    tiling = {"threads": threads, "tile_bytes": tile_bytes, "block": block, "after_block": after_tiles}
    compiled = _compiled_chain(chain, shape, groups.unused, groups.mostly_unused)
    work = work._replace(chain=compiled._replace(**measured))
    if second is not None:
        first, second = _around_large_events(work, flags)
    else:
        first = work
    found = _one_pass(first, shape, _halo(chain), **tiling, counted=miri and not groups.certain)
    _judge_whole_frames(found.seen, work.chain, groups.unused, miri)
    if len(found.unusable) and not np.array_equal(found.mostly_unused(shape[3]), groups.mostly_unused):
        raise WholeFrameRule("most pixels cannot use a group, which changes how ramps are fitted")
    n_events = 0
    if second is not None:
        n_events = _find_large_events(chain.jump, flags, threads, after_integration)
        if second.chain.fit.active or second.chain.persistence.active:
            halo = _halo(replace(chain, saturation=None, charge_migration=None, jump=None))
            found.counts[1:] = _one_pass(second, shape, halo, **tiling).counts[1:]
    n_primary, n_saturated, n_jumps = (int(n) for n in found.counts.sum(axis=1))
    return Calibrated(fit, n_primary, n_events, int(groups.unused.sum()), groups.rscd, n_saturated, n_jumps)


def _judge_whole_frames(seen, compiled, unused, miri):
    """Raise if one of the rules about whole frames would have changed the result."""
    if (compiled.jump.active or miri) and not np.array_equal((seen & UNUSED_MISSING) == 0, unused != 0):
        raise WholeFrameRule("a group is unusable in every pixel, which changes how jumps are looked for")
    clips = compiled.jump.active and compiled.jump.mode in (SIGMA_CLIP, SIGMA_CLIP_ALL)
    if clips and not ((seen & JUMP_MISSING) | (unused != 0)).all():
        raise WholeFrameRule("a group is flagged in every pixel, and sigma clipping has a rule for that")
    fit = compiled.fit
    if not fit.active:
        return
    if not fit.likelihood and not (seen[:, fit.start] & SATURATED_MISSING).any():
        raise WholeFrameRule("every pixel is saturated in the first group of every integration")
    # Where no pixel has two groups to fit at an end, suppressing lone groups may leave out more.
    ends = {fit.start, seen.shape[1] - 1} if fit.stop == seen.shape[1] else {fit.start}
    if miri and seen.shape[1] > 1 and not all((seen[:, g] & PAIR_FOUND).any() for g in ends):
        raise WholeFrameRule("hardly any pixel has groups to fit at an end of the ramp")

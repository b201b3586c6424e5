"""The whole chain on plain arrays: raw samples in, slopes out, in one pass through the data.

`Chain` lists the corrections to make; `calibrate` makes them, in the fused schedule of `upramp.kernels.fused`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits, as_bits, decode_flags_tile, decode_float_tile, decode_raw_tile
from upramp.kernels._jit import run_rows
from upramp.kernels._layout import ShapeError
from upramp.kernels.fused import (
    JUMP_MISSING,
    OPERATIONS,
    SATURATED_MISSING,
    UNUSED_MISSING,
    CompiledChain,
    FitRules,
    JumpRules,
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
    SIZE,
    edge_corrections,
    gather_edges,
    reference_positions,
    single_amplifier_corrections,
)
from upramp.kernels.stepwise import native_plane
from upramp.kernels.superbias import subtract_bias_tile

__all__ = ["Calibrated", "Chain", "WholeFrameRule", "calibrate"]

# Bytes of a tile: its ramps, flags and marks. Long rows matter more than the nearest cache: every loop over a
# row has a cost of its own. Measured: benchmarks/test_tiles.py.
TILE_BYTES = 12_000_000
BLOCK_ROWS = 16  # rows of a tile without its margin
_SAMPLE_BYTES = 6  # float32, group flags, marks


class WholeFrameRule(Exception):
    """A rule about a whole frame applies, which the fused schedule cannot judge: the caller goes stepwise.

    Nothing that has been written is valid.
    """


@dataclass(frozen=True)
class Chain:
    """Corrections in the order of the near-infrared stage-1 chain; None for those that are not made."""

    scale: c.FrameScale | None = None
    mask: c.StaticMask | None = None
    saturation: c.Saturation | None = None
    ipc: c.InterPixelCapacitance | None = None
    superbias: c.SuperBias | None = None
    refpix: c.ReferenceMeasurement | None = None
    linearity: c.Linearity | None = None
    dark: c.DarkCurrent | None = None
    jump: c.JumpDetection | None = None
    fit: c.RampFitting | None = None
    gain_factor: float | None = None


class Calibrated(NamedTuple):
    """Result of `calibrate`.

    fit : RampFit of native arrays, or None if they went elsewhere (``out``)
    n_primary : samples with a jump before neighbours were flagged; -99 if jumps were not looked for
    """

    fit: RampFit | None
    n_primary: int


def _jump_rules(op, shape):
    if op is None:
        return JumpRules()
    p = op.parameters
    mode = choose_mode(np.zeros(shape[:2], bool), p)
    if mode == DECLINED:
        raise WholeFrameRule(f"the exposure has {shape[1]} groups, too few to look for jumps")
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
    )


def _fit_rules(op, ngroups, gain_factor):
    if op is None:
        return FitRules()
    frame_time = float(np.float32(op.frame_time))
    return FitRules(
        True,
        op.gain,
        op.read_noise,
        op.average_dark,
        segment_weights(ngroups, op.group_time),
        int(op.suppress_one_group and ngroups > 1),
        math.sqrt(2.0 * op.nframes),
        float(np.float32(op.group_time)),
        frame_time,
        (op.nframes + 1) * frame_time / 2,
        1.0 if gain_factor is None else float(gain_factor),
        *((True, readout_table(op.read_times), ONE_OMISSION, TWO_OMISSIONS) if op.read_times else ()),
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


def measure_reference_pixels(raw, chain, shape, threads=None):
    """Reference-pixel corrections of an exposure, from its reference pixels alone.

    Parameters
    ----------
    raw : RawSamples
    chain : Chain
        With the corrections before refpix, and its ``refpix``.
    shape : (nint, ngroup, ny, nx)
    threads : int or None

    Returns
    -------
    ReferencePixels
    """
    op = chain.refpix
    if op is None:
        return c.ReferencePixels()
    fast, slow = ORIENTATION[op.detector]
    ny, nx = shape[-2:]
    read = _ReferenceReader(raw, chain, shape)
    if (ny, nx) == (SIZE, SIZE) or op.noutputs == 4:
        edges = gather_edges(read, shape, op.row0, op.column0)
        vectors = edge_corrections(edges, fast, slow, op.row0, op.column0, threads=threads, **op.parameters)
    else:
        positions = reference_positions(read.flags(0, ny, 0, nx), op.subarray in EDGELESS_SUBARRAYS)
        vectors = single_amplifier_corrections(
            _values_at(read, positions, shape),
            positions,
            (ny, nx),
            fast,
            op.row0,
            op.column0,
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
    return jump + max(saturation, ipc)


def _check(raw, chain, shape):
    """Refuse references that do not cover the exposure, before any work."""
    for op in (chain.mask, chain.saturation, chain.superbias, chain.linearity, chain.dark, chain.jump, chain.fit):
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
        dtypes = (np.float32, np.uint8, np.uint32)
        ramp_out = RampPlanes(*(np.empty((0, 1, 1), dtype) for dtype in dtypes))
    ramp = RampPlanes(
        as_bits(ramp_out.data, np.float32, writable=True),
        as_bits(ramp_out.gdq, np.uint8, writable=True),
        as_bits(ramp_out.pdq, np.uint32, writable=True),
    )
    return Outputs(rate, integrations, ramp), fit


def _compiled_chain(chain, shape):
    """The chain as compiled code takes it; the reference pixels are still to be measured."""
    return CompiledChain(
        chain.mask or c.StaticMask(),
        chain.saturation or c.Saturation(),
        chain.ipc or c.InterPixelCapacitance(),
        chain.superbias or c.SuperBias(),
        c.ReferencePixels(chain.refpix is not None),
        chain.linearity or c.Linearity(),
        chain.dark or c.DarkCurrent(),
        _jump_rules(chain.jump, shape),
        _fit_rules(chain.fit, shape[1], chain.gain_factor),
    )


def _tile_width(shape, halo, block, tile_bytes):
    """Columns of a tile whose ramps, flags and marks take about so many bytes."""
    ni, ng, ny, nx = shape
    rows = min(block, ny) + 2 * halo
    width = tile_bytes // (_SAMPLE_BYTES * ni * ng * rows) - 2 * halo
    return min(nx, max(32, width // 16 * 16))


def calibrate(
    raw,
    chain,
    *,
    out=None,
    ramp_out=None,
    threads=None,
    tile_bytes=TILE_BYTES,
    block=BLOCK_ROWS,
    after_block=None,
    before_compiling=None,
):
    """Calibrate a raw exposure in one pass.

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
    threads : int or None
        Number of threads; None for all cores. Results do not depend on it.
    tile_bytes, block : int
        Size of the tiles' ramps [bytes] and rows of a block; results do not depend on them.
    after_block : callable, optional
        Called with the first and last row of each finished block.
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
    ni, ng, ny, nx = shape
    _check(raw, chain, shape)
    scale = chain.scale.factor if chain.scale is not None else 1.0
    samples = RawSamples(as_bits(raw, np.uint16), ny, nx, float(scale))
    outputs, fit = _outputs(chain, out, ramp_out, shape)
    # Records hold addresses: `work` keeps the arrays alive until the kernels are done.
    work = Work(samples, _compiled_chain(chain, shape), outputs)
    wanted = operations_needed(work)
    if before_compiling is not None:
        before_compiling(wanted)
    measured = measure_reference_pixels(samples, chain, shape, threads)
    work = work._replace(chain=work.chain._replace(refpix=measured))
    record = np.zeros(1, c.record_dtype(Work))[0]
    c.fill_record(record, work)
    seen = np.zeros((ni, ng), np.uint8)
    counts = np.zeros(ny, np.int64)
    halo = _halo(chain)
    addresses = OPERATIONS.addresses(wanted)
    width = _tile_width(shape, halo, block, tile_bytes)
    arguments = (addresses, record, seen, counts, halo, width)
    run_rows(calibrate_rows, ny, *arguments, threads=threads, block=block, after_block=after_block)
    _judge_whole_frames(seen, work.chain)
    return Calibrated(fit, int(counts.sum()))


def _judge_whole_frames(seen, compiled):
    """Raise if one of the rules about whole frames would have changed the result."""
    if compiled.jump.active and not (seen & UNUSED_MISSING).all():
        raise WholeFrameRule("a group is unusable in every pixel, which changes how jumps are looked for")
    clips = compiled.jump.active and compiled.jump.mode in (SIGMA_CLIP, SIGMA_CLIP_ALL)
    if clips and not (seen & JUMP_MISSING).all():
        raise WholeFrameRule("a group is flagged in every pixel, and sigma clipping has a rule for that")
    if compiled.fit.active and not compiled.fit.likelihood and not (seen[:, 0] & SATURATED_MISSING).any():
        raise WholeFrameRule("every pixel is saturated in the first group of every integration")

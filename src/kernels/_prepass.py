"""One pass of the fused driver over a frame, and what is measured in passes before the main one.

That is which groups are left out (MIRI), and the reference pixels: of the near infrared read by themselves, of MIRI
corrected as narrow exposures.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import Bits, decode_flags_tile, decode_float_tile, decode_raw_tile
from upramp.kernels._chain_rules import Chain, WholeFrameRule, compiled_chain, halo_of, outputs_for
from upramp.kernels._irs2_prepass import correct_before_fusing
from upramp.kernels._jit import run_rows
from upramp.kernels._operations import OPERATIONS, operations_needed
from upramp.kernels._row_buffers import BlockOutputs
from upramp.kernels._work import RampPlanes, Work
from upramp.kernels.fused import UNUSED_MISSING, calibrate_rows
from upramp.kernels.ipc import convolve_tile
from upramp.kernels.refpix import (
    EDGELESS_SUBARRAYS,
    ORIENTATION,
    edge_corrections,
    gather_edges,
    needs_edges,
    pooled_corrections,
    reference_positions,
)
from upramp.kernels.rscd import TALLIES, summarize
from upramp.kernels.side_pixels import AMPLIFIERS, drifts_of_sides
from upramp.kernels.superbias import subtract_bias_tile

__all__ = [
    "BLOCK_ROWS",
    "TILE_BYTES",
    "measure_groups",
    "measure_reference_pixels",
    "measure_side_pixels",
    "one_pass",
    "unused_beforehand",
]

# Bytes of a tile: its ramps, flags and marks. Long rows matter more than the nearest cache: every loop over a
# row has a cost of its own. Measured: benchmarks/test_tiles.py.
TILE_BYTES = 12_000_000
BLOCK_ROWS = 16  # rows of a tile without its margin
_SAMPLE_BYTES = 6  # float32, group flags, marks
_FLAGGING = ("mask", "saturation", "first_group", "rscd")  # what decides which groups can be used, but for the last
# Saturation in so many groups decides about leaving out the first one (`upramp.kernels.edge_groups`), and in so many
# after those that RSCD leaves out about these (`upramp.kernels.rscd`).
_DECISIVE_FIRST, _DECISIVE_AFTER_SKIPPED = 3, 2


def _tile_width(shape, halo, block, tile_bytes):
    """Columns of a tile whose ramps, flags and marks take about so many bytes."""
    ni, ng, ny, nx = shape
    rows = min(block, ny) + 2 * halo
    width = tile_bytes // (_SAMPLE_BYTES * ni * ng * rows) - 2 * halo
    return min(nx, max(32, width // 16 * 16))


class Pass(NamedTuple):
    """What a pass of the fused driver leaves besides its outputs."""

    seen: np.ndarray  # (ni, ng) uint8, see `SEEN` of `upramp.kernels.fused`
    counts: np.ndarray  # (3, ny) int64: primary jumps; saturated samples and jumps that go into the fit
    tallies: np.ndarray  # (ny, 6) int64, or no rows if nobody wants them
    unusable: np.ndarray  # (ny, ni * ng) int64, or no rows: samples with DO_NOT_USE

    def mostly_unused(self, nx):
        """Groups that have DO_NOT_USE in more than half of the pixels: (ni, ng) uint8."""
        share = self.unusable.sum(axis=0).reshape(self.seen.shape)
        return (2 * share > len(self.unusable) * nx).astype(np.uint8)

    @property
    def unused(self):
        """Groups that have DO_NOT_USE in every pixel: (ni, ng) uint8."""
        return ((self.seen & UNUSED_MISSING) == 0).astype(np.uint8)


def one_pass(
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
    writer_of=None,
):
    """Run the fused driver over a frame; its kernels must have been wanted before."""
    ni, ng, ny, _ = shape
    outputs = BlockOutputs(work, block, writer_of)
    counts, tallies = np.zeros((3, ny), np.int64), np.zeros((tallied * ny, TALLIES), np.int64)
    unusable = np.zeros((counted * ny, ni * ng), np.int64)
    found = Pass(np.zeros(shape[:2], np.uint8), counts, tallies, unusable)
    addresses = OPERATIONS.addresses(operations_needed(work))
    operations = addresses.__array_interface__["data"][0]
    width = _tile_width(shape, halo, block, tile_bytes)

    def calibrate_block(first, last):
        with outputs.of_rows(first, last) as place:
            calibrate_rows(first, last, operations, place, *found, halo, width)

    run_rows(calibrate_block, ny, threads=threads, block=block, after_block=after_block)
    return found


def unused_beforehand(chain, shape):
    """Groups that no pixel can use whatever the data: (ni, ng) uint8."""
    unused = np.zeros(shape[:2], np.uint8)
    if chain.last_group is not None:
        unused[:, -1] = 1
    return unused


class Groups(NamedTuple):
    """What is known of the groups before the pass over the samples."""

    unused: np.ndarray  # (ni, ng) uint8: no pixel can use them
    mostly_unused: np.ndarray  # (ni, ng) uint8: more than half of the pixels cannot
    rscd: tuple | None  # counts of RSCD


def measure_groups(samples, chain, shape, threads, after_block):
    """Which groups are left out: `Groups`.

    Only where the first groups are left out, which depends on saturation, does that take a pass, over the flags of
    these groups. Those after them are taken to be used as the last one of these is; the pass that fits finds out.
    """
    unused = unused_beforehand(chain, shape)
    if chain.first_group is None and chain.rscd is None:
        return Groups(unused, unused, None)
    decisive = [_DECISIVE_FIRST] if chain.first_group is not None else []
    decisive += [max(chain.rscd.skips) + _DECISIVE_AFTER_SKIPPED] if chain.rscd is not None else []
    ng = shape[1]
    looked_at = (shape[0], min(max(decisive) + 1, ng), *shape[2:])  # one more, which stands for those after it
    flags = Chain(**{name: getattr(chain, name) for name in _FLAGGING})
    work = Work(samples, compiled_chain(flags, looked_at, unused), outputs_for(flags, None, None, looked_at)[0])
    options = {"threads": threads, "after_block": after_block, "tallied": True, "counted": True}
    found = one_pass(work, looked_at, halo_of(flags), **options)
    later = ((0, 0), (0, ng - looked_at[1]))
    measured = (np.pad(groups, later, mode="edge") for groups in (found.unused, found.mostly_unused(shape[3])))
    rscd = summarize(found.tallies) if chain.rscd is not None else None
    return Groups(*(groups | unused for groups in measured), rscd)


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
    halo, (*counts, ny, nx) = halo_of(before), shape
    width = min(AMPLIFIERS + halo, nx)
    data, dq = np.empty((*counts, ny, 2 * AMPLIFIERS), np.float32), np.empty((ny, 2 * AMPLIFIERS), np.uint32)
    for first, inner, side in ((0, slice(0, AMPLIFIERS), 0), (nx - width, slice(-AMPLIFIERS, None), AMPLIFIERS)):
        narrow = (*counts, ny, width)
        ramp = RampPlanes(
            *(np.empty(narrow, dtype) for dtype in (np.float32, np.uint8)), np.empty(narrow[2:], np.uint32)
        )
        part = Chain(**{name: _for_columns(getattr(before, name), first, width) for name in Chain.__dataclass_fields__})
        outputs, _ = outputs_for(part, None, ramp, narrow)
        place = samples.samples._replace(first_column=samples.samples.first_column + first)
        raw = samples._replace(samples=place, nx=width)
        work = Work(raw, compiled_chain(part, narrow, unused_beforehand(part, narrow)), outputs)
        one_pass(work, narrow, halo, threads=threads, block=128, after_block=after_block)
        data[..., side : side + AMPLIFIERS], dq[:, side : side + AMPLIFIERS] = ramp.data[..., inner], ramp.pdq[:, inner]
    drifts = drifts_of_sides(data, dq, **chain.refpix._asdict(), threads=threads)
    return c.SidePixels() if drifts is None else c.SidePixels(True, drifts)


class _ReferenceReader:
    """Reads samples corrected up to the superbias, and pixel flags, of any rectangle, for the reference pixels."""

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
        data, dq = self._deconvolved(first, last, left, right), self.flags(first, last, left, right)
        if self.chain.superbias is not None:
            bias = np.empty((1, *dq.shape), np.float32)
            decode_float_tile(bias, self.chain.superbias.bias.record(), 0, first, left)
            subtract_bias_tile(data, dq.copy(), bias[0], dq, 0, last - first, 0, right - left)
        return data, dq

    def _decoded(self, first, last, left, right):
        ni, ng = self.shape[:2]
        data = np.empty((ni, ng, last - first, right - left), np.float32)
        decode_raw_tile(data, self.raw.samples.record(), ng, self.raw.scale, first, left)
        return data

    def _deconvolved(self, first, last, left, right):
        """Counts after ipc, which changes pixels that only serve as reference pixels."""
        op = self.chain.ipc
        if op is None or not (
            max(first, op.first_science_row) < min(last, op.last_science_row)
            and max(left, op.first_science_column) < min(right, op.last_science_column)
        ):
            return self._decoded(first, last, left, right)
        reach, (*_, ny, nx) = len(op.kernel) // 2, self.shape
        row0, row1 = max(first - reach, 0), min(last + reach, ny)
        column0, column1 = max(left - reach, 0), min(right + reach, nx)
        around = self._decoded(row0, row1, column0, column1)
        rows = np.clip([op.first_science_row - row0, op.last_science_row - row0], 0, row1 - row0)
        columns = np.clip([op.first_science_column - column0, op.last_science_column - column0], 0, column1 - column0)
        place = (first - row0, last - row0, left - column0, right - column0)
        out = np.empty_like(around)
        convolve_tile(out, around, op.kernel, *map(int, (*rows, *columns)), *place)
        return np.ascontiguousarray(out[:, :, slice(*place[:2]), slice(*place[2:])])


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
        edges = gather_edges(read, shape, op.row0, op.column0, threads, after_block)
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

"""IRS2 in the fused schedule: refpix needs whole frames, so it is done first, one integration after the other.

The pass from the raw samples to the slopes then runs over the science pixels: it flags the raw samples as ever, and
where it would subtract superbias and reference pixels it takes the samples that were corrected here. They are twice as
many bytes as the raw ones; the caller may give them a place that is not memory.
"""

import dataclasses
import functools

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import as_bits, decode_flags_tile, decode_float_tile, decode_raw_tile
from upramp.kernels._flags import BAD_REF_PIXEL, DO_NOT_USE
from upramp.kernels._irs2_layout import DETECTORS, EDGE_LINES, LINES, ROWS, science_rows
from upramp.kernels._irs2_means import level, sector_offsets
from upramp.kernels._jit import kernel
from upramp.kernels._layout import ShapeError
from upramp.kernels.irs2 import (
    correct_integration,
    find_bad_reference_rows,
    plan_replacements,
    prepare_coefficients,
)

__all__ = ["correct_before_fusing", "place_interleaved"]

_BLOCK = 64  # rows of flags that are looked at at once


def place_interleaved(chain):
    """The chain with those references that cover all samples of the readout placed on the science pixels.

    Raises
    ------
    ShapeError
        Mask or superbias do not have the 3200 rows of the readout.
    """
    detector = 1 + DETECTORS.index(chain.refpix.detector)

    def placed(op, *names):
        if op is None:
            return None
        planes = {name: getattr(op, name) for name in names if len(getattr(op, name).bits)}
        for name, bits in planes.items():
            if bits.bits.shape[1:] != (ROWS, LINES):
                raise ShapeError(
                    f"{type(op).__name__}.{name} has shape {bits.bits.shape[1:]}; an IRS2 readout needs a reference "
                    f"of {ROWS} rows and {LINES} columns"
                )
        return op._replace(**{name: bits._replace(interleaved=detector) for name, bits in planes.items()})

    return dataclasses.replace(
        chain,
        mask=placed(chain.mask, "mask"),
        saturation=placed(chain.saturation, "bias"),
        superbias=placed(chain.superbias, "bias", "flags"),
    )


def _pixel_flags(chain, science):
    """Flags as refpix sees them: of the science pixels, (2048, 2048) uint32, and of the edge lines, (3200, 8).

    And which of all rows it takes for bad.
    """
    flags, bad = np.empty((LINES, LINES), np.uint32), np.zeros(ROWS, np.bool_)
    edges = np.empty((ROWS, EDGE_LINES.size), np.uint32)
    place = np.full(ROWS, -1)
    place[science] = np.arange(LINES)
    everywhere = [(chain.mask, "mask"), (chain.superbias, "flags")]
    sources = [getattr(op, name)._replace(interleaved=0) for op, name in everywhere if op is not None]
    block, plane = np.empty((2, _BLOCK, LINES), np.uint32)
    for first in range(0, ROWS, _BLOCK):
        block[...] = 0
        for source in sources:
            _add_flags(block, plane, source, first)
        edges[first : first + _BLOCK] = block[:, EDGE_LINES]
        bad[first : first + _BLOCK] = ((block & BAD_REF_PIXEL) != 0).any(axis=1)
        own = place[first : first + _BLOCK]
        flags[own[own >= 0]] = block[own >= 0]
    if chain.saturation is not None:
        for first in range(0, LINES, _BLOCK):
            rows = slice(first, first + _BLOCK)
            _add_flags(flags[rows], plane, chain.saturation.flags, first)
            bad[science[rows]] |= ((flags[rows] & BAD_REF_PIXEL) != 0).any(axis=1)
            edges[science[rows]] |= flags[rows][:, EDGE_LINES]
    return flags, edges, bad


def _add_flags(flags, scratch, source, first):
    if len(source.bits):
        decode_flags_tile(scratch, source.record(), first, 0)
        flags |= scratch


@kernel
def _load_rows(out, raw, bias, scale, rows):
    """Image rows of one group less the superbias, where it is not NaN; without one if it has no planes."""
    n = out.shape[1]
    line = np.empty((1, 1, n), np.float32)
    for i in range(rows.size):
        row = out[i : i + 1]
        decode_raw_tile(row.reshape((1, 1, 1, n)), raw, 1, scale, rows[i], 0)
        if bias.planes == 0:
            continue
        decode_float_tile(line, bias, 0, rows[i], 0)
        for x in range(n):
            level = line[0, 0, x]
            row[0, x] -= np.float32(0) if np.isnan(level) else level


class _Samples:
    """The samples of an integration less the superbias, as they are asked for."""

    def __init__(self, raw, ngroups, integration, superbias):
        first = integration * ngroups
        source = raw.samples._replace(interleaved=0)
        self._groups = [source._replace(bits=source.bits[g : g + 1]).record() for g in range(first, first + ngroups)]
        self._sources = source, superbias  # the records are valid as long as these live
        self._bias, self._scale = superbias.record(), raw.scale

    def load(self, rows, group, first, last):
        """Image rows first ... last - 1 of a group."""
        _load_rows(rows, self._groups[group], self._bias, self._scale, np.arange(first, last))

    def read(self, rows):
        """Some image rows of all groups: (ngroup, len(rows), 2048) float32."""
        out = np.empty((len(self._groups), len(rows), LINES), np.float32)
        for frame, group in zip(out, self._groups, strict=True):
            _load_rows(frame, group, self._bias, self._scale, rows)
        return out


def correct_before_fusing(raw, chain, shape, threads=None, out=None, after_group=None):
    """Correct all integrations of an IRS2 readout.

    Parameters
    ----------
    raw : RawSamples
    chain : Chain
        From `place_interleaved`.
    shape : (nint, ngroup, 2048, 2048)
    threads : int or None
    out : (nint, ngroup, 2048, 2048) float32, optional
        Where the samples go: a native array, or a mapped one. A new array if None.
    after_group : callable, optional
        Called with integration and group when the samples of a group have been read or corrected.

    Returns
    -------
    ReferencePixels
        With the samples after superbias and this correction [DN], and pixel flags.
    """
    op = chain.refpix
    ni, ng = shape[:2]
    frames = np.empty(shape, np.float32) if out is None else out
    science = science_rows(op.detector)
    flags, edge_flags, known_bad = _pixel_flags(chain, science)
    superbias = c.NO_PLANE if chain.superbias is None else chain.superbias.bias._replace(interleaved=0)
    samples = [_Samples(raw, ng, i, superbias) for i in range(ni)]

    def read(integration, rows):
        return samples[integration].read(rows)

    def after_integration(i):
        if after_group is not None:
            for group in range(ng):
                after_group(i, group)

    bad = find_bad_reference_rows(read, ni, known_bad, op.n_sigma, threads, after_integration)
    plan = plan_replacements(bad, op.flagged_pairs, op.detector)
    edge_flags[bad] |= DO_NOT_USE
    coefficients = prepare_coefficients(op.table, threads)
    corrected = as_bits(frames, np.float32, writable=True)
    for i in range(ni):
        target = corrected.bits.view(np.float32).reshape(shape)[i]
        after = None if after_group is None else functools.partial(after_group, i)
        load = samples[i].load
        if op.subtract_means:
            rules = op.odd_even_columns, op.siglimit
            load = level(load, sector_offsets(load, ng, edge_flags, op.detector, *rules, threads))
        correct_integration(target, load, coefficients, plan, op.detector, threads, after)
    flags[bad[science]] |= BAD_REF_PIXEL | DO_NOT_USE
    return c.ReferencePixels(frames=corrected, flags=as_bits(flags, np.uint32))

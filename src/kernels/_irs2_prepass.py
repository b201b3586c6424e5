"""IRS2 in the fused schedule: refpix needs whole frames, so it is done first, one integration after the other.

The pass from the raw samples to the slopes then runs over the science pixels: it flags the raw samples as ever, and
where it would subtract superbias and reference pixels it takes the samples that were corrected here. They are kept in
memory, or, if they are many, in a file without a name that the system writes out as it needs to.
"""

import dataclasses
import mmap
import tempfile

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import as_bits, decode_raw_tile
from upramp.kernels._flags import BAD_REF_PIXEL, DO_NOT_USE
from upramp.kernels._irs2_layout import DETECTORS, LINES, ROWS, science_rows
from upramp.kernels._layout import ShapeError
from upramp.kernels.irs2 import (
    correct_integration,
    find_bad_reference_rows,
    plan_replacements,
    prepare_coefficients,
)
from upramp.kernels.stepwise import native_plane

__all__ = ["correct_before_fusing", "place_interleaved"]

MEMORY_LIMIT = 2**30  # bytes of corrected samples that are kept in memory


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


def _all_rows(op, name, dtype):
    """Native plane of all samples; zeros where there is none."""
    source = c.NO_PLANE if op is None else getattr(op, name)._replace(interleaved=0)
    return native_plane(source, dtype, (ROWS, LINES))


def _pixel_flags(chain, science):
    """Pixel flags as refpix sees them."""
    flags = _all_rows(chain.mask, "mask", np.uint32) | _all_rows(chain.superbias, "flags", np.uint32)
    if chain.saturation is not None:
        flags[science] |= native_plane(chain.saturation.flags, np.uint32, (LINES, LINES))
    return flags


def _scratch(shape):
    size = int(np.prod(shape)) * 4
    if size <= MEMORY_LIMIT:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.float32).reshape(shape)


class _Samples:
    """The samples of an integration less the superbias, as they are asked for."""

    def __init__(self, raw, ngroups, integration, bias):
        first = integration * ngroups
        self._bits, self._scale, self._bias = raw.samples.bits[first : first + ngroups], raw.scale, bias
        self._source = raw.samples._replace(interleaved=0)
        self._groups = [self._source._replace(bits=bits[np.newaxis]).record() for bits in self._bits]

    def load(self, rows, group, first, last):
        """Image rows first ... last - 1 of a group."""
        decode_raw_tile(rows[np.newaxis, np.newaxis], self._groups[group], 1, self._scale, first, 0)
        np.subtract(rows, self._bias[first:last], out=rows)

    def read(self, rows):
        """Some image rows of all groups: (ngroup, len(rows), 2048) float32."""
        bits = np.take(self._bits, rows, axis=1)
        out = np.empty((1, *bits.shape), np.float32)
        decode_raw_tile(out, self._source._replace(bits=bits).record(), len(bits), self._scale, 0, 0)
        return out[0] - self._bias[rows]


def correct_before_fusing(raw, chain, shape, threads=None):
    """Correct all integrations of an IRS2 readout.

    Parameters
    ----------
    raw : RawSamples
    chain : Chain
        From `place_interleaved`.
    shape : (nint, ngroup, 2048, 2048)
    threads : int or None

    Returns
    -------
    ReferencePixels
        With the samples after superbias and this correction [DN], and pixel flags.
    """
    op = chain.refpix
    ni, ng = shape[:2]
    science = science_rows(op.detector)
    flags = _pixel_flags(chain, science)
    bias = _all_rows(chain.superbias, "bias", np.float32)
    coefficients = prepare_coefficients(op.table, threads)
    bias[np.isnan(bias)] = 0
    samples = [_Samples(raw, ng, i, bias) for i in range(ni)]
    known_bad = ((flags & BAD_REF_PIXEL) != 0).any(axis=1)
    bad = find_bad_reference_rows(lambda i, rows: samples[i].read(rows), ni, known_bad, op.n_sigma, threads)
    plan = plan_replacements(bad, op.flagged_pairs, op.detector)
    corrected = _scratch(shape)
    for i in range(ni):
        correct_integration(corrected[i], samples[i].load, coefficients, plan, op.detector, threads)
    flags[bad] |= BAD_REF_PIXEL | DO_NOT_USE
    return c.ReferencePixels(
        frames=as_bits(corrected, np.float32), flags=as_bits(np.ascontiguousarray(flags[science]), np.uint32)
    )

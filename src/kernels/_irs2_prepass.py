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
from upramp.kernels._jit import run_rows
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
    frames = np.empty((ng, ROWS, LINES), np.float32)
    bias[np.isnan(bias)] = 0

    def load(integration):
        def load_group(group, _):
            one = raw.samples.bits[integration * ng + group :][:1]
            source = raw.samples._replace(bits=one, interleaved=0)
            frame = frames[group : group + 1, np.newaxis]
            decode_raw_tile(frame, source.record(), 1, raw.scale, 0, 0)
            np.subtract(frame, bias, out=frame)

        run_rows(load_group, ng, threads=threads, block=1)

    def read(_, rows):
        return frames[:, rows]

    known_bad = ((flags & BAD_REF_PIXEL) != 0).any(axis=1)
    bad = known_bad.copy()
    for i in range(ni):
        load(i)
        bad |= find_bad_reference_rows(read, 1, known_bad, op.n_sigma, threads)
    plan = plan_replacements(bad, op.flagged_pairs, op.detector)
    corrected = _scratch(shape)
    for i in range(ni):
        if ni > 1:
            load(i)
        correct_integration(corrected[i], frames, coefficients, plan, op.detector, threads)
    flags[bad] |= BAD_REF_PIXEL | DO_NOT_USE
    return c.ReferencePixels(
        frames=as_bits(corrected, np.float32), flags=as_bits(np.ascontiguousarray(flags[science]), np.uint32)
    )

"""The whole chain on plain arrays: raw samples in, slopes out, in one pass through the data.

`Chain` lists the corrections to make; `calibrate` makes them, in the fused schedule of `upramp.kernels.fused`.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._bits import as_bits
from upramp.kernels._chain_rules import (
    NO_RAMP,
    Chain,
    WholeFrameRule,
    check_references,
    compiled_chain,
    halo_of,
    outputs_for,
)
from upramp.kernels._irs2_layout import DETECTORS, LINES, is_interleaved
from upramp.kernels._irs2_prepass import place_interleaved
from upramp.kernels._layout import ShapeError
from upramp.kernels._operations import operations_needed
from upramp.kernels._prepass import (
    BLOCK_ROWS,
    TILE_BYTES,
    measure_groups,
    measure_reference_pixels,
    measure_side_pixels,
    one_pass,
    unused_beforehand,
)
from upramp.kernels._work import FitRules, JumpRules, KnownFlags, RampPlanes, RawSamples, Work
from upramp.kernels.fused import JUMP_MISSING, PAIR_FOUND, SATURATED_MISSING
from upramp.kernels.jump import SIGMA_CLIP, SIGMA_CLIP_ALL
from upramp.kernels.ramp_fit import RampFit
from upramp.kernels.rscd import RscdCounts
from upramp.kernels.snowballs import flag_snowballs_in_place

__all__ = ["BLOCK_ROWS", "TILE_BYTES", "Calibrated", "Chain", "RampPlanes", "WholeFrameRule", "calibrate"]


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
            outputs=outputs._replace(ramp=NO_RAMP._replace(gdq=flags) if chain.persistence.active else NO_RAMP),
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


def _describe(raw, chain):
    """Raw samples, the chain for their readout, and the shape (nint, ngroup, ny, nx) of the ramp they become."""
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
    check_references(raw, chain, shape)
    scale = chain.scale.factor if chain.scale is not None else 1.0
    return RawSamples(bits, *shape[1:], float(scale)), chain, shape


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
    writer_of=None,
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
    writer_of : callable, optional
        Outputs that lie in files may be written to these instead: ``writer_of(bits)`` gives for the bits of an output,
        (planes, ny, nx), the function that does, called with the first row and finished rows of all planes, or None.

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
    samples, chain, shape = _describe(raw, chain)
    outputs, fit = outputs_for(chain, out, ramp_out, shape)
    if chain.jump is not None and chain.jump.snowballs is not None and chain.fit is not None and chain.fit.miri:
        raise WholeFrameRule("snowballs change which groups no pixel of MIRI can use")
    first = work = Work(samples, compiled_chain(chain, shape, unused_beforehand(chain, shape)), outputs)
    second = None
    if chain.jump is not None and chain.jump.snowballs is not None:
        flags = flags_out if ramp_out is None else ramp_out.gdq
        flags = np.empty(shape, np.uint8) if flags is None else flags
        first, second = _around_large_events(work, flags)
    if before_compiling is not None:
        before_compiling(operations_needed(first) | (operations_needed(second) if second else set()))
    groups = measure_groups(samples, chain, shape, threads, after_block)
    miri = chain.fit is not None and chain.fit.miri
    measured = {
        "refpix": measure_reference_pixels(samples, chain, shape, threads, after_block, frames_out, after_group),
        "side_pixels": measure_side_pixels(samples, chain, shape, threads, after_block),
    }

    def after_tiles(first, last):
        for call in (after_block, after_rows):
            if call is not None:
                call(first, last)

    tiling = {
        "threads": threads,
        "tile_bytes": tile_bytes,
        "block": block,
        "after_block": after_tiles,
        "writer_of": writer_of,
    }
    compiled = compiled_chain(chain, shape, groups.unused, groups.mostly_unused)
    work = work._replace(chain=compiled._replace(**measured))
    if second is not None:
        first, second = _around_large_events(work, flags)
    else:
        first = work
    found = one_pass(first, shape, halo_of(chain), **tiling, counted=miri)
    _judge_whole_frames(found, work.chain, groups.unused, miri)
    if len(found.unusable) and not np.array_equal(found.mostly_unused(shape[3]), groups.mostly_unused):
        raise WholeFrameRule("most pixels cannot use a group, which changes how ramps are fitted")
    n_events = 0
    if second is not None:
        n_events = _find_large_events(chain.jump, flags, threads, after_integration)
        if second.chain.fit.active or second.chain.persistence.active:
            halo = halo_of(replace(chain, saturation=None, charge_migration=None, jump=None))
            found.counts[1:] = one_pass(second, shape, halo, **tiling).counts[1:]
    n_primary, n_saturated, n_jumps = (int(n) for n in found.counts.sum(axis=1))
    return Calibrated(fit, n_primary, n_events, int(groups.unused.sum()), groups.rscd, n_saturated, n_jumps)


def _judge_whole_frames(found, compiled, unused, miri):
    """Raise if one of the rules about whole frames would have changed the result."""
    seen = found.seen
    if (compiled.jump.active or miri) and not np.array_equal(found.unused, unused):
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

"""Subtract the dark ramp.

The dark reference is a ramp of its own with usually single reads; `dark_plan` says which of its frames are averaged
for each science group, `resample_dark` averages them, and ``D -= dark[g]``, ``P |= dq(dark)``. Missing frames at
the end are extrapolated by the difference of the last two. NaN in the dark counts as 0, before averaging and after
extrapolating (reference behaviour). NaN data stay NaN. The darks of MIRI are several such ramps, one for each of the
first integrations; `dark_integrations` says which serves which.

Means are float32 sums in order of the frames, divided by their number; in a dark that had to be extrapolated they
are float64, rounded at the end (reference behaviour). Differs from the reference: an extrapolated dark that needs no
averaging is rounded to float32 before it is subtracted, and a group that lies behind the end of a frame-averaged
dark is left as it is instead of becoming NaN.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._bits import array_at, as_bits, source_row, swap32
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._rows import fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.dq_init import merge_dq_tile

__all__ = [
    "DarkPlan",
    "DarkSubtracted",
    "average_frames_tile",
    "dark_integrations",
    "dark_plan",
    "resample_dark",
    "subtract_dark",
    "subtract_dark_in_place",
    "subtract_dark_tile",
    "subtract_frames_in_place",
]


class DarkPlan(NamedTuple):
    """Frames of the dark for each science group: ``counts[g]`` of them from ``starts[g]`` on (int64)."""

    starts: np.ndarray
    counts: np.ndarray
    extrapolated: int  # groups that the plan adds behind the end of the dark
    direct: bool  # group g of the dark is the one for science group g: nothing to average or extrapolate


class DarkSubtracted(NamedTuple):
    """Data (nint, ngroup, ny, nx) [DN], pixel flags (ny, nx), and whether the dark could be applied."""

    data: np.ndarray
    pixeldq: np.ndarray
    applied: bool


def dark_plan(ngroups, nframes, groupgap, dark_ngroups, dark_nframes, dark_groupgap):
    """Which frames of a dark belong to which science group.

    Parameters
    ----------
    ngroups, nframes, groupgap : int
        Groups, reads per group and reads skipped between groups of the exposure.
    dark_ngroups, dark_nframes, dark_groupgap : int
        The same of the dark.

    Returns
    -------
    DarkPlan or None
        None where the dark cannot serve: it averages or skips more reads than the exposure.

    Raises
    ------
    ShapeError
        The dark is too short and has a single group, so that it cannot be extrapolated.
    """
    if dark_nframes > nframes or dark_groupgap > groupgap:
        return None
    frames = ngroups * nframes + (ngroups - 1) * groupgap
    dark_frames = dark_ngroups * dark_nframes + (dark_ngroups - 1) * dark_groupgap
    extrapolated = 0
    if frames > dark_frames:
        if dark_ngroups < 2:
            raise ShapeError(f"the dark has {dark_ngroups} group(s) and must be extrapolated; that takes at least 2")
        extrapolated = -(-(frames - dark_frames + dark_groupgap) // (dark_nframes + dark_groupgap))
    group = np.arange(ngroups, dtype=np.int64)
    if (nframes, groupgap) == (dark_nframes, dark_groupgap):
        return DarkPlan(group, np.ones(ngroups, np.int64), extrapolated, extrapolated == 0)
    starts = group * (nframes + groupgap)
    counts = np.clip(dark_ngroups + extrapolated - starts, 0, nframes)
    return DarkPlan(starts, counts, extrapolated, False)


def dark_integrations(n_integrations, n_dark, first_integration=1):
    """Which ramp of a dark belongs to which integration.

    Parameters
    ----------
    n_integrations : int
        Integrations at hand.
    n_dark : int
        Ramps of the dark.
    first_integration : int
        Number of the first integration at hand in its exposure, from 1.

    Returns
    -------
    (nint,) int64
        The last ramp of the dark serves all integrations after it. It also serves every integration of a part of an
        exposure that does not begin with the first one (reference behaviour).
    """
    ramps = np.minimum(np.arange(n_integrations), n_dark - 1)
    return ramps if first_integration == 1 else np.full(n_integrations, n_dark - 1)


@kernel
def average_frames_tile(out, frames, starts, counts, first, last, left, right):
    """Average the frames of a plan: out (ngroup, ny, nx) from frames (k, ny, nx), extrapolated behind the end."""
    k = frames.shape[0]
    extrapolated = False
    for g in range(out.shape[0]):
        extrapolated |= starts[g] + counts[g] > k
    total = np.empty(right - left, np.float64)
    for g in range(out.shape[0]):
        for r in range(first, last):
            row = out[g, r, left:right]
            fill_row(row, np.float32(0))
            if extrapolated:
                fill_row(total, 0.0)
                for frame in range(starts[g], starts[g] + counts[g]):
                    end = frames[min(frame, k - 1), r, left:right]
                    before = frames[max(min(frame, k - 1) - 1, 0), r, left:right]
                    beyond = max(frame - k + 1, 0)
                    for x in range(row.size):
                        # Frames inside the dark must not see the NaN of the frame before them.
                        value = np.float64(end[x])
                        if beyond > 0:
                            value += np.float64(end[x] - before[x]) * beyond
                        total[x] += 0.0 if np.isnan(value) else value
                if counts[g] > 0:
                    for x in range(row.size):
                        row[x] = total[x] / counts[g]
            else:
                for frame in range(starts[g], starts[g] + counts[g]):
                    values = frames[frame, r, left:right]
                    for x in range(row.size):
                        row[x] += np.float32(0) if np.isnan(values[x]) else values[x]
                if counts[g] > 1:
                    count = np.float32(counts[g])
                    for x in range(row.size):
                        row[x] /= count


@helper(counted=False)
def _without_nan(word):
    """The float32 of a word, 0 for NaN."""
    value = np.uint32(word).view(np.float32)
    return np.float32(0) if np.isnan(value) else value


@kernel
def subtract_dark_tile(data, pdq, source, plane, count, dark_dq, row, column, first, last, left, right):
    """Subtract ``count`` frames of a reference from the groups, as far as both go, and add its flags.

    ``source`` is a `PLANE` record of float32, and ``plane`` the first of the frames; NaN counts as 0. ``row``,
    ``column``: place of the tile in the exposure. Decoding the frames into a native tile first took a tenth of the
    chain: there are as many of them as groups.
    """
    merge_dq_tile(pdq, dark_dq, first, last, left, right)
    bits = array_at(source.address, (source.planes, source.rows, source.columns), np.uint32)
    start = source.first_column + column
    for g in range(min(data.shape[1], count)):
        for r in range(first, last):
            stored = bits[plane + g, source_row(source, row + r), start + left : start + right]
            for i in range(data.shape[0]):
                line = data[i, g, r, left:right]
                if source.swapped:
                    for x in range(line.size):
                        line[x] -= _without_nan(swap32(stored[x]))
                else:
                    for x in range(line.size):
                        line[x] -= _without_nan(stored[x])


def resample_dark(dark, plan, threads=None):
    """Average (and extrapolate) the frames of a dark to the groups of an exposure.

    Parameters
    ----------
    dark : (k, ny, nx) float32
        Dark ramp [DN].
    plan : DarkPlan
        From `dark_plan`.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    (ngroup, ny, nx) float32
        Dark for each science group [DN], without NaN.

    Raises
    ------
    ShapeError, DTypeError
        ``dark`` is not a 3-D array of numbers.
    """
    dark = as_canonical(dark, "dark", np.float32, 3)
    out = np.empty((len(plan.starts), *dark.shape[1:]), np.float32)
    run_tile(average_frames_tile, out, dark, plan.starts, plan.counts, threads=threads)
    return out


def subtract_frames_in_place(data, pdq, frames, flags, name, threads=None):
    """Subtract frame g of a reference from group g, as far as both go: data and pixel flags are changed.

    ``data`` (nint, ngroup, ny, nx) float32 [DN], ``pdq`` (ny, nx) uint32; ``frames`` (k, ny, nx) float32 [DN], in which
    NaN counts as 0, and their ``flags`` (ny, nx) uint32 are called ``name`` in errors (ShapeError, DTypeError).
    """
    require_in_place(data, "data", np.float32, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    frames = as_canonical(frames, name, np.float32, 3)
    flags = as_canonical(flags, f"{name}_dq", np.uint32, 2)
    check_shape(pdq, "pixeldq", data.shape[-2:])
    check_shape(flags, f"{name}_dq", pdq.shape)
    check_shape(frames, name, (len(frames), *pdq.shape))
    source = as_bits(frames, np.float32)
    run_tile(subtract_dark_tile, data, pdq, source.record(), 0, len(frames), flags, 0, 0, threads=threads)


def subtract_dark_in_place(data, pdq, dark, dark_dq, threads=None):
    """Subtract a dark that already has the groups of the exposure: data and pixel flags are changed."""
    require_in_place(data, "data", np.float32, 4)
    dark = as_canonical(dark, "dark", np.float32, 3)
    if len(dark) < data.shape[1]:
        raise ShapeError(f"dark has {len(dark)} groups; expected {data.shape[1]} or more: see resample_dark")
    subtract_frames_in_place(data, pdq, dark, dark_dq, "dark", threads)


def subtract_dark(
    data,
    pixeldq,
    dark,
    dark_dq,
    nframes=1,
    groupgap=0,
    dark_nframes=1,
    dark_groupgap=0,
    first_integration=1,
    threads=None,
):
    """Subtract a dark ramp, averaged or extrapolated to the groups of the exposure where it has to be.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Linearised counts [DN].
    pixeldq : (ny, nx) uint32
        Pixel flags.
    dark : (k, ny, nx) float32, or (n, k, ny, nx) for the first n integrations
        Dark ramps [DN]; NaN counts as 0.
    dark_dq : (ny, nx) uint32
        Its flags.
    nframes, groupgap : int
        Reads per group and reads skipped between groups of the exposure.
    dark_nframes, dark_groupgap : int
        The same of the dark.
    first_integration : int
        Number of the first integration of ``data`` in its exposure, from 1, see `dark_integrations`.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    DarkSubtracted
        New data and pixel flags. ``applied`` is False, and they are unchanged, where the dark averages or skips
        more reads than the exposure.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour, with the differences listed at the top of this module.
    """
    data = writable_copy(data, "data", np.float32, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    dark = as_canonical(np.expand_dims(dark, 0) if np.ndim(dark) == 3 else dark, "dark", np.float32, 4)
    if not len(dark):
        raise ShapeError(f"dark has no ramp (shape {dark.shape}); expected one for each of the first integrations")
    plan = dark_plan(data.shape[1], nframes, groupgap, dark.shape[1], dark_nframes, dark_groupgap)
    if plan is None:
        return DarkSubtracted(data, pixeldq, False)
    for i, n in enumerate(dark_integrations(len(data), len(dark), first_integration)):
        ramp = dark[n] if plan.direct else resample_dark(dark[n], plan, threads)
        subtract_dark_in_place(data[i : i + 1], pixeldq, ramp, dark_dq, threads)
    return DarkSubtracted(data, pixeldq, True)

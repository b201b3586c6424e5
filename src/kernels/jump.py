"""Find cosmic-ray jumps by the two-point difference method.

Model: the differences ``d = e[k+1] - e[k]`` of the electrons ``e = data * gain`` of one pixel, over all integrations,
have the median ``m`` and the noise ``sigma = sqrt(|m| + r^2 / nframes)``, where ``r`` is the read noise of a
difference [e-]; a difference too many sigma from the reference level is a jump in group ``k+1``. Which reference
level depends on the mode (`choose_mode`): *iterative* (few differences; absolute values, the largest deviation is
removed and the level recomputed), *single pass* (the median), *sigma clip* (many integrations; the scatter itself).
Bright jumps also flag the four neighbours, and the groups after them.

Source: Anderson & Gordon (2011), PASP 123, 1237 for the method; reference behaviour for every rule and rounding.
NaN: a difference with a NaN, DO_NOT_USE or SATURATED end does not
exist. Snowballs and showers are found in the flags afterwards (`snowballs`, `showers`).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE
from upramp.kernels._jit import kernel
from upramp.kernels._jump_lanes import UNUSABLE, columns_with_jumps, jump_lanes, next_jumps
from upramp.kernels._jump_rules import ITERATIVE, SIGMA_CLIP, SIGMA_CLIP_ALL, SINGLE_PASS
from upramp.kernels._jump_search import DECLINED, detect_jumps_tile
from upramp.kernels._layout import ShapeError, as_canonical, as_count, as_time, check_shape, writable_copy
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.flag_counts import count_in_row

__all__ = [
    "DECLINED",
    "ITERATIVE",
    "SIGMA_CLIP",
    "SIGMA_CLIP_ALL",
    "SINGLE_PASS",
    "JumpParameters",
    "JumpResult",
    "choose_mode",
    "clear_bad_jumps_tile",
    "clear_whole_frame_jumps",
    "common_flags",
    "count_jumps_tile",
    "detect_jumps",
    "detect_jumps_in_place",
    "detect_jumps_tile",
    "flag_after_jumps_tile",
    "flag_bad_gain_tile",
    "spread_cores_tile",
]

DECLINED_COUNT = -99  # the count of primary cosmic rays when nothing was looked for (reference behaviour)


@dataclass(frozen=True)
class JumpParameters:
    """How jumps are looked for; the names are those of the jump step.

    Attributes
    ----------
    rejection_threshold : float
        Threshold for 4 or more usable differences, for the single pass and for sigma clipping [sigma].
    three_group_rejection_threshold, four_group_rejection_threshold : float
        Threshold for exactly 2 and exactly 3 usable differences in the iterative mode [sigma].
    flag_4_neighbors : bool
        Flag the four edge neighbours of a jump between the two limits that follow.
    min_jump_to_flag_neighbors, max_jump_to_flag_neighbors : float
        Limits of such a jump, both exclusive [sigma].
    after_jump_flag_dn1, after_jump_flag_dn2 : float
        Jumps of at least so much are followed by flagged groups [DN].
    after_jump_flag_time1, after_jump_flag_time2 : float
        For how long [s].
    min_diffs_single_pass : int
        So many usable differences in the worst integration make it a single pass.
    minimum_sigclip_groups : int
        So many integrations (or usable groups, if not ``only_use_ints``) make it sigma clipping.
    only_use_ints : bool
        Clip over the integrations group by group; otherwise over all groups of all integrations together.
    """

    rejection_threshold: float = 4.0
    three_group_rejection_threshold: float = 6.0
    four_group_rejection_threshold: float = 5.0
    flag_4_neighbors: bool = True
    min_jump_to_flag_neighbors: float = 10.0
    max_jump_to_flag_neighbors: float = 1000.0
    after_jump_flag_dn1: float = 0.0
    after_jump_flag_dn2: float = 0.0
    after_jump_flag_time1: float = 0.0
    after_jump_flag_time2: float = 0.0
    min_diffs_single_pass: int = 10
    minimum_sigclip_groups: int = 100
    only_use_ints: bool = True

    minimum_groups = 3  # fixed: the reference overrides the user's value when it works on the whole frame


class JumpResult(NamedTuple):
    """Group flags (nint, ngroup, ny, nx) uint8, pixel flags (ny, nx) uint32, number of primary cosmic rays."""

    groupdq: np.ndarray
    pixeldq: np.ndarray
    n_primary: int


@kernel
def flag_bad_gain_tile(pdq, gain, first, last, left, right):
    """Flag pixels whose gain is NaN, zero or negative; group flags are not touched."""
    for r in range(first, last):
        q = pdq[r, left:right]
        g = gain[r, left:right]
        for x in range(q.size):
            q[x] |= 0 if g[x] > 0 else NO_GAIN_VALUE | DO_NOT_USE


@kernel
def spread_cores_tile(gdq, marked, marks, first, last, left, right):
    """Flag the marked samples of the region and those next to a mark, in rows and columns, of any pixel in the array.

    ``marks`` count in rows that are ``marked``. SATURATED and DO_NOT_USE samples are not flagged.
    """
    n_rows, n_columns = gdq.shape[2:]
    hit, none = np.empty(right - left, np.uint8), np.zeros(n_columns, np.uint8)
    for i in range(gdq.shape[0]):
        for k in range(1, gdq.shape[1]):
            for r in range(first, last):
                before, after = max(r - 1, 0), min(r + 1, n_rows - 1)
                if (marked[i, k, before] | marked[i, k, r] | marked[i, k, after]) == 0:
                    continue
                row = marks[i, k, r] if marked[i, k, r] != 0 else none
                here = row[left:right]
                below = (marks[i, k, before] if marked[i, k, before] != 0 else none)[left:right]
                above = (marks[i, k, after] if marked[i, k, after] != 0 else none)[left:right]
                for x in range(hit.size):
                    hit[x] = here[x] | below[x] | above[x]
                n = hit.size - 1
                if left > 0:
                    hit[0] |= row[left - 1]
                if right < n_columns:
                    hit[n] |= row[right]
                for x in range(n):
                    hit[x + 1] |= here[x]
                for x in range(n):
                    hit[x] |= here[x + 1]
                q = gdq[i, k, r, left:right]
                for x in range(hit.size):
                    q[x] |= JUMP_DET if hit[x] != 0 and (q[x] & UNUSABLE) == 0 else 0


@kernel
def flag_after_jumps_tile(gdq, data, gain, unused, e1, e2, n1, n2, first, last, left, right):
    """Flag the ``n1`` groups after jumps of at least ``e1`` [e-] above the median, and ``n2`` after those of ``e2``.

    SATURATED and DO_NOT_USE groups are passed over.
    """
    n_groups = data.shape[1]
    lanes = jump_lanes(data.shape[0] * (data.shape[1] - 1))
    places, medians, values = lanes[0], lanes[1], lanes[3]
    bits = np.empty(right - left, np.uint8)
    for r in range(first, last):
        x = 0 if columns_with_jumps(bits, gdq, r, left, right) else bits.size
        while x < bits.size:
            n_lanes, x = next_jumps(lanes, bits, x, data, gdq, gain, unused, r, left)
            for lane in range(n_lanes):
                column = places[1, lane]
                # Backwards in time: a source only changes later groups, so each flag is met as it was at the start.
                j = 0
                for i in range(data.shape[0]):
                    for k in range(n_groups - 1):
                        j += (unused[i, k] | unused[i, k + 1]) == 0
                for i in range(data.shape[0] - 1, -1, -1):
                    for k in range(n_groups - 1, 0, -1):
                        if (unused[i, k - 1] | unused[i, k]) != 0:
                            continue
                        j -= 1
                        if (gdq[i, k, r, column] & JUMP_DET) == 0:
                            continue
                        size = float(values[j, lane]) - medians[lane]
                        reach = n1 if size >= e1 else 0
                        reach = max(reach, n2) if size >= e2 else reach
                        for later in range(k + 1, min(k + reach + 1, n_groups)):
                            if (gdq[i, later, r, column] & UNUSABLE) == 0:
                                gdq[i, later, r, column] |= JUMP_DET


@kernel
def clear_bad_jumps_tile(gdq, first, last, left, right):
    """Clear JUMP_DET of samples of the region that are DO_NOT_USE or SATURATED."""
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            for r in range(first, last):
                q = gdq[i, k, r, left:right]
                # Bit 2 shows where bit 2 meets bit 0 or bit 1; rows without are only read.
                found = np.uint8(0)
                for x in range(q.size):
                    found = np.uint8(found | (q[x] & ((q[x] << 2) | (q[x] << 1))))
                if (found & JUMP_DET) != 0:
                    for x in range(q.size):
                        q[x] &= ~(((q[x] << 2) | (q[x] << 1)) & JUMP_DET)


@kernel
def count_jumps_tile(counts, gdq, first, last, left, right):
    """Add to ``counts`` (ny,) int64 how many samples of each row of the region have JUMP_DET."""
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            for r in range(first, last):
                counts[r] += count_in_row(gdq[i, k, r, left:right], JUMP_DET)


@kernel
def common_flags(gdq):
    """Flags that every pixel of a group has: the bitwise AND over each (i, k), (nint, ngroup) uint8."""
    common = np.empty(gdq.shape[:2], np.uint8)
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            bits = np.uint8(255)
            for r in range(gdq.shape[2]):
                q = gdq[i, k, r]
                for x in range(q.size):
                    bits = np.uint8(bits & q[x])
                if bits == 0:
                    break
            common[i, k] = bits
    return common


@kernel
def clear_whole_frame_jumps(gdq, marks):
    """Clear groups that sigma clipping flagged all over, and their ``marks`` if there are any (reference behaviour).

    Where every pixel of a group has JUMP_DET or DO_NOT_USE, pixels with JUMP_DET and nothing else become good.
    """
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            everywhere = True
            for r in range(gdq.shape[2]):
                q = gdq[i, k, r]
                for x in range(q.size):
                    everywhere &= (q[x] & (JUMP_DET | DO_NOT_USE)) != 0
                if not everywhere:
                    break
            if not everywhere:
                continue
            for r in range(gdq.shape[2]):
                q = gdq[i, k, r]
                for x in range(q.size):
                    if q[x] == JUMP_DET:
                        q[x] = 0
                        if marks.size > 0:
                            marks[i, k, r, x] = 0


def choose_mode(unused, parameters):
    """Choose the way of detection from the groups that the whole frame cannot use.

    Parameters
    ----------
    unused : (nint, ngroup) bool
        True where every pixel of the group has DO_NOT_USE.
    parameters : JumpParameters

    Returns
    -------
    int
        DECLINED, ITERATIVE, SINGLE_PASS, SIGMA_CLIP or SIGMA_CLIP_ALL.

    Notes
    -----
    Source: reference behaviour for a frame that is worked on in one piece.
    """
    unused = np.asarray(unused, bool)
    n_integrations, n_groups = unused.shape
    usable = n_groups - int(unused.sum(axis=1).max(initial=0))
    available = n_integrations if parameters.only_use_ints else n_integrations * n_groups - int(unused.sum())
    if available >= parameters.minimum_sigclip_groups:
        return SIGMA_CLIP if parameters.only_use_ints else SIGMA_CLIP_ALL
    if usable < parameters.minimum_groups:
        return DECLINED
    return SINGLE_PASS if usable - 1 >= parameters.min_diffs_single_pass else ITERATIVE


def _after_jump_limits(gain, group_time, parameters):
    """Thresholds [e-] and numbers of groups of the two after-jump rules."""
    n1 = int(parameters.after_jump_flag_time1 // group_time)
    n2 = int(parameters.after_jump_flag_time2 // group_time)
    if n1 <= 0 and n2 <= 0:
        return 0.0, 0.0, 0, 0
    median = np.float32(np.nanmedian(gain) if np.isfinite(gain).any() else np.nan)
    # Products in float32, as the reference takes them: a jump can be exactly as large as the threshold.
    sizes = np.array([parameters.after_jump_flag_dn1, parameters.after_jump_flag_dn2])
    with np.errstate(over="ignore", invalid="ignore"):
        e1, e2 = sizes.astype(np.float32) * median
    return float(e1), float(e2), max(n1, 0), max(n2, 0)


def detect_jumps_in_place(data, gdq, pdq, gain, read_noise, *, nframes, group_time, parameters=None, threads=None):
    """`detect_jumps` without the copies: changes the group and pixel flags, returns the count of primary jumps."""
    parameters = parameters or JumpParameters()
    data = as_canonical(data, "data", np.float32, 4)
    require_in_place(gdq, "groupdq", np.uint8, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    check_shape(gdq, "groupdq", data.shape)
    for array, name in ((pdq, "pixeldq"), (gain, "gain"), (read_noise, "read_noise")):
        check_shape(array, name, data.shape[-2:])
    if data.shape[1] < 3:
        raise ShapeError(f"data has {data.shape[1]} groups; finding jumps needs at least 3")

    run_tile(flag_bad_gain_tile, pdq, gain, threads=threads)
    unused = common_flags(gdq) & np.uint8(DO_NOT_USE)
    mode = choose_mode(unused, parameters)
    if mode == DECLINED:
        run_tile(clear_bad_jumps_tile, gdq, threads=threads)
        return DECLINED_COUNT

    counts = np.zeros(data.shape[2], np.int64)
    marks = np.empty_like(gdq) if parameters.flag_4_neighbors else np.empty((0, 0, 0, 0), np.uint8)
    marked = np.zeros(gdq.shape[:3], np.uint8)
    clips = mode in (SIGMA_CLIP, SIGMA_CLIP_ALL)
    e1, e2, n1, n2 = _after_jump_limits(gain, group_time, parameters)

    def detect(gdq, data, gain, read_noise, *region):
        detect_jumps_tile(
            gdq,
            marks,
            marked,
            data,
            gain,
            read_noise,
            unused,
            mode,
            float(parameters.rejection_threshold),
            float(parameters.four_group_rejection_threshold),
            float(parameters.three_group_rejection_threshold),
            int(nframes),
            float(parameters.min_jump_to_flag_neighbors),
            float(parameters.max_jump_to_flag_neighbors),
            *region,
        )
        if not clips:
            count_jumps_tile(counts, gdq, *region)

    def finish(gdq, data, gain, *region):
        if parameters.flag_4_neighbors:
            spread_cores_tile(gdq, marked, marks, *region)
        if n1 > 0 or n2 > 0:
            flag_after_jumps_tile(gdq, data, gain, unused, e1, e2, n1, n2, *region)
        clear_bad_jumps_tile(gdq, *region)

    # Small blocks: what one operation has read is still in the cache for the next.
    run_tile(detect, gdq, data, gain, read_noise, threads=threads, block=8)
    if clips:
        clear_whole_frame_jumps(gdq, marks)
        run_tile(partial(count_jumps_tile, counts), gdq, threads=threads)
    run_tile(finish, gdq, data, gain, threads=threads, block=8)
    return int(counts.sum())


def detect_jumps(data, groupdq, pixeldq, gain, read_noise, *, nframes, group_time, parameters=None, threads=None):
    """Find cosmic-ray jumps in every ramp.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts, linear and dark-subtracted [DN]; at least 3 groups.
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags. Jump flags that are there already stay, and act like found ones.
    pixeldq : (ny, nx) uint32
        Pixel flags.
    gain : (ny, nx) float32
        Gain [e-/DN].
    read_noise : (ny, nx) float32
        Noise of the difference of two reads [DN].
    nframes : int
        Reads averaged into a group.
    group_time : float
        Time between groups [s].
    parameters : JumpParameters, optional
        Thresholds and rules; the defaults of the jump step if None.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    JumpResult
        New group flags with JUMP_DET, new pixel flags (NO_GAIN_VALUE and DO_NOT_USE where the gain is NaN or not
        positive), and the number of primary cosmic rays: samples with a jump flag before neighbours and later
        groups are flagged; -99 if the frame has too few usable groups.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree, or there are fewer than 3 groups; nothing has been written.
    ParameterError
        The group time is not positive, or ``nframes`` not a count.

    Notes
    -----
    Source: see the module. NaN: a NaN sample has no differences; it is never flagged as a primary jump.
    Cost: linear in the samples, plus a sort of ramps with jumps, flags or NaN.
    """
    group_time = as_time(group_time, "group_time")
    nframes = as_count(nframes, "nframes")
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    count = detect_jumps_in_place(
        data,
        groupdq,
        pixeldq,
        gain,
        read_noise,
        nframes=nframes,
        group_time=group_time,
        parameters=parameters,
        threads=threads,
    )
    return JumpResult(groupdq, pixeldq, count)

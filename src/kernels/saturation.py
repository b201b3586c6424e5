"""Flag saturated samples, samples at the floor of the converter, and groups in which saturation began.

A sample is saturated from the first group on whose counts reach the threshold of its pixel (``>=``), and so are
the pixels in a box of ``n_pix_grow`` around it (charge spills over). Counts of zero or less are AD_FLOOR and
DO_NOT_USE in their group alone, and are not grown. A pixel flagged NO_SAT_CHECK, or with a NaN threshold, never
saturates. NaN data are never flagged.

Where a group averages several reads (``nframes`` > 1) saturation can begin inside it, before the average shows it:

* *diluted average*: the group before the first saturated one is DO_NOT_USE, grown by the box, if its average
  reaches threshold * (mean read number) / (last read number);
* *second group*: group 1 is DO_NOT_USE, not grown, if group 2 is saturated, group 0 predicts that it should not be,
  and the step from group 0 to 1 is large enough for saturation in the last read.

Read k of group g has the number ``g * nframes + k``: gaps between groups are ignored (reference behaviour).

The work is done in phases with barriers between them, because each looks at the neighbours' result of the one
before: first saturated group -> flags -> marks of partial saturation -> DO_NOT_USE. Not done here: IRS2 readout.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import AD_FLOOR, DO_NOT_USE, NO_SAT_CHECK, SATURATED
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import ParameterError, ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._rows import copy_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels._vectors import LANES, any_of, load, select, splat, store
from upramp.kernels.dq_init import merge_dq_tile

__all__ = [
    "SaturationFlags",
    "apply_partial_tile",
    "clean_zeroframe_tile",
    "find_first_saturated_tile",
    "flag_saturated_tile",
    "flag_saturation",
    "flag_saturation_in_place",
    "grow_saturated_tile",
    "mark_partial_tile",
    "prepare_threshold_tile",
]

NEVER = 65536.0
"""Threshold of pixels that are not checked: above the largest number of the 16-bit converter."""

GROWN_MARK = 1
OWN_MARK = 2

# What there is in a row of an integration; rows without it are not read again.
HAS_FLOOR = 1  # counts of zero or less
HAS_SATURATED = 2  # SATURATED samples


class SaturationFlags(NamedTuple):
    """Group flags (nint, ngroup, ny, nx), pixel flags (ny, nx) and ZEROFRAME (nint, ny, nx) [DN] or None."""

    groupdq: np.ndarray
    pixeldq: np.ndarray
    zeroframe: np.ndarray | None


@kernel
def prepare_threshold_tile(threshold, sat_dq, first, last, left, right):
    """Raise the thresholds of pixels that are not to be checked, and flag NaN thresholds NO_SAT_CHECK."""
    for r in range(first, last):
        t = threshold[r, left:right]
        d = sat_dq[r, left:right]
        for x in range(t.size):
            d[x] |= NO_SAT_CHECK if np.isnan(t[x]) else 0
            t[x] = np.float32(NEVER) if (d[x] & NO_SAT_CHECK) != 0 else t[x]


@helper(counted=False, inlined=True)
def _search_strip(saturated_from, data, threshold, i, r, x):
    """First saturated groups of a strip of pixels; returns where there are counts of zero or less."""
    t = load(threshold[r], x)
    group = np.int32(data.shape[1])
    earliest, lowest = splat(group), splat(np.float32(1))
    # From the last to the first: the earliest one stays.
    for g in range(data.shape[1] - 1, -1, -1):
        group = np.int32(group - 1)
        y = load(data[i, np.uint64(g), r], x)
        earliest = select(y >= t, group, earliest)
        lowest = select(y < lowest, y, lowest)
    store(saturated_from[i, r], x, earliest)
    return lowest <= np.float32(0)


@kernel
def find_first_saturated_tile(saturated_from, contents, data, threshold, first, last, left, right):
    """First group of every pixel that reaches its threshold, or the number of groups.

    ``contents`` (nint, ny) uint8, zeros at first, gets HAS_FLOOR for rows with counts of zero or less in the region.
    """
    whole = left + (right - left) // LANES * LANES
    for i in range(data.shape[0]):
        for r in range(first, last):
            found = False
            for x in range(left, whole, LANES):
                found |= any_of(_search_strip(saturated_from, data, threshold, i, r, x))
            for x in range(whole, right):
                earliest = data.shape[1]
                for g in range(data.shape[1] - 1, -1, -1):
                    y = data[i, g, r, x]
                    earliest = g if y >= threshold[r, x] else earliest
                    found |= y <= 0
                saturated_from[i, r, x] = earliest
            contents[i, r] |= HAS_FLOOR if found else 0


@helper
def _smallest_in_box(smallest, column_smallest, plane, grow, r, left, right):
    """Minimum of ``plane`` over the box around each pixel of one row; pixels outside the array do not count."""
    start = max(left - grow, 0)
    stop = min(right + grow, plane.shape[1])
    above = column_smallest[: stop - start]
    copy_row(above, plane[r, start:stop])
    for neighbour in range(max(r - grow, 0), min(r + grow + 1, plane.shape[0])):
        row = plane[neighbour, start:stop]
        for x in range(above.size):
            above[x] = min(above[x], row[x])
    copy_row(smallest, above[left - start : right - start])
    for shift in range(-grow, grow + 1):
        # Columns left ... right of the row, moved by shift and cut at the ends of the array.
        skip = max(start - left - shift, 0)
        size = min(right + shift, stop) - (left + skip + shift)
        if size > 0:
            target = smallest[skip : skip + size]
            row = above[left + skip + shift - start :][:size]
            for x in range(target.size):
                target[x] = min(target[x], row[x])


@kernel
def flag_saturated_tile(gdq, contents, data, saturated_from, grow, first, last, left, right):
    """Set SATURATED (grown) and AD_FLOOR | DO_NOT_USE; returns how many rows have saturated samples.

    They get HAS_SATURATED in ``contents``; a row that has it already keeps it.
    """
    smallest = np.empty(right - left, np.int32)
    column_smallest = np.empty(right - left + 2 * grow, np.int32)
    count = 0
    for i in range(data.shape[0]):
        for r in range(first, last):
            _smallest_in_box(smallest, column_smallest, saturated_from[i], grow, r, left, right)
            earliest = smallest[0]
            for x in range(smallest.size):
                earliest = min(earliest, smallest[x])
            if (contents[i, r] & HAS_FLOOR) != 0:
                for g in range(data.shape[1]):
                    row = data[i, g, r, left:right]
                    q = gdq[i, g, r, left:right]
                    for x in range(q.size):
                        q[x] |= np.uint8(AD_FLOOR | DO_NOT_USE) if row[x] <= 0 else np.uint8(0)
            for g in range(earliest, data.shape[1]):
                group = np.int32(g)
                q = gdq[i, g, r, left:right]
                for x in range(q.size):
                    q[x] |= np.uint8(SATURATED) if group >= smallest[x] else np.uint8(0)
            contents[i, r] |= HAS_SATURATED if earliest < data.shape[1] else 0
            count += (contents[i, r] & HAS_SATURATED) != 0
    return count


@kernel
def _count_saturated_rows(gdq, first, last):
    """Number of rows, of all groups, with a SATURATED sample."""
    count = 0
    for i in range(gdq.shape[0]):
        for g in range(gdq.shape[1]):
            for r in range(first, last):
                q = gdq[i, g, r]
                found = np.uint8(0)
                for x in range(q.size):
                    found |= q[x]
                count += (found & SATURATED) != 0
    return count


@kernel
def grow_saturated_tile(marks, gdq, grow, first, last, left, right):
    """Put SATURATED into ``marks`` (nint, ngroup, ny, nx) uint8 where it is set in the box of the same group, else 0.

    For SATURATED bits that were there before the step: they are grown too, but not carried to later groups.
    """
    ny, nx = gdq.shape[-2:]
    for i in range(gdq.shape[0]):
        for g in range(gdq.shape[1]):
            for r in range(first, last):
                for x in range(left, right):
                    found = 0
                    for y in range(max(r - grow, 0), min(r + grow + 1, ny)):
                        for z in range(max(x - grow, 0), min(x + grow + 1, nx)):
                            found |= gdq[i, g, y, z] & SATURATED
                    marks[i, g, r, x] = found


@helper
def _partial_mark(data, gdq, threshold, sat_dq, bias, nframes, i, g, r, x):
    """Mark of one sample that is not saturated while its next group is."""
    limit = threshold[r, x]
    if nframes > 1 and (gdq[i, g, r, x] & DO_NOT_USE) == 0:
        dilution = 1.0
        if (sat_dq[r, x] & NO_SAT_CHECK) == 0:
            dilution = (g * nframes + (nframes + 1) / 2) / ((g + 1) * nframes)
        if data[i, g, r, x] >= limit * dilution:
            return GROWN_MARK
    if g == 1 and data.shape[1] > 2:
        # float32 and float64 as the reference has them: differences in float32, the extrapolation in float64.
        d0 = data[i, 0, r, x]
        signal = np.float64(d0 - bias[r, x])
        expected = signal / ((nframes + 1) / 2) * (3 * nframes) + bias[r, x]
        headroom = (limit - d0) / np.float32(nframes)
        if expected < limit and data[i, 1, r, x] - d0 > headroom:
            return OWN_MARK
    return 0


@kernel
def mark_partial_tile(marks, marked, contents, gdq, data, threshold, sat_dq, bias, nframes, first, last, left, right):
    """Mark samples in which saturation began inside the group; returns how many.

    ``marks`` (nint, ngroup, ny, nx) uint8: 1 for the diluted average (to be grown), 2 for the second group (not
    grown), else 0; the region is written in rows that get 1 in ``marked`` (nint, ngroup, ny) uint8, zeros at first:
    those with such samples. Reads only the pixel itself, and only rows that have HAS_SATURATED. ``threshold`` and
    ``sat_dq`` are prepared; ``bias`` is the superbias [DN], zeros if there is none.
    """
    count = 0
    begins = np.empty(right - left, np.uint8)
    for i in range(data.shape[0]):
        for r in range(first, last):
            if (contents[i, r] & HAS_SATURATED) == 0:
                continue
            for g in range(data.shape[1] - 1):
                q = gdq[i, g, r, left:right]
                after = gdq[i, g + 1, r, left:right]
                candidates = np.uint8(0)
                for x in range(begins.size):
                    begins[x] = (after[x] & ~q[x] & SATURATED) >> 1
                    candidates |= begins[x]
                if candidates == 0:
                    continue
                n_marks = 0
                for x in range(begins.size):
                    if begins[x] != 0:
                        begins[x] = _partial_mark(data, gdq, threshold, sat_dq, bias, nframes, i, g, r, left + x)
                        n_marks += begins[x] != 0
                if n_marks > 0:
                    copy_row(marks[i, g, r, left:right], begins)
                    marked[i, g, r] = 1
                    count += n_marks
    return count


@kernel
def apply_partial_tile(gdq, marked, marks, grow, first, last, left, right):
    """Set DO_NOT_USE where a mark 1 lies in the box of ``grow`` around the sample, or its own mark is 2."""
    ny, nx = gdq.shape[-2:]
    start = max(left - grow, 0)
    for i in range(gdq.shape[0]):
        for g in range(gdq.shape[1]):
            for y in range(max(first - grow, 0), min(last + grow, ny)):
                if marked[i, g, y] == 0:
                    continue
                m = marks[i, g, y, start : min(right + grow, nx)]
                for x in range(m.size):
                    if m[x] == GROWN_MARK:
                        for r in range(max(y - grow, first), min(y + grow + 1, last)):
                            for z in range(max(start + x - grow, left), min(start + x + grow + 1, right)):
                                gdq[i, g, r, z] |= DO_NOT_USE
                    elif m[x] == OWN_MARK and first <= y < last and left <= start + x < right:
                        gdq[i, g, y, start + x] |= DO_NOT_USE


@kernel
def clean_zeroframe_tile(zeroframe, saturated_from, grow, first, last, left, right):
    """Set pixels of the ZEROFRAME (nint, ny, nx) to 0 that are saturated (grown) or not above 0.

    ``saturated_from`` (nint, ny, nx) int32: `find_first_saturated_tile` of the ZEROFRAME as a ramp of one group.
    """
    zero = np.float32(0)
    smallest = np.empty(right - left, np.int32)
    column_smallest = np.empty(right - left + 2 * grow, np.int32)
    for i in range(zeroframe.shape[0]):
        for r in range(first, last):
            _smallest_in_box(smallest, column_smallest, saturated_from[i], grow, r, left, right)
            row = zeroframe[i, r, left:right]
            for x in range(row.size):
                row[x] = zero if (smallest[x] == 0 or row[x] <= zero) else row[x]


def flag_saturation_in_place(
    gdq,
    pdq,
    data,
    threshold,
    threshold_dq,
    bias=None,
    n_pix_grow=1,
    nframes=1,
    use_read_pattern=True,
    zeroframe=None,
    threads=None,
):
    """`flag_saturation` without the copies: group flags, pixel flags and ZEROFRAME are changed."""
    require_in_place(gdq, "groupdq", np.uint8, 4)
    require_in_place(pdq, "pixeldq", np.uint32, 2)
    data = as_canonical(data, "data", np.float32, 4)
    threshold = as_canonical(threshold, "threshold", np.float32, 2)
    threshold_dq = as_canonical(threshold_dq, "threshold_dq", np.uint32, 2)
    check_shape(gdq, "groupdq", data.shape)
    frame = data.shape[-2:]
    check_shape(pdq, "pixeldq", frame)
    check_shape(threshold, "threshold", frame)
    check_shape(threshold_dq, "threshold_dq", frame)
    bias = np.zeros(frame, np.float32) if bias is None else as_canonical(bias, "bias", np.float32, 2)
    check_shape(bias, "bias", frame)
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3)
        check_shape(zeroframe, "zeroframe", (data.shape[0], *frame))
    grow, nframes = int(n_pix_grow), int(nframes)
    if grow < 0 or nframes < 1:
        raise ParameterError(f"n_pix_grow is {grow} and nframes {nframes}; expected n_pix_grow >= 0 and nframes >= 1")
    if not data.shape[1]:
        raise ShapeError(f"data has no groups (shape {data.shape})")

    contents = np.zeros((data.shape[0], frame[0]), np.uint8)
    saturated_from = np.empty((data.shape[0], *frame), np.int32)
    limit, limit_dq = np.empty(frame, np.float32), np.empty(frame, np.uint32)

    def search(pdq, gdq, data, threshold, threshold_dq, first, last, left, right):
        rows, region = slice(first, last), (first, last, left, right)
        limit[rows], limit_dq[rows] = threshold[rows], threshold_dq[rows]
        prepare_threshold_tile(limit, limit_dq, *region)
        merge_dq_tile(pdq, limit_dq, *region)
        find_first_saturated_tile(saturated_from, contents, data, limit, *region)
        return _count_saturated_rows(gdq, first, last)

    flagged_before = run_tile(search, pdq, gdq, data, threshold, threshold_dq, threads=threads)
    if flagged_before:
        grown = np.empty(data.shape, np.uint8)
        run_tile(grow_saturated_tile, grown, gdq, grow, threads=threads)
        np.bitwise_or(gdq, grown, out=gdq)
        contents |= HAS_SATURATED
    saturated = run_tile(flag_saturated_tile, gdq, contents, data, saturated_from, grow, threads=threads)
    if use_read_pattern and saturated:
        # Zeros that nobody touches take no memory.
        marks, marked = np.zeros(data.shape, np.uint8), np.zeros(data.shape[:3], np.uint8)
        rest = (contents, gdq, data, limit, limit_dq, bias, nframes)
        if run_tile(mark_partial_tile, marks, marked, *rest, threads=threads):
            run_tile(apply_partial_tile, gdq, marked, marks, grow, threads=threads)
    if zeroframe is not None:
        ramp = zeroframe[:, np.newaxis]
        run_tile(find_first_saturated_tile, saturated_from, contents, ramp, limit, threads=threads)
        run_tile(clean_zeroframe_tile, zeroframe, saturated_from, grow, threads=threads)


def flag_saturation(
    data,
    groupdq,
    pixeldq,
    threshold,
    threshold_dq,
    bias=None,
    n_pix_grow=1,
    nframes=1,
    use_read_pattern=True,
    zeroframe=None,
    threads=None,
):
    """Flag saturated groups, groups at the converter's floor, and groups in which saturation began.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Raw counts, before subtraction of the bias [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags.
    pixeldq : (ny, nx) uint32
        Pixel flags.
    threshold : (ny, nx) float32
        Counts at which a pixel saturates [DN]; NaN for unknown.
    threshold_dq : (ny, nx) uint32
        Flags of the thresholds; NO_SAT_CHECK switches the check of a pixel off.
    bias : (ny, nx) float32, optional
        Superbias [DN] for the prediction of the third group; 0 if absent, NaN switches the test of a pixel off.
    n_pix_grow : int
        Half width of the box by which saturation is grown, 0 for none.
    nframes : int
        Reads averaged into a group.
    use_read_pattern : bool
        Look for saturation that began inside a group.
    zeroframe : (nint, ny, nx) float32, optional
        First reads of the integrations [DN]; unusable pixels are set to 0.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    SaturationFlags
        New group flags, pixel flags (with those of the thresholds) and ZEROFRAME (None if there was none).

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        The arrays disagree, or a parameter is out of range; nothing has been written.

    Notes
    -----
    Source: reference behaviour. Results do not depend on the number of threads. Scratch: one byte per sample and
    four per pixel and integration.
    """
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    if zeroframe is not None:
        zeroframe = writable_copy(zeroframe, "zeroframe", np.float32, 3)
    flag_saturation_in_place(
        groupdq,
        pixeldq,
        data,
        threshold,
        threshold_dq,
        bias,
        n_pix_grow,
        nframes,
        use_read_pattern,
        zeroframe,
        threads,
    )
    return SaturationFlags(groupdq, pixeldq, zeroframe)

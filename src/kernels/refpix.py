"""Subtract amplifier offsets and 1/f drift measured by the reference pixels (near-infrared detectors).

A detector is read by four amplifiers, each a block of 512 columns counted along the *fast* direction (the order in
which a line is read); rows are counted along the *slow* one. Every group of every integration is corrected by
itself, from its superbias-subtracted reference pixels that are not DO_NOT_USE:

1. *Amplifiers.* For each amplifier, and for its even and odd columns apart, the clipped means of the 4 bottom and of
   the 4 top reference rows are averaged (one is used alone if the other has no good pixel) and subtracted from
   these columns. Without a value for either parity the amplifier is left alone.
2. *Sides.* What is then left in the 4 reference columns at each side is smoothed along the rows by a running median
   (mirrored at the ends of the detector, edge not repeated); left and right are averaged (or used alone), and
   ``side_gain`` times the result is subtracted from each row.

Subarrays read by one amplifier have one clipped mean (per parity) of all their reference pixels instead; striped ones
have one for each amplifier.

The clipped mean repeats ``mean - L std <= v <= mean + L std`` (population std) on the survivors until nothing changes.
A NaN in an unflagged pixel makes its mean NaN; a NaN in a running median makes that side unusable in that row.

Everything is a function of the reference pixels only. It comes out as two vectors per group, one along the columns
and one along the rows of the image, so that a first pass reads the reference pixels and a second, over all pixels,
subtracts. Mirroring an axis changes nothing (but for a median over an even number of rows, which is not centred),
so only exchanging the axes is left of the eight orientations.

Source: reference behaviour, with its precision: means are float32, in the order in which the detector is read, in the
first group of an exposure, where side pixels are not used, and in all of the other subarrays. Not done here: IRS2
readout, the SIRS kernels (`upramp.kernels.sirs`), MIRI (`upramp.kernels.side_pixels`).
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import DO_NOT_USE, REFERENCE_PIXEL
from upramp.kernels._jit import kernel, run_rows
from upramp.kernels._layout import ParameterError, ShapeError, as_canonical, check_shape, writable_copy
from upramp.kernels._refpix_statistics import AMPLIFIER, BORDER, SIZE, edge_vectors_block, pooled_means_block
from upramp.kernels._tiles import require_in_place, run_tile

__all__ = [
    "BORDER",
    "EDGELESS_SUBARRAYS",
    "ORIENTATION",
    "ReferenceCorrected",
    "ReferenceCorrections",
    "ReferenceEdges",
    "correct_reference_pixels",
    "correct_reference_pixels_in_place",
    "cut_edges",
    "edge_corrections",
    "gather_edges",
    "needs_edges",
    "pooled_corrections",
    "reference_positions",
    "subtract_corrections_tile",
    "subtract_corrections_zeroframe_tile",
]

ORIENTATION = {
    "NRCA1": (-1, 2),
    "NRCA2": (1, -2),
    "NRCA3": (-1, 2),
    "NRCA4": (1, -2),
    "NRCALONG": (-1, 2),
    "NRCB1": (1, -2),
    "NRCB2": (-1, 2),
    "NRCB3": (1, -2),
    "NRCB4": (-1, 2),
    "NRCBLONG": (1, -2),
    "NRS1": (2, 1),
    "NRS2": (-2, -1),
    "NIS": (-2, -1),
    "GUIDER1": (-2, -1),
    "GUIDER2": (2, -1),
}
"""(fast axis, slow axis) of each detector in the image: 1 along x, 2 along y, negative against it."""

_ROWS_OF_COLUMNS = 64  # read together
EDGELESS_SUBARRAYS = ("SUB512", "SUB512S", "SUB32")
"""NIRSpec subarrays without reference pixels: their first and last four image columns serve as such."""


class ReferenceEdges(NamedTuple):
    """The rows and columns of a ramp that hold its reference pixels; what the array does not cover is DO_NOT_USE."""

    rows: np.ndarray  # (nint, ngroup, 8, nx) float32: detector rows 0-3 and 2044-2047 [DN]
    rows_dq: np.ndarray  # (8, nx) uint32
    columns: np.ndarray  # (nint, ngroup, ny, 8) float32: detector columns 0-3 and 2044-2047 [DN]
    columns_dq: np.ndarray  # (ny, 8) uint32


class ReferenceCorrections(NamedTuple):
    """What to subtract [DN]: ``by_column`` (nint, ngroup, nx) and ``by_row`` (nint, ngroup, ny) float64."""

    by_column: np.ndarray
    by_row: np.ndarray
    columns_first: bool  # the order of the two subtractions


class ReferenceCorrected(NamedTuple):
    """Data (nint, ngroup, ny, nx) [DN] and ZEROFRAME (nint, ny, nx) [DN] or None."""

    data: np.ndarray
    zeroframe: np.ndarray | None


@kernel
def subtract_corrections_tile(data, by_column, by_row, columns_first, row0, column0, first, last, left, right):
    """Subtract both vectors in float64 and round once; the tile's origin is (row0, column0) of their frame.

    The first group of the first integration is also rounded in between (reference behaviour; it shows where the bias
    was NaN, so that the samples are large).
    """
    for i in range(data.shape[0]):
        for g in range(data.shape[1]):
            of_column = by_column[i, g, column0 + left : column0 + right]
            for r in range(first, last):
                row = data[i, g, r, left:right]
                of_row = by_row[i, g, row0 + r]
                if i == 0 and g == 0:
                    for x in range(row.size):
                        early, late = (of_column[x], of_row) if columns_first else (of_row, of_column[x])
                        row[x] = np.float64(row[x] - np.float32(early)) - late
                elif columns_first:
                    for x in range(row.size):
                        row[x] = (row[x] - of_column[x]) - of_row
                else:
                    for x in range(row.size):
                        row[x] = (row[x] - of_row) - of_column[x]


@kernel
def subtract_corrections_zeroframe_tile(
    zeroframe, by_column, by_row, columns_first, row0, column0, first, last, left, right
):
    """The same for the ZEROFRAME (nint, ny, nx) and vectors of one group; exact zeros stay."""
    zero = np.float32(0)
    for i in range(zeroframe.shape[0]):
        of_column = by_column[i, 0, column0 + left : column0 + right]
        for r in range(first, last):
            row = zeroframe[i, r, left:right]
            of_row = by_row[i, 0, row0 + r]
            for x in range(row.size):
                step = (row[x] - of_column[x]) - of_row if columns_first else (row[x] - of_row) - of_column[x]
                row[x] = zero if row[x] == zero else step


def gather_edges(read, shape, row0=0, column0=0, threads=None, after_block=None, together=_ROWS_OF_COLUMNS):
    """Collect the reference rows and columns of a ramp that is read a rectangle at a time.

    Parameters
    ----------
    read : callable
        ``read(first, last, left, right)`` gives the superbias-subtracted counts (nint, ngroup, rows, columns) float32
        [DN] of a rectangle of the array and its pixel flags (rows, columns) uint32. Called by several threads.
    shape : (nint, ngroup, ny, nx)
        Shape of the array.
    row0, column0 : int
        Position of the array in the full frame, counted from 0.
    threads : int or None
        Number of threads; None for all cores.
    after_block : callable, optional
        Called with the first and last row of each block of rows whose columns have been read: every row of a mapped
        file has some, so that all of its pages come into memory.
    together : int
        Number of rows in a block.

    Returns
    -------
    ReferenceEdges
        Rows and columns outside the array are 0 and DO_NOT_USE.
    """
    ni, ng, ny, nx = shape
    edges = ReferenceEdges(
        np.zeros((ni, ng, 2 * BORDER, nx), np.float32),
        np.full((2 * BORDER, nx), DO_NOT_USE, np.uint32),
        np.zeros((ni, ng, ny, 2 * BORDER), np.float32),
        np.full((ny, 2 * BORDER), DO_NOT_USE, np.uint32),
    )
    for start, edge in ((0, 0), (SIZE - BORDER, BORDER)):
        first, last = max(start - row0, 0), min(start - row0 + BORDER, ny)
        if first < last:
            place = slice(edge + first + row0 - start, edge + last + row0 - start)
            edges.rows[:, :, place], edges.rows_dq[place] = read(first, last, 0, nx)
    sides = []
    for start, edge in ((0, 0), (SIZE - BORDER, BORDER)):
        left, right = max(start - column0, 0), min(start - column0 + BORDER, nx)
        if left < right:
            sides.append((left, right, slice(edge + left + column0 - start, edge + right + column0 - start)))

    def read_columns(first, last):
        for left, right, place in sides:
            edges.columns[:, :, first:last, place], edges.columns_dq[first:last, place] = read(first, last, left, right)

    if sides:
        run_rows(read_columns, ny, threads=threads, block=together, after_block=after_block)
    return edges


def cut_edges(data, pixeldq, row0=0, column0=0):
    """`gather_edges` of a ramp in memory: data (nint, ngroup, ny, nx) float32 [DN], pixeldq (ny, nx) uint32."""

    def read(first, last, left, right):
        return data[:, :, first:last, left:right], pixeldq[first:last, left:right]

    return gather_edges(read, data.shape, row0, column0, together=data.shape[2])


def _checked_edges(edges):
    """The arrays of `ReferenceEdges` in canonical layout; raises where they disagree."""
    rows = as_canonical(edges.rows, "edges.rows", np.float32, 4)
    columns = as_canonical(edges.columns, "edges.columns", np.float32, 4)
    rows_dq = as_canonical(edges.rows_dq, "edges.rows_dq", np.uint32, 2)
    columns_dq = as_canonical(edges.columns_dq, "edges.columns_dq", np.uint32, 2)
    check_shape(rows, "edges.rows", (*columns.shape[:2], 2 * BORDER, rows.shape[3]))
    check_shape(columns, "edges.columns", (*columns.shape[:3], 2 * BORDER))
    check_shape(rows_dq, "edges.rows_dq", rows.shape[2:])
    check_shape(columns_dq, "edges.columns_dq", columns.shape[2:])
    return rows, rows_dq, columns, columns_dq


def edge_corrections(
    edges,
    fast_axis,
    slow_axis,
    row0=0,
    column0=0,
    *,
    odd_even_columns=True,
    use_side_ref_pixels=True,
    side_smoothing_length=11,
    side_gain=1.0,
    siglimit=3.0,
    single_first=True,
    threads=None,
):
    """Corrections of a full frame, or of a subarray read by four amplifiers, from its edges.

    Parameters
    ----------
    edges : ReferenceEdges
        Reference pixels of the superbias-subtracted ramp, in the orientation of the image.
    fast_axis, slow_axis : int
        Readout directions, see `ORIENTATION`.
    row0, column0 : int
        Position of the array in the full frame, counted from 0.
    odd_even_columns : bool
        Even and odd columns (of the detector) have offsets of their own.
    use_side_ref_pixels : bool
        Measure the drift from row to row.
    side_smoothing_length : int
        Rows in the running median.
    side_gain : float
        Factor of the drift.
    siglimit : float
        Limit of the clipped means [standard deviations].
    single_first : bool
        The first frame is in single precision until the drift is measured, as the first group of a ramp is (reference
        behaviour); a ZEROFRAME is not.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    ReferenceCorrections
        Zeros where no reference pixel is usable.

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        The edges disagree; a parameter is out of range.
    """
    rows, rows_dq, columns, columns_dq = _checked_edges(edges)
    ni, ng, ny, nx = (*rows.shape[:2], columns.shape[2], rows.shape[3])
    length = int(side_smoothing_length)
    if not 1 <= length < SIZE:
        raise ParameterError(f"side_smoothing_length is {side_smoothing_length}; expected 1 to {SIZE - 1}")
    _check_place(row0, column0, ny, nx)

    columns_first = abs(fast_axis) == 1
    if not columns_first:
        rows, columns = columns.swapaxes(2, 3), rows.swapaxes(2, 3)
        rows_dq, columns_dq = columns_dq.T, rows_dq.T
        row0, column0 = column0, row0
    n_fast, n_slow = rows.shape[3], columns.shape[2]
    before = length // 2
    if length % 2 == 0 and slow_axis < 0:
        before -= 1
    along_fast = np.empty((ni * ng, n_fast), np.float64)
    along_slow = np.empty((ni * ng, n_slow), np.float64)
    run_rows(
        edge_vectors_block,
        ni * ng,
        along_fast,
        along_slow,
        # Copies, since a read-only array would make numba compile anew; the edges are small.
        np.array(rows, order="C").reshape(ni * ng, 2 * BORDER, n_fast),
        np.array(rows_dq, order="C"),
        np.array(columns, order="C").reshape(ni * ng, n_slow, 2 * BORDER),
        np.array(columns_dq, order="C"),
        int(row0),
        int(column0),
        bool(odd_even_columns),
        bool(use_side_ref_pixels),
        before,
        length,
        float(side_gain),
        float(siglimit),
        slow_axis < 0,
        fast_axis < 0,
        int(single_first) if use_side_ref_pixels else ni * ng,
        threads=threads,
        block=1,
    )
    vectors = along_fast.reshape(ni, ng, n_fast), along_slow.reshape(ni, ng, n_slow)
    return ReferenceCorrections(*(vectors if columns_first else vectors[::-1]), columns_first)


def reference_positions(pixeldq, edgeless=False):
    """Where a subarray has usable reference pixels.

    Parameters
    ----------
    pixeldq : (ny, nx) uint32
        Pixel flags.
    edgeless : bool
        The first and last four columns serve as reference pixels (`EDGELESS_SUBARRAYS`).

    Returns
    -------
    rows, columns : (n,) int64
        Pixels with REFERENCE_PIXEL and without DO_NOT_USE.
    """
    reference = (pixeldq & REFERENCE_PIXEL) != 0
    if edgeless:
        reference[:, :BORDER] = True
        reference[:, -BORDER:] = True
    return np.nonzero(reference & ((pixeldq & DO_NOT_USE) == 0))


def pooled_corrections(
    values,
    positions,
    shape,
    fast_axis,
    slow_axis,
    row0=0,
    column0=0,
    *,
    striped=False,
    odd_even_columns=True,
    siglimit=3.0,
    threads=None,
):
    """Corrections of a subarray from a list of its reference pixels, wherever they are.

    Parameters
    ----------
    values : (nint, ngroup, n) float32
        Superbias-subtracted counts of the reference pixels [DN].
    positions : (rows, columns)
        Where they are in the array, from `reference_positions`.
    shape : (ny, nx)
        Shape of the array.
    fast_axis, slow_axis : int
        Readout directions, see `ORIENTATION`.
    row0, column0 : int
        Position of the array in the full frame, counted from 0.
    striped : bool
        The array is a striped readout: every amplifier has means of its own. Else a single amplifier reads it.
    odd_even_columns : bool
        Even and odd columns (of the detector) have offsets of their own.
    siglimit : float
        Limit of the clipped means [standard deviations].
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    ReferenceCorrections
        Zeros where an amplifier has no usable reference pixel, or only pixels of one parity where both are needed.

    Raises
    ------
    ShapeError, DTypeError
        Values and positions disagree.
    """
    values = as_canonical(values, "values", np.float32, 3)
    ni, ng, n = values.shape
    ny, nx = shape
    rows, columns = map(np.asarray, positions)
    check_shape(rows, "positions[0]", (n,))
    check_shape(columns, "positions[1]", (n,))
    in_order = _order_of_reading(rows, columns, fast_axis, slow_axis)
    rows, columns = rows[in_order], columns[in_order]
    columns_first = abs(fast_axis) == 1
    length, start = (nx, column0) if columns_first else (ny, row0)
    place = length, start, fast_axis, striped
    amplifier, parity = _amplifier_and_parity(columns if columns_first else rows, *place)
    means = np.zeros((ni * ng, 2 * (SIZE // AMPLIFIER) if striped else 2), np.float64)
    run_rows(
        pooled_means_block,
        ni * ng,
        means,
        np.take(values.reshape(ni * ng, n), in_order, axis=1),
        amplifier,
        parity,
        bool(odd_even_columns),
        float(siglimit),
        threads=threads,
    )
    amplifier, parity = _amplifier_and_parity(np.arange(length), *place)
    known = amplifier < means.shape[1] // 2
    along_fast = np.zeros((ni, ng, length), np.float64)
    along_fast[:, :, known] = means.reshape(ni, ng, -1)[:, :, (2 * amplifier + parity)[known]]
    along_slow = np.zeros((ni, ng, ny if columns_first else nx), np.float64)
    vectors = along_fast, along_slow
    return ReferenceCorrections(*(vectors if columns_first else vectors[::-1]), columns_first)


def _order_of_reading(rows, columns, fast_axis, slow_axis):
    """Indices that sort pixels of the image by the time at which they are read."""
    fast, slow = (columns, rows) if abs(fast_axis) == 1 else (rows, columns)
    return np.lexsort((np.sign(fast_axis) * fast, np.sign(slow_axis) * slow))


def _amplifier_and_parity(pixels, length, start, fast_axis, striped):
    """Amplifier and parity of pixels that are counted along the fast axis of the image, ``length`` of them.

    Those of striped readouts are counted in the order of reading, with the start of the subarray in the image added all
    the same to tell the amplifier, but not the parity (reference behaviour).
    """
    pixels = np.asarray(pixels, np.int64)
    if not striped:
        return np.zeros(len(pixels), np.int64), (pixels + start) % 2
    in_order = pixels if fast_axis > 0 else length - 1 - pixels
    return (in_order + start) // AMPLIFIER, in_order % 2


def _check_place(row0, column0, ny, nx):
    if row0 < 0 or column0 < 0 or row0 + ny > SIZE or column0 + nx > SIZE:
        raise ShapeError(
            f"an array of {ny} rows and {nx} columns at row {row0}, column {column0} (from 0) does not lie in the "
            f"{SIZE} x {SIZE} pixels of the detector; check the subarray's start"
        )


def needs_edges(shape, noutputs, striped):
    """Whether an array (ny, nx) is corrected like a full frame, by `edge_corrections`; else by `pooled_corrections`."""
    return tuple(shape) == (SIZE, SIZE) or (noutputs == 4 and not striped)


def _corrections_of(
    ramp, pixeldq, detector, row0, column0, noutputs, subarray, striped, parameters, threads, single_first=True
):
    """Corrections of a whole ramp by the method that its subarray needs."""
    fast_axis, slow_axis = ORIENTATION[detector]
    if needs_edges(pixeldq.shape, noutputs, striped):
        edges = cut_edges(ramp, pixeldq, row0, column0)
        return edge_corrections(
            edges, fast_axis, slow_axis, row0, column0, single_first=single_first, threads=threads, **parameters
        )
    positions = reference_positions(pixeldq, subarray in EDGELESS_SUBARRAYS)
    return pooled_corrections(
        ramp[:, :, *positions],
        positions,
        pixeldq.shape,
        fast_axis,
        slow_axis,
        row0,
        column0,
        striped=striped,
        odd_even_columns=parameters["odd_even_columns"],
        siglimit=parameters["siglimit"],
        threads=threads,
    )


def correct_reference_pixels_in_place(
    data,
    pixeldq,
    detector,
    xstart=1,
    ystart=1,
    noutputs=4,
    subarray=None,
    *,
    odd_even_columns=True,
    use_side_ref_pixels=True,
    side_smoothing_length=11,
    side_gain=1.0,
    siglimit=3.0,
    striped=False,
    zeroframe=None,
    threads=None,
):
    """`correct_reference_pixels` without the copies: data and ZEROFRAME are changed, ``pixeldq`` is only read."""
    require_in_place(data, "data", np.float32, 4)
    pixeldq = as_canonical(pixeldq, "pixeldq", np.uint32, 2)
    check_shape(pixeldq, "pixeldq", data.shape[-2:])
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3)
        check_shape(zeroframe, "zeroframe", (data.shape[0], *pixeldq.shape))
    if detector not in ORIENTATION:
        raise ParameterError(f"detector is {detector!r}; expected one of {', '.join(ORIENTATION)}")
    row0, column0 = int(ystart) - 1, int(xstart) - 1
    if not striped:
        _check_place(row0, column0, *pixeldq.shape)
    parameters = {
        "odd_even_columns": odd_even_columns,
        "use_side_ref_pixels": use_side_ref_pixels,
        "side_smoothing_length": side_smoothing_length,
        "side_gain": side_gain,
        "siglimit": siglimit,
    }
    place = (pixeldq, detector, row0, column0, noutputs, subarray, striped, parameters, threads)
    corrections = _corrections_of(data, *place)
    run_tile(subtract_corrections_tile, data, *corrections, 0, 0, threads=threads)
    if zeroframe is not None:
        corrections = _corrections_of(zeroframe[:, np.newaxis], *place, single_first=False)
        run_tile(subtract_corrections_zeroframe_tile, zeroframe, *corrections, 0, 0, threads=threads)


def correct_reference_pixels(
    data,
    pixeldq,
    detector,
    xstart=1,
    ystart=1,
    noutputs=4,
    subarray=None,
    *,
    odd_even_columns=True,
    use_side_ref_pixels=True,
    side_smoothing_length=11,
    side_gain=1.0,
    siglimit=3.0,
    striped=False,
    zeroframe=None,
    threads=None,
):
    """Subtract amplifier offsets and row drift measured by the reference pixels.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Superbias-subtracted counts [DN], in the orientation of the image.
    pixeldq : (ny, nx) uint32
        Pixel flags: DO_NOT_USE excludes a reference pixel; REFERENCE_PIXEL tells them in single-amplifier subarrays.
    detector : str
        Name of the detector, a key of `ORIENTATION`.
    xstart, ystart : int
        First column and row in the full frame, counted from 1.
    noutputs : int
        Amplifiers that read the array; a full frame is always read by four.
    subarray : str, optional
        Its name; some NIRSpec subarrays need a substitute for reference pixels (`EDGELESS_SUBARRAYS`).
    odd_even_columns : bool
        Even and odd columns (of the detector) have offsets of their own.
    use_side_ref_pixels : bool
        Subtract the drift from row to row too (four amplifiers).
    side_smoothing_length : int
        Rows in the running median of the side pixels.
    side_gain : float
        Factor of the drift.
    siglimit : float
        Limit of the clipped means [standard deviations].
    striped : bool
        Stripes of the detector (`upramp.kernels.stripes`): one mean for each amplifier (and parity), no rows.
    zeroframe : (nint, ny, nx) float32, optional
        First reads of the integrations [DN], 0 where unusable; corrected like a ramp of one group.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    ReferenceCorrected
        New data and ZEROFRAME (None if there was none); unchanged where no reference pixel is usable.

    Raises
    ------
    ShapeError, DTypeError, ParameterError
        The arrays disagree or do not lie on the detector; unknown detector; nothing has been written.

    Notes
    -----
    Source: reference behaviour; see the top of this module. An unflagged NaN reference pixel makes the columns of its
    amplifier and parity NaN.
    """
    data = writable_copy(data, "data", np.float32, 4)
    if zeroframe is not None:
        zeroframe = writable_copy(zeroframe, "zeroframe", np.float32, 3)
    correct_reference_pixels_in_place(
        data,
        pixeldq,
        detector,
        xstart,
        ystart,
        noutputs,
        subarray,
        odd_even_columns=odd_even_columns,
        use_side_ref_pixels=use_side_ref_pixels,
        side_smoothing_length=side_smoothing_length,
        side_gain=side_gain,
        siglimit=siglimit,
        striped=striped,
        zeroframe=zeroframe,
        threads=threads,
    )
    return ReferenceCorrected(data, zeroframe)

"""Which part of a reference belongs to an exposure."""

import logging

from upramp.errors import MissingKeywordError, ReferenceFileError
from upramp.models.stripes import is_striped, is_superstripe, line_axis, stripes_of

__all__ = ["cutout", "is_full_frame"]

log = logging.getLogger(__name__)

_FULL_FRAME = {"MIRI": (1024, 1032)}
_NEAR_INFRARED = (2048, 2048)
_IRS2_ROWS = 3200


def cutout(reference, science):
    """Where the rows and columns of an exposure are in a reference.

    Parameters
    ----------
    reference, science : DataModel
        Only metadata and shapes are read.

    Returns
    -------
    rows, columns : slice, or array of int64
        Rows and columns of the arrays of `reference`. Of a striped exposure the numbers of the rows, or of the columns
        where stripes are columns: (n,) for substripes, (positions, n) for superstripes, which differ by integration.

    Raises
    ------
    MissingKeywordError
        The exposure lacks SUBSTRT1/2 or SUBSIZE1/2; or the reference does and is not full frame.
    ReferenceFileError
        A corner is below 1, or the reference does not cover the exposure.
    ShapeError
        The stripes of the exposure do not add up to its array.

    Notes
    -----
    Reference behaviour: a reference without these keywords is taken for full frame when its arrays are; where
    SUBSIZE1/2 disagree with the array the size of the array counts (an IRS2 readout has 3200 rows where the keyword
    says 2048).
    """
    full_frame = _FULL_FRAME.get(science.meta.instrument.name, _NEAR_INFRARED)
    ours, theirs = _corner_and_size(science, None), _corner_and_size(reference, full_frame)
    if is_striped(science) and (ours != theirs or is_superstripe(science)):
        return _stripes(reference, science, ours, theirs)
    (x_science, y_science, width, height), (x_reference, y_reference, reference_width, reference_height) = ours, theirs
    first_y, first_x = y_science - y_reference, x_science - x_reference
    last_y, last_x = first_y + height, first_x + width
    if first_y < 0 or first_x < 0 or last_y > reference_height or last_x > reference_width:
        raise ReferenceFileError(
            f"{reference!r} does not cover {science!r}: it begins at pixel ({x_reference}, {y_reference}) and has "
            f"{reference_width} x {reference_height} pixels; the exposure begins at ({x_science}, {y_science}) and has "
            f"{width} x {height}. Use a reference of this subarray, or a full-frame one."
        )
    return slice(first_y, last_y), slice(first_x, last_x)


def _stripes(reference, science, ours, theirs):
    """Rows and columns of a striped exposure in a reference that covers the detector along its slow axis."""
    layout = stripes_of(science)
    slow = line_axis(science) % 2  # of (row, column)
    (x_science, y_science, width, height), (x_reference, y_reference, *size) = ours, theirs
    lines = layout.lines - (y_reference - 1 if slow == 0 else x_reference - 1)
    first = x_science - x_reference if slow == 0 else y_science - y_reference
    length, n_fast, n_slow = (width, size[0], size[1]) if slow == 0 else (height, size[1], size[0])
    if lines.min() < 0 or lines.max() >= n_slow or first < 0 or first + length > n_fast:
        axes = ("row", "column") if slow == 0 else ("column", "row")
        raise ReferenceFileError(
            f"{reference!r} does not cover the stripes of {science!r}: it begins at pixel ({x_reference}, "
            f"{y_reference}) and has {size[0]} x {size[1]} pixels; the stripes (MSTR_RD1 ... SSTR_NST) are {axes[0]}s "
            f"{layout.lines.min() + 1} to {layout.lines.max() + 1} and {length} {axes[1]}s from {first + 1} on. Use a "
            "full-frame reference."
        )
    lines = lines if is_superstripe(science) else lines[0]
    fast = slice(first, first + length)
    return (lines, fast) if slow == 0 else (fast, lines)


def is_full_frame(science):
    """Whether an exposure covers the whole detector; only the shape of its array counts."""
    return science.shape[-2:] == _FULL_FRAME.get(science.meta.instrument.name, _NEAR_INFRARED)


def _corner_and_size(model, full_frame):
    """First column, first row (from 1), width and height of the arrays of a model."""
    subarray = model.meta.subarray
    values = (subarray.xstart, subarray.ystart, subarray.xsize, subarray.ysize)
    rows, columns = model.shape[-2:]
    if None in values:
        if full_frame is None or (rows, columns) != full_frame:
            raise MissingKeywordError(
                f"{model!r} does not say which part of the detector it covers: SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2 "
                f"are {values}; its arrays have {columns} x {rows} pixels"
                + ("" if full_frame is None else f", full frame is {full_frame[1]} x {full_frame[0]}")
            )
        log.warning("%r has no subarray keywords; its arrays are full frame, so it is taken for that", model)
        return 1, 1, columns, rows
    xstart, ystart, xsize, ysize = values
    if xstart < 1 or ystart < 1:
        raise ReferenceFileError(f"{model!r}: SUBSTRT1 and SUBSTRT2 are {xstart} and {ystart}; pixels count from 1")
    if (xsize, ysize) != (columns, rows) and not (ysize == _NEAR_INFRARED[0] and rows == _IRS2_ROWS):
        log.warning(
            "%r: SUBSIZE1 and SUBSIZE2 say %d x %d, its arrays have %d x %d; the arrays count",
            model,
            xsize,
            ysize,
            columns,
            rows,
        )
    return xstart, ystart, columns, rows

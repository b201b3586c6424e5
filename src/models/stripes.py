"""What the keywords of a striped exposure say."""

import logging

from upramp.errors import MissingKeywordError, ShapeError
from upramp.kernels.stripes import LINES, StripePattern, stripe_layout

__all__ = ["is_striped", "is_superstripe", "line_axis", "stripe_pattern", "stripes_of"]

log = logging.getLogger(__name__)

_KEYWORDS = {
    "MSTR_RD1": "multistripe_reads1",
    "MSTR_SK1": "multistripe_skips1",
    "MSTR_RD2": "multistripe_reads2",
    "MSTR_SK2": "multistripe_skips2",
    "MSTR_RPT": "repeat_stripe",
    "MSTR_ILV": "interleave_reads1",
    "SSTR_STP": "superstripe_step",
    "SSTR_NST": "num_superstripe",
    "FASTAXIS": "fastaxis",
    "SLOWAXIS": "slowaxis",
    "SUBSTRT1": "xstart",
    "SUBSTRT2": "ystart",
    "SUBSIZE1": "xsize",
    "SUBSIZE2": "ysize",
}


def is_striped(model):
    """Whether an exposure has stripes: substripes or superstripes."""
    return model.meta.subarray.multistripe_reads1 is not None or is_superstripe(model)


def is_superstripe(model):
    """Whether the stripes of several integrations are to be put together."""
    return (model.meta.subarray.num_superstripe or 0) > 0


def line_axis(model):
    """Axis of an image along which lines are counted: -2, or -1 where columns are lines."""
    return -1 if abs(model.meta.subarray.slowaxis) == 1 else -2


def stripe_pattern(model):
    """The `StripePattern` of a striped exposure.

    Raises
    ------
    MissingKeywordError
        Names every keyword that is absent.
    """
    subarray = model.meta.subarray
    missing = [keyword for keyword, name in _KEYWORDS.items() if getattr(subarray, name) is None]
    if missing:
        raise MissingKeywordError(
            f"{model!r} is a striped readout (MSTR_RD1 or SSTR_NST is in the header), but lacks {', '.join(missing)}; "
            "expected in the primary header"
        )
    return StripePattern(*(int(getattr(subarray, name)) for name in list(_KEYWORDS.values())[:8]))


def stripes_of(model):
    """The `StripeLayout` of a striped exposure.

    Raises
    ------
    MissingKeywordError
        Names every keyword that is absent.
    ShapeError
        The lines do not add up to the array, or leave the detector; or stripes become groups without known times.

    Notes
    -----
    Reference behaviour: SUBSTRT1 or SUBSTRT2 is where the readout starts, also where lines are read against the axis;
    1 is then taken for the other end, and early DHS exposures always start at the first line.
    """
    pattern, subarray = stripe_pattern(model), model.meta.subarray
    axis = line_axis(model)
    start = subarray.ystart if axis == -2 else subarray.xstart
    if not 1 <= start <= LINES:
        raise ShapeError(f"{model!r}: the readout starts at line {start} (SUBSTRT1 or SUBSTRT2); expected 1 to {LINES}")
    first = start - 1
    if subarray.slowaxis < 0:
        first = 0 if start == 1 else LINES - start
    if "DHS" in (subarray.name or "").upper():
        first = 0
    if first != (start - 1 if subarray.slowaxis > 0 else LINES - start):
        log.warning("%r: the readout is said to start at line %d; taken to be the first one read", model, start)
    n_lines = model.shape[axis]
    stated = subarray.ysize if axis == -2 else subarray.xsize
    if stated != n_lines:
        raise ShapeError(
            f"{model!r}: {'SUBSIZE2' if axis == -2 else 'SUBSIZE1'} says {stated} lines, the array has {n_lines}"
        )
    try:
        layout = stripe_layout(pattern, first, n_lines, subarray.slowaxis)
    except ShapeError as error:
        raise ShapeError(f"{model!r}: {error}") from None
    if pattern.positions and model.shape[0] % pattern.positions:
        raise ShapeError(
            f"{model!r} has {model.shape[0]} integrations; expected a multiple of the {pattern.positions} positions "
            "of its superstripes (SSTR_NST)"
        )
    n_stripes = int(layout.stripe.max()) + 1
    if pattern.positions and n_stripes > 1 and n_stripes != n_lines // (pattern.reads1 + pattern.reads2):
        raise ShapeError(
            f"{model!r}: the {n_stripes} stripes of each position become groups of their own, whose times are known "
            f"only if each begins with the MSTR_RD1 lines (MSTR_RPT 1): {pattern}"
        )
    return layout

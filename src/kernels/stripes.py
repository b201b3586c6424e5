"""Striped readouts: which lines of the detector an exposure holds, and how stripes become images again.

A line runs along the fast axis; lines are counted along the slow one. A *substripe* exposure packs several groups of
lines (stripes) of the detector into one small image, often with a few lines of reference pixels before each. A
*superstripe* exposure reads the detector in steps: every integration has the stripes of one position, and an image
needs the integrations of all positions.

Which lines follow each other is told by the motion of the head that reads them. It starts at the first line, reads
``reads1`` lines, skips ``skips1`` (and ``step`` more for every position), and reads ``reads2`` lines. Then, until the
image is full, it goes on with the next stripe ``skips2`` lines further, or, with ``repeat``, returns to the first line
and does the same again. With ``interleave`` it then skips more, by ``skips2`` and the length of a stripe, so that the
next stripe is read, with the reference lines before it.

Source: reference behaviour, and the JWST user documentation, "NIRCam Detector Readout", on multistripe subarrays.
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._layout import ShapeError

__all__ = [
    "LINES",
    "REFERENCE",
    "StripeLayout",
    "StripePattern",
    "image_span",
    "reassemble",
    "stripe_layout",
    "stripe_read_times",
]

LINES = 2048
REFERENCE = -1
SAMPLE_TIME = 10.0e-6  # s
LINE_OVERHEAD = 12  # samples


class StripePattern(NamedTuple):
    """How the head moves, in lines; the names in the header are in the comments.

    ``positions`` is the number of superstripe positions, 0 for a substripe exposure.
    """

    reads1: int  # MSTR_RD1
    skips1: int  # MSTR_SK1
    reads2: int  # MSTR_RD2
    skips2: int = 0  # MSTR_SK2
    repeat: int = 0  # MSTR_RPT
    interleave: int = 0  # MSTR_ILV
    step: int = 0  # SSTR_STP
    positions: int = 0  # SSTR_NST

    def __str__(self):
        return (
            f"MSTR_RD1 {self.reads1}, MSTR_SK1 {self.skips1}, MSTR_RD2 {self.reads2}, MSTR_SK2 {self.skips2}, "
            f"MSTR_RPT {self.repeat}, MSTR_ILV {self.interleave}, SSTR_STP {self.step}, SSTR_NST {self.positions}"
        )


class StripeLayout(NamedTuple):
    """Where the lines of an exposure come from, in the order of the image; (positions, lines) int64.

    lines : line of the full image, counted from 0
    stripe : number of the stripe in the order of reading, from 0; `REFERENCE` for lines before a stripe
    """

    lines: np.ndarray
    stripe: np.ndarray


def stripe_layout(pattern, first, n_lines, slow_axis=1):
    """Find which lines of the detector an exposure holds.

    Parameters
    ----------
    pattern : StripePattern
    first : int
        First line that the head reads, counted from 0 in the order of reading.
    n_lines : int
        Lines of the exposure.
    slow_axis : int
        Negative if lines are read against the axis of the image.

    Returns
    -------
    StripeLayout
        One position for a substripe exposure.

    Raises
    ------
    ShapeError
        The lines do not add up to ``n_lines``, or leave the detector; the message names the keywords.
    """
    reads2 = pattern.reads2
    if reads2 <= 0 and pattern.positions:
        reads2 = pattern.step
    if reads2 <= 0 or min(pattern.reads1, pattern.skips1, pattern.skips2, pattern.positions) < 0:
        raise ShapeError(
            f"the stripes are not possible: {pattern}; expected a MSTR_RD2 of at least 1 (or SSTR_STP, where SSTR_NST "
            "is not 0), and no negative numbers"
        )
    read = pattern._replace(reads2=reads2)
    layouts = [_read_position(read, first, n_lines, position) for position in range(pattern.positions or 1)]
    lines, stripe = (np.array(one, np.int64) for one in zip(*layouts, strict=True))
    if lines.shape[1] != n_lines:
        raise ShapeError(
            f"the stripes have {lines.shape[1]} lines, but the exposure has {n_lines} along its slow axis (SUBSIZE1 or "
            f"SUBSIZE2): {pattern}"
        )
    if lines.min() < 0 or lines.max() >= LINES:
        raise ShapeError(
            f"the stripes cover lines {lines.min() + 1} to {lines.max() + 1}, the detector has {LINES}: {pattern}, "
            f"and the readout starts at line {first + 1} (SUBSTRT1 or SUBSTRT2)"
        )
    if slow_axis < 0:
        return StripeLayout(np.ascontiguousarray(LINES - 1 - lines[:, ::-1]), np.ascontiguousarray(stripe[:, ::-1]))
    return StripeLayout(lines, stripe)


def _read_position(pattern, first, n_lines, position):
    """Lines, and numbers of their stripes, of one position in the order of reading."""
    advance = pattern.step * position
    lines = [*range(first, first + pattern.reads1)]
    stripe = [REFERENCE] * pattern.reads1
    head, skips, number = first + pattern.reads1 + pattern.skips1 + advance, pattern.skips1, 0
    while True:
        lines += range(head, head + pattern.reads2)
        stripe += [number] * pattern.reads2
        head += pattern.reads2
        if len(lines) >= n_lines:
            return lines, stripe
        number += 1
        if not pattern.repeat > 0:
            head += pattern.skips2
            continue
        lines += range(first, first + pattern.reads1)
        stripe += [REFERENCE] * pattern.reads1
        skips += pattern.skips2 + pattern.reads2
        # The step of a superstripe does not count when stripes are interleaved (reference behaviour).
        head = first + pattern.reads1 + (skips if pattern.interleave else pattern.skips1 + advance)


def image_span(layout):
    """First line and number of lines of the smallest image that holds all stripes but the lines of reference pixels."""
    science = layout.lines[layout.stripe != REFERENCE]
    first = int(science.min())
    return first, int(science.max()) + 1 - first


def reassemble(array, layout, first, n_lines, fill, *, axis=-2, by_group=True):
    """Put the stripes of a superstripe exposure together.

    Parameters
    ----------
    array : ndarray
        Integration (of all positions in turn) first; then the group if ``by_group``; two axes of the image last.
    layout : StripeLayout
    first, n_lines : int
        First line of the new image in the full one, counted from 0, and its lines.
    fill : scalar
        What is where no stripe is.
    axis : int
        Axis of the lines: -2, or -1 where columns are lines.
    by_group : bool
        The stripes of a position become groups of their own, in the order of reading: stripe r of n of group g becomes
        group n * g + r. Else all are put into one image, the later ones over the earlier.

    Returns
    -------
    ndarray
        A new one; where stripes overlap that of the later position counts.

    Raises
    ------
    ShapeError
        The integrations are not full sets of positions.
    """
    n_positions, repeats = len(layout.lines), int(layout.stripe.max()) + 1
    if array.shape[0] % n_positions:
        raise ShapeError(
            f"there are {array.shape[0]} integrations; expected a multiple of the {n_positions} positions of the "
            "superstripe (SSTR_NST)"
        )
    # Views with the lines along the last axis but one.
    old = array if axis == -2 else array.swapaxes(-1, -2)
    groups = (old.shape[1] * repeats,) if by_group else ()
    size = (n_lines, old.shape[-1]) if axis == -2 else (old.shape[-1], n_lines)
    out = np.full((old.shape[0] // n_positions, *groups, *size), fill, array.dtype)
    new = out if axis == -2 else out.swapaxes(-1, -2)
    for r in range(repeats):
        target = new[:, r::repeats] if by_group else new
        for p in range(n_positions):
            # A stripe is a piece of the image and of the array.
            here = np.flatnonzero(layout.stripe[p] == r)
            source = slice(here[0], here[-1] + 1)
            start = layout.lines[p, here[0]] - first
            target[..., start : start + len(here), :] = old[p::n_positions, ..., source, :]
    return out


def stripe_read_times(pattern, n_lines, line_length, noutputs, ngroups, nframes=1, groupgap=0):
    """Times at which repeats of a stripe are read [s after the reset].

    Parameters
    ----------
    pattern : StripePattern
    n_lines, line_length : int
        Lines of the exposure and pixels of each.
    noutputs : int
        Amplifiers that read a line.
    ngroups, nframes, groupgap : int
        Groups, frames averaged in each, and frames dropped between them.

    Returns
    -------
    list of list of float
        For every repeat of every group the time of each frame.

    Notes
    -----
    Source: reference behaviour. As many repeats as ``reads1 + reads2`` lines fit into the exposure; the first one comes
    after the reset of its lines alone.
    """
    extra_lines = 2 if noutputs == 1 and line_length >= 9 else 3
    extra_lines, extra_samples = (1, 1) if noutputs == 4 else (extra_lines, 0)

    def duration(lines, more_lines=0, more_samples=0):
        samples = (line_length / noutputs + LINE_OVERHEAD) * (lines + more_lines) + more_samples
        return samples * SAMPLE_TIME

    frame_time = duration(n_lines, extra_lines, extra_samples)
    lines = pattern.reads1 + pattern.reads2
    steps = [frame_time]
    if lines > 0:
        steps = [duration(lines, extra_lines, extra_samples)] + [duration(lines)] * (n_lines // lines - 1)
    times, now = [], 0
    for _ in range(ngroups):
        for step in steps:
            times.append([now + step + frame * frame_time for frame in range(nframes)])
            now += step
        now += frame_time * (nframes - 1 + groupgap)
    return times

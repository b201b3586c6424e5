"""Fit slopes to ramps by ordinary least squares, segment by segment.

Model: jumps and unusable groups cut the ramp of one integration into segments of good groups. A segment of n groups
``y`` has the slope ``sum_k c_k y_k`` with weights that grow towards its ends with its signal-to-noise ratio, the
Poisson variance ``P / (t_group g (n-1))`` and the read variance ``12 (rn / t_group)^2 / ((n^3 - n) g^2)``, where ``P``
is the median count rate of the pixel, mean of all integrations [DN/s], ``g`` its gain [e-/DN] and ``rn`` the noise of
one group [e-]. Segments and integrations are combined with their inverse read variances as weights.

Source: Fixsen et al. (2000), PASP 112, 1350 for the weights; reference behaviour for every rule. The weights depend on
the length of the segment and on one of six powers only, and are antisymmetric: a table of `segment_weights` leaves one
multiplication per pair of samples. Arithmetic is float64 from float32 data; the differences whose median is ``P`` are
rounded to float32.

NaN: samples that are NaN make no difference for the median; in a segment of three or more they count as 0 (reference
behaviour), in a shorter one the slope is NaN.

Pixels without any group flag, NaN or defect go through `upramp.kernels._fit_strips`, 16 at a time; those with flags
alone through `upramp.kernels._fit_lanes`, and the few others one by one through `upramp.kernels._fit_strange`. The
likelihood method is in `likelihood`, results per segment in `segment_details`.
"""

import logging
from typing import NamedTuple

import numpy as np

from upramp.kernels._fit_queue import LENGTH, fit_queue, pixel_queue, put_pixels
from upramp.kernels._fit_strange import fit_strange, strange_scratch
from upramp.kernels._fit_strips import (
    PIECE,
    ROW,
    exchange_tables,
    fit_piece,
    group_ranges,
    piece_scratch,
    strip_room,
)
from upramp.kernels._flags import DO_NOT_USE, SATURATED
from upramp.kernels._jit import kernel
from upramp.kernels._layout import ShapeError, as_canonical, as_count, as_time, check_shape, writable_copy
from upramp.kernels._segments import PERSISTENCE, good_groups
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.jump import common_flags

__all__ = [
    "RampFit",
    "RatePlanes",
    "choose_groups",
    "fit_ramps",
    "fit_ramps_into",
    "fit_ramps_tile",
    "segment_weights",
    "select_groups",
    "select_groups_tile",
    "suppresses_one_group",
]

log = logging.getLogger(__name__)


class RatePlanes(NamedTuple):
    """Slope and error [DN/s], variances [(DN/s)^2], all float32, and flags uint32; (ny, nx) or (nint, ny, nx)."""

    slope: np.ndarray
    err: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    dq: np.ndarray


class RampFit(NamedTuple):
    """Rates of the exposure (ny, nx), and of each integration (nint, ny, nx)."""

    rate: RatePlanes
    integrations: RatePlanes


def segment_weights(n_groups, group_time):
    """Weights of the samples of a segment in its slope.

    Parameters
    ----------
    n_groups : int
        Length of the longest segment.
    group_time : float
        Time between groups [s]; rounded to float32 here.

    Returns
    -------
    1-D float64
        For lengths n = 2, 3, ... n_groups and the powers 0, 0.4, 1, 3, 6, 10 the n // 2 weights [1/s] of the
        differences ``y[n-1-j] - y[j]``; those of one length start at ``6 * ((n-1)**2 // 4)``.

    Notes
    -----
    Source: Fixsen et al. (2000), sect. 4.1, in the reference's form: ``|k - mid|^p / mid^p``, mid = (n-1)/2.
    """
    powers = np.array([0.0, 0.4, 1.0, 3.0, 6.0, 10.0])[:, np.newaxis]
    pieces = [np.empty(0)]
    for n in range(2, n_groups + 1):
        mid = (n - 1) / 2
        arm = mid - np.arange(n // 2)
        weighted = (arm / mid) ** powers * arm
        pieces.append((weighted / (2 * weighted * arm).sum(axis=1, keepdims=True)).ravel())
    return np.concatenate(pieces) / float(np.float32(group_time))


@kernel
def select_groups_tile(gdq, firstgroup, lastgroup, first, last, left, right):
    """Set DO_NOT_USE in all groups of the region before ``firstgroup`` and after ``lastgroup``."""
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            if firstgroup <= k <= lastgroup:
                continue
            for r in range(first, last):
                q = gdq[i, k, r, left:right]
                for x in range(q.size):
                    q[x] |= DO_NOT_USE


@kernel
def fit_ramps_tile(
    slope,
    err,
    var_poisson,
    var_rnoise,
    dq,
    slope_i,
    err_i,
    var_poisson_i,
    var_rnoise_i,
    dq_i,
    gdq,
    data,
    pdq,
    gain,
    read_noise,
    zeroframe,
    average_dark,
    weights,
    unused,
    start,
    stop,
    suppress,
    noise_scale,
    group_time,
    frame_time,
    first_time,
    first,
    last,
    left,
    right,
):
    """Fit all ramps of the region from group ``start`` to ``stop`` (exclusive).

    The first ten arrays are the results, `RatePlanes` of the exposure (ny, nx) and of the integrations; those of size 0
    are not wanted (the first one always is). ``zeroframe``
    (nint, ny, nx) and ``average_dark`` (ny, nx) may have size 0. ``suppress`` is an integer; where it is 1, ramps with
    one good group become DO_NOT_USE in ``gdq``, and where ``start`` is not 0 its jump flags are cleared.
    ``noise_scale`` is sqrt(2 nframes); times are float64 holding float32 values, ``first_time`` that of a lone first
    group. ``pdq`` is read only; bad gains need not be flagged in it. ``unused`` (nint, ngroup) uint8 is 1 for groups
    that have DO_NOT_USE in most pixels of the detector: it only saves time, any is right. (Rounding depends on it.)
    """
    times = (group_time, frame_time, first_time)
    ni, n_groups = data.shape[0], stop - start
    ranges = np.empty((ni, 2), np.int64)
    shapes, spans = group_ranges(ranges, unused, start, stop)
    tables = (weights, ranges, *exchange_tables(ranges, n_groups))
    rules = (start, n_groups, suppress, noise_scale, group_time, shapes, spans)
    inputs = (data, gdq, pdq, gain, read_noise, average_dark)
    rate = (slope, err, var_poisson, var_rnoise, dq)
    integrations = (slope_i, err_i, var_poisson_i, var_rnoise_i, dq_i)
    piece, room = piece_scratch(ni, n_groups), strip_room(ni, n_groups)
    columns = piece[5]
    strange = strange_scratch(ni, n_groups, ROW)
    queue, waiting = pixel_queue(ni, n_groups), np.int64(0)
    for r in range(first, last):
        for a in range(left, right, PIECE):
            n = min(a + PIECE, right) - a
            n_flagged, n_strange = fit_piece(piece, room, inputs, (rate, integrations), tables, rules, r, a, n)
            place = (start, r, a)
            if n_strange > 0:
                some = columns[1, :n_strange]
                fit_strange(
                    rate, integrations, strange, some, piece, inputs, zeroframe, weights, ranges, suppress, times, place
                )
            # Flagged pixels get their results later.
            done = 0
            while done < n_flagged:
                some = columns[0, done : min(n_flagged, done + LENGTH - waiting)]
                put_pixels(queue, waiting, some, piece, inputs, place)
                done += some.size
                waiting += some.size
                if waiting == LENGTH:
                    fit_queue(rate, integrations, queue, waiting, gdq, start, weights, ranges, times)
                    waiting = np.int64(0)
    if waiting > 0:
        fit_queue(rate, integrations, queue, waiting, gdq, start, weights, ranges, times)


def suppresses_one_group(asked, n_groups):
    """Whether ramps with a single good group get no slope.

    Parameters
    ----------
    asked : bool
        The parameter ``suppress_one_group``.
    n_groups : int
        Groups of an integration: where there is only one, it is used whatever was asked (reference behaviour).

    Returns
    -------
    bool
    """
    return bool(asked) and n_groups > 1


def choose_groups(gdq, *, suppress_one_group=True, miri=False):
    """Choose the groups to fit, as a half-open range; None if there is nothing to fit.

    Parameters
    ----------
    gdq : (nint, ngroup, ny, nx) uint8, native, C order
        Group flags of the whole frame.
    suppress_one_group : bool
        Ramps with one good group count as unusable.
    miri : bool
        Leave out leading groups that no pixel of any integration can use, and one such group at the end.

    Returns
    -------
    (start, stop) or None
        None: fewer than 2 groups are left (``miri``), or the first group is saturated in every pixel.
    """
    n_groups = gdq.shape[1]
    start, stop = 0, n_groups
    if miri and n_groups > 1:
        while start < stop and _unusable_everywhere(gdq, start, int(suppress_one_group)):
            start += 1
        if start < stop and _unusable_everywhere(gdq, stop - 1, int(suppress_one_group)):
            stop -= 1
        if stop - start < 2:
            return None
    if np.all(common_flags(gdq[:, start : start + 1].copy()) & SATURATED):
        return None
    return start, stop


@kernel
def _unusable_everywhere(gdq, group, suppress):
    """Whether every pixel of every integration has DO_NOT_USE in a group, or will get it for its one good group."""
    for i in range(gdq.shape[0]):
        for r in range(gdq.shape[2]):
            for x in range(gdq.shape[3]):
                if (gdq[i, group, r, x] & DO_NOT_USE) != 0:
                    continue
                if suppress == 0 or good_groups(gdq[:, :, r, x], i, PERSISTENCE) != 1:
                    return False
    return True


@kernel
def _mostly_unused(gdq):
    """Groups that have DO_NOT_USE in more than half of the pixels: (nint, ngroup) uint8."""
    found = np.zeros(gdq.shape[:2], np.uint8)
    total = gdq.shape[2] * gdq.shape[3]
    for i in range(gdq.shape[0]):
        for k in range(gdq.shape[1]):
            count, rest = 0, total
            for r in range(gdq.shape[2]):
                q = gdq[i, k, r]
                n = np.uint32(0)
                for x in range(q.size):
                    n = np.uint32(n + (q[x] & DO_NOT_USE))
                count += n
                rest -= q.size
                if 2 * count > total or 2 * (count + rest) <= total:
                    break
            found[i, k] = 2 * count > total
    return found


def _selection(firstgroup, lastgroup, n_groups):
    """Inclusive range of groups from the user's choice; a reversed choice, or one of a single group, is ignored.

    A last group behind the end counts as it was given when the two are compared (reference behaviour): what begins in
    the last group, or behind it, leaves one group, or none.
    """
    first = 0 if firstgroup is None else max(firstgroup, 0)
    last = n_groups - 1 if lastgroup is None else lastgroup
    if last >= n_groups:
        log.warning("lastgroup is %d, but the last of %d groups is %d: using that", last, n_groups, n_groups - 1)
    if first >= last and (firstgroup is not None or lastgroup is not None):
        log.warning("firstgroup %s and lastgroup %s leave nothing to fit: all groups are used", firstgroup, lastgroup)
        return 0, n_groups - 1
    return first, min(last, n_groups - 1)


def select_groups(gdq, firstgroup=None, lastgroup=None, threads=None):
    """Set DO_NOT_USE in all groups before ``firstgroup`` and after ``lastgroup``, counted from 0 and inclusive."""
    n_groups = gdq.shape[1]
    selected = _selection(firstgroup, lastgroup, n_groups)
    if selected != (0, n_groups - 1):
        run_tile(select_groups_tile, gdq, *selected, threads=threads)


def _empty_planes(*shape):
    return RatePlanes(*(np.empty(shape, np.float32) for _ in range(4)), np.empty(shape, np.uint32))


def fit_ramps_into(
    rate,
    integrations,
    data,
    gdq,
    pdq,
    gain,
    read_noise,
    *,
    group_time,
    frame_time,
    nframes=1,
    suppress_one_group=True,
    firstgroup=None,
    lastgroup=None,
    zeroframe=None,
    average_dark_current=None,
    miri=False,
    threads=None,
):
    """`fit_ramps` into given `RatePlanes`, of which those of size 0 are not wanted; changes the group flags.

    Returns whether there was anything to fit.
    """
    data = as_canonical(data, "data", np.float32, 4)
    n_integrations, n_groups, *frame = data.shape
    pdq = as_canonical(pdq, "pixeldq", np.uint32, 2)
    gain = as_canonical(gain, "gain", np.float32, 2)
    read_noise = as_canonical(read_noise, "read_noise", np.float32, 2)
    zeroframe = as_canonical(np.empty((0, 0, 0)) if zeroframe is None else zeroframe, "zeroframe", np.float32, 3)
    dark = np.empty((0, 0)) if average_dark_current is None else average_dark_current
    dark = as_canonical(dark, "average_dark_current", np.float32, 2)
    require_in_place(gdq, "groupdq", np.uint8, 4)
    check_shape(gdq, "groupdq", data.shape)
    for array, name in ((pdq, "pixeldq"), (gain, "gain"), (read_noise, "read_noise")):
        check_shape(array, name, frame)
    if zeroframe.size:
        check_shape(zeroframe, "zeroframe", (n_integrations, *frame))
    if dark.size:
        check_shape(dark, "average_dark_current", frame)
    for planes, shape in ((rate, frame), (integrations, (n_integrations, *frame))):
        for name, array in planes._asdict().items():
            require_in_place(array, name, np.uint32 if name == "dq" else np.float32, len(shape))
            if array.size:
                check_shape(array, name, shape)
    if n_groups < 1:
        raise ShapeError(f"data has shape {data.shape}; fitting needs at least one group")

    suppress_one_group = suppresses_one_group(suppress_one_group, n_groups)
    select_groups(gdq, firstgroup, lastgroup, threads)
    groups = choose_groups(gdq, suppress_one_group=suppress_one_group, miri=miri)
    if groups is None:
        return False
    tg, tf = float(np.float32(group_time)), float(np.float32(frame_time))
    unused = _mostly_unused(gdq) if miri else np.zeros(gdq.shape[:2], np.uint8)
    run_tile(
        fit_ramps_tile,
        *rate,
        *integrations,
        gdq,
        data,
        pdq,
        gain,
        read_noise,
        zeroframe,
        dark,
        segment_weights(groups[1] - groups[0], group_time),
        unused,
        *groups,
        int(suppress_one_group),
        float(np.sqrt(2.0 * nframes)),
        tg,
        tf,
        (nframes + 1) * tf / 2,
        threads=threads,
        block=16,
    )
    return True


def fit_ramps(
    data,
    groupdq,
    pixeldq,
    gain,
    read_noise,
    *,
    group_time,
    frame_time,
    nframes=1,
    suppress_one_group=True,
    firstgroup=None,
    lastgroup=None,
    zeroframe=None,
    average_dark_current=None,
    miri=False,
    threads=None,
):
    """Fit a slope to every ramp.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts, linear and dark-subtracted [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags.
    pixeldq : (ny, nx) uint32
        Pixel flags; DO_NOT_USE and SATURATED pixels get no slope.
    gain : (ny, nx) float32
        Gain [e-/DN].
    read_noise : (ny, nx) float32
        Noise of the difference of two reads [DN].
    group_time, frame_time : float
        Time between groups, and of one read [s]; rounded to float32.
    nframes : int
        Reads averaged into a group.
    suppress_one_group : bool
        Ramps with one good group get no slope (not applied to exposures of one group). Otherwise such a group is
        divided by its exposure time, and the ZEROFRAME is used where there is no good group.
    firstgroup, lastgroup : int, optional
        First and last group to use, from 0.
    zeroframe : (nint, ny, nx) float32, optional
        First read of every integration [DN]; 0 where unusable.
    average_dark_current : (ny, nx) float32, optional
        Added to the photon rate as it is [DN/s].
    miri : bool
        Leave out groups at the start and the end that no pixel can use.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    RampFit or None
        Rates of the exposure and of the integrations; None if there is nothing to fit (`choose_groups`). Slopes are
        NaN where no group is usable, or the pixel is not.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.
    ParameterError
        A time is not positive, or ``nframes`` not a count.

    Notes
    -----
    Source and NaN rule: see the module. The error of an integration is ``sqrt(1 / sum 1/(vp + vr))`` over its
    segments, that of the exposure ``sqrt(var_poisson + var_rnoise)`` (reference behaviour).
    Cost: O(ngroup) per pixel, plus a sort of its differences.
    """
    group_time = as_time(group_time, "group_time")
    frame_time = as_time(frame_time, "frame_time")
    nframes = as_count(nframes, "nframes")
    data = as_canonical(data, "data", np.float32, 4)
    n_integrations, _, *frame = data.shape
    fit = RampFit(_empty_planes(*frame), _empty_planes(n_integrations, *frame))
    fitted = fit_ramps_into(
        *fit,
        data,
        writable_copy(groupdq, "groupdq", np.uint8, 4),
        pixeldq,
        gain,
        read_noise,
        group_time=group_time,
        frame_time=frame_time,
        nframes=nframes,
        suppress_one_group=suppress_one_group,
        firstgroup=firstgroup,
        lastgroup=lastgroup,
        zeroframe=zeroframe,
        average_dark_current=average_dark_current,
        miri=miri,
        threads=threads,
    )
    return fit if fitted else None

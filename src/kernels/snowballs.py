"""Flag snowballs: large, nearly round cosmic-ray events with a saturated core, seen by near-infrared detectors.

The two-point search flags the ring of a snowball as jumps, and leaves out its faint outskirts. Here connected regions
of jumps in a group (`upramp.kernels.regions`) are taken for a snowball if a region that has just saturated, or
saturates in the next group, has its centre inside their ellipse; near the edge of the detector also without, for the
core may lie outside. Then

* the saturated core is enlarged, for the rest of the integration, since charge spreads from it;
* the ellipse of the jumps is enlarged and flagged in its group;
* the core is flagged as a jump at the beginning of the next integration, where it leaves an afterimage.

Groups follow each other, because an enlarged core is saturation to those after it. Integrations are independent but for
the afterimages, which are added when all are searched.

Source: reference behaviour. Only flags are looked at, so data have no NaN rule.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from upramp.kernels._flags import JUMP_DET, SATURATED
from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import as_time, writable_copy
from upramp.kernels._tiles import require_in_place
from upramp.kernels.regions import ANGLE, CENTRE_X, CENTRE_Y, MAJOR, MINOR, ellipse_pixels, find_regions

__all__ = ["SnowballParameters", "SnowballResult", "flag_snowballs", "flag_snowballs_in_place"]


@dataclass(frozen=True)
class SnowballParameters:
    """How snowballs are found and flagged; the names are those of the jump step.

    Attributes
    ----------
    min_sat_area, min_jump_area : float
        Smallest regions of new saturation and of jumps that count, holes filled [pixel].
    expand_factor : float
        By this factor the minor axis of a snowball grows; the major axis grows by as many pixels.
    sat_required_snowball : bool
        Without it every region of jumps is a snowball, and cores are left as they are.
    min_sat_radius_extend : float
        Saturated cores with a larger minor axis (the full length) are enlarged [pixel].
    sat_expand : int
        Growth of their semi-axes [pixel].
    edge_size : int
        Jumps whose centre is so near the edge need no core [pixel].
    mask_snowball_core_next_int : bool
        Flag enlarged cores in the next integration.
    snowball_time_masked_next_int : float
        For how long [s].
    max_extended_radius : float
        No semi-axis grows beyond this [pixel].
    """

    min_sat_area: float = 1.0
    min_jump_area: float = 5.0
    expand_factor: float = 2.0
    sat_required_snowball: bool = True
    min_sat_radius_extend: float = 2.5
    sat_expand: int = 2
    edge_size: int = 25
    mask_snowball_core_next_int: bool = True
    snowball_time_masked_next_int: float = 4000
    max_extended_radius: float = 200


class SnowballResult(NamedTuple):
    """Group flags (nint, ngroup, ny, nx) uint8 and the number of snowballs."""

    groupdq: np.ndarray
    n_snowballs: int


class _Rules(NamedTuple):
    """`SnowballParameters` as compiled code takes them; full axes [pixel]."""

    min_sat_area: float
    min_jump_area: float
    factor: float
    needs_core: bool
    min_core_axis: float
    core_growth: float
    edge: float
    widest: float


@kernel
def _mark_new_saturation(plane, now, before):
    """Make ``plane`` that of pixels saturated in a group and not in the one before; returns whether there are any."""
    found = np.uint8(0)
    for r in range(plane.shape[0]):
        p, a, b = plane[r], now[r], before[r]
        for x in range(p.size):
            p[x] = a[x] & ~b[x] & SATURATED
            found |= p[x]
    return found != 0


@kernel
def _mark_jumps(plane, now):
    """Make ``plane`` that of pixels with a jump in a group; returns whether there are any."""
    found = np.uint8(0)
    for r in range(plane.shape[0]):
        p, a = plane[r], now[r]
        for x in range(p.size):
            p[x] = a[x] & JUMP_DET
            found |= p[x]
    return found != 0


@helper
def _any_centre_inside(ellipse, others):
    """Whether the centre of one of ``others`` lies inside an ellipse or on its edge."""
    turn = (180.0 - ellipse[ANGLE]) * (np.pi / 180.0)
    s, c = np.sin(turn), np.cos(turn)
    major, minor = 0.5 * ellipse[MAJOR], 0.5 * ellipse[MINOR]
    for n in range(others.shape[0]):
        dx, dy = others[n, CENTRE_X] - ellipse[CENTRE_X], others[n, CENTRE_Y] - ellipse[CENTRE_Y]
        u, v = dx * c - dy * s, dx * s + dy * c
        if u * u / (major * major) + v * v / (minor * minor) <= 1:
            return True
    return False


@helper
def _is_near_edge(ellipse, edge, n_rows):
    # The number of rows limits columns too (reference behaviour).
    high = max(0.0, n_rows - edge)
    x, y = ellipse[CENTRE_X], ellipse[CENTRE_Y]
    return x < edge or y < edge or x > high or y > high


@kernel
def _pixels(ellipse, minor, major, shape):
    """Pixels of an ellipse with other full axes [pixel]."""
    semi_minor, semi_major = round(minor / 2), round(major / 2)
    x, y = ellipse[CENTRE_X], ellipse[CENTRE_Y]
    return ellipse_pixels(x, y, semi_minor, semi_major, ellipse[ANGLE], shape[0], shape[1])


@kernel
def _saturate(gdq, pixels, k):
    """Saturate pixels from group ``k`` on; no other flag of theirs is kept, not even DO_NOT_USE."""
    for later in range(k, gdq.shape[0]):
        for n in range(pixels.shape[0]):
            gdq[later, pixels[n, 0], pixels[n, 1]] = SATURATED


@kernel
def _flag_jumps(flags, jumps, saturated, following, rules):
    """Flag the enlarged ellipses of those ``jumps`` that are snowballs, where the group is not saturated.

    Returns their number.
    """
    count = 0
    for n in range(jumps.shape[0]):
        jump = jumps[n]
        if (
            rules.needs_core
            and not _is_near_edge(jump, rules.edge, flags.shape[0])
            and not _any_centre_inside(jump, saturated)
            and not _any_centre_inside(jump, following)
        ):
            continue
        count += 1
        growth = (rules.factor - 1.0) * jump[MINOR]
        minor, major = min(jump[MINOR] * rules.factor, rules.widest), min(jump[MAJOR] + growth, rules.widest)
        pixels = _pixels(jump, minor, major, flags.shape)
        for p in range(pixels.shape[0]):
            y, x = pixels[p, 0], pixels[p, 1]
            if (flags[y, x] & SATURATED) == 0:
                flags[y, x] |= JUMP_DET
    return count


def _flag_integration(gdq, rules):
    """Snowballs of one integration (ngroup, ny, nx): changes its flags.

    Returns their number and the pixels of the cores that were enlarged, as positions in the flattened frame.
    """
    ng, ny, nx = gdq.shape
    plane = np.empty((ny, nx), np.uint8)
    nothing = np.empty((0, 5))
    count, enlarged, cores = 0, False, [np.empty(0, np.int64)]
    saturated = following = nothing

    def new_saturation(k):
        some = k < ng and _mark_new_saturation(plane, gdq[k], gdq[k - 1])
        return find_regions(plane, rules.min_sat_area) if some else nothing

    for k in range(1, ng):
        if rules.needs_core:
            # What follows a group is what is new in the next one, unless a core has been enlarged in between.
            saturated = new_saturation(k) if k == 1 or enlarged else following
            following = new_saturation(k + 1)
        jumps = find_regions(plane, rules.min_jump_area) if _mark_jumps(plane, gdq[k]) else nothing
        large = saturated[saturated[:, MINOR] > rules.min_core_axis]
        for core in large:
            axes = core[[MINOR, MAJOR]]
            _saturate(gdq, _pixels(core, *np.minimum(axes + rules.core_growth, rules.widest), plane.shape), k)
            cores.append(_pixels(core, *axes, plane.shape) @ np.array([nx, 1]))
        enlarged = len(large) > 0
        count += _flag_jumps(gdq[k], jumps, saturated, following, rules)
    return count, np.concatenate(cores)


@kernel
def _flag_afterimage(gdq, pixels, n_groups):
    """Flag pixels, as positions in the flattened frame, in the groups 1 ... n_groups - 1 of an integration."""
    flat = gdq.reshape((gdq.shape[0], gdq.shape[1] * gdq.shape[2]))
    for k in range(1, n_groups):
        for n in range(pixels.size):
            flat[k, pixels[n]] |= JUMP_DET


def flag_snowballs_in_place(groupdq, *, group_time, parameters=None, threads=None, after_integration=None):
    """`flag_snowballs` without the copy: changes the group flags, returns the number of snowballs.

    ``after_integration(i)`` is called when an integration has been searched.
    """
    p = parameters or SnowballParameters()
    require_in_place(groupdq, "groupdq", np.uint8, 4)
    rules = _Rules(
        float(p.min_sat_area),
        float(p.min_jump_area),
        float(p.expand_factor),
        bool(p.sat_required_snowball),
        float(p.min_sat_radius_extend),
        2.0 * p.sat_expand,
        float(p.edge_size),
        2.0 * p.max_extended_radius,
    )
    ni, ng = groupdq.shape[:2]
    if groupdq.size == 0:
        return 0
    counts, cores = [0] * ni, [None] * ni

    def search(first, last):
        for i in range(first, last):
            counts[i], cores[i] = _flag_integration(groupdq[i], rules)
            if after_integration is not None:
                after_integration(i)

    run_rows(search, ni, threads=threads, block=1)
    n_masked = int(p.snowball_time_masked_next_int // group_time)
    if p.mask_snowball_core_next_int and n_masked >= 1:
        for i in range(1, ni):
            _flag_afterimage(groupdq[i], cores[i - 1], min(n_masked, ng))
    return sum(counts)


def flag_snowballs(groupdq, *, group_time, parameters=None, threads=None):
    """Flag snowballs as a whole, in an exposure whose jumps are flagged.

    Parameters
    ----------
    groupdq : (nint, ngroup, ny, nx) uint8
        Group flags with SATURATED and JUMP_DET.
    group_time : float
        Time between groups [s].
    parameters : SnowballParameters, optional
        The defaults of the jump step if None.
    threads : int or None
        Number of threads; None for all cores. The result does not depend on it.

    Returns
    -------
    SnowballResult
        New group flags: JUMP_DET in the enlarged ellipses (also on DO_NOT_USE samples, never on SATURATED ones),
        SATURATED and nothing else in the enlarged cores, JUMP_DET where cores were in the integration before.

    Raises
    ------
    ShapeError, DTypeError
        The flags have not four dimensions, or are not integers.
    ParameterError
        The group time is not positive.

    Notes
    -----
    Source: see the module. Cost: three passes over the flags; memory per thread is two bytes per pixel of the frame.
    """
    group_time = as_time(group_time, "group_time")
    groupdq = writable_copy(groupdq, "groupdq", np.uint8, 4)
    count = flag_snowballs_in_place(groupdq, group_time=group_time, parameters=parameters, threads=threads)
    return SnowballResult(groupdq, count)

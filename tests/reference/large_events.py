"""Large events in plain numpy, with scikit-image for regions and ellipses."""

import numpy as np
from skimage.draw import ellipse as draw_ellipse
from skimage.measure import label, regionprops

DNU, SAT, JUMP, REFERENCE_PIXEL = 1, 2, 4, 2**31


def regions(mask, min_area):
    """Ellipses (x, y, minor, major, angle in degrees) of the regions of a mask."""
    found = [region for region in regionprops(label(mask > 0)) if region.area_filled >= min_area]
    return [
        (
            float(region.centroid[1]),
            float(region.centroid[0]),
            region.axis_minor_length - 1,
            region.axis_major_length - 1,
            np.degrees(region.orientation),
        )
        for region in found
    ]


def filled(ellipse, minor, major, shape):
    """Mask of the ellipse with other full axes."""
    mask = np.zeros(shape, bool)
    semi_minor, semi_major = round(minor / 2), round(major / 2)
    if semi_minor != 0 and semi_major != 0:
        reach = max(semi_minor, semi_major) + 2
        x, y = round(ellipse[0]), round(ellipse[1])
        left, top = max(x - reach, 0), max(y - reach, 0)
        part = mask[top : y + reach + 1, left : x + reach + 1]
        part[draw_ellipse(y - top, x - left, semi_major, semi_minor, part.shape, np.radians(ellipse[4]))] = True
    return mask


def enlarged(ellipse, factor, widest, shape):
    """Mask of the ellipse whose minor axis is larger by a factor, and the major axis by as many pixels."""
    _, _, minor, major, _ = ellipse
    return filled(ellipse, min(minor * factor, widest), min(major + (factor - 1) * minor, widest), shape)


def contains(ellipse, x, y):
    x0, y0, minor, major, angle = ellipse
    turn = np.radians(180 - angle)
    u = (x - x0) * np.cos(turn) - (y - y0) * np.sin(turn)
    v = (x - x0) * np.sin(turn) + (y - y0) * np.cos(turn)
    with np.errstate(all="ignore"):
        return u**2 / np.float64(major / 2) ** 2 + v**2 / np.float64(minor / 2) ** 2 <= 1


def snowballs(gdq, group_time, p):
    """Group flags and number of snowballs; ``p`` are SnowballParameters."""
    gdq = gdq.copy()
    ni, ng, ny, nx = gdq.shape
    cores = np.zeros((ni, ny, nx), bool)
    high, widest, count = max(0, ny - p.edge_size), 2 * p.max_extended_radius, 0
    for i in range(ni):
        for k in range(1, ng):
            saturated = (gdq[i] & SAT) > 0
            new = regions(saturated[k] & ~saturated[k - 1], p.min_sat_area)
            following = regions(saturated[k + 1] & ~saturated[k], p.min_sat_area) if k < ng - 1 else []
            jumps = regions(gdq[i, k] & JUMP, p.min_jump_area)
            if p.sat_required_snowball:
                jumps = [
                    jump
                    for jump in jumps
                    if min(jump[:2]) < p.edge_size
                    or max(jump[:2]) > high
                    or any(contains(jump, *core[:2]) for core in new + following)
                ]
                for core in new:
                    if core[2] > p.min_sat_radius_extend:
                        growth = 2 * p.sat_expand
                        axes = min(core[2] + growth, widest), min(core[3] + growth, widest)
                        gdq[i, k:, filled(core, *axes, (ny, nx))] = SAT
                        cores[i] |= filled(core, *core[2:4], (ny, nx))
            for jump in jumps:
                flagged = enlarged(jump, p.expand_factor, widest, (ny, nx)) & ((gdq[i, k] & SAT) == 0)
                gdq[i, k, flagged] |= JUMP
            count += len(jumps)
    last = min(int(p.snowball_time_masked_next_int // group_time), ng)
    if p.mask_snowball_core_next_int:
        for i in range(1, ni):
            gdq[i, 1:last, cores[i - 1]] |= JUMP
    return gdq, count


def _differences(data, gdq, gain, unusable):
    electrons = np.where(unusable, np.float32(np.nan), data * gain)
    return np.diff(electrons, axis=1)


def _ring_average(image, inner, width):
    """Average over a ring of what is finite; NaN where the centre is not. Outside the image there are zeros."""
    radius = int(inner + width)
    offsets = np.arange(-radius, radius + 1)
    distance = offsets[:, None] ** 2 + offsets**2
    ring = np.argwhere((distance >= inner**2) & (distance <= (inner + width) ** 2))
    good = np.isfinite(image)
    values = np.pad(np.where(good, image, 0).astype(float), radius)
    weights = np.pad(good.astype(float), radius, constant_values=1)
    ny, nx = image.shape
    windows = [np.s_[y : y + ny, x : x + nx] for y, x in ring]
    with np.errstate(all="ignore"):
        average = sum(values[w] for w in windows) / sum(weights[w] for w in windows)
    return np.where(good, average, np.nan)


def showers(data, gdq, pdq, gain, read_noise, nframes, group_time, p):
    """Group flags and number of showers; ``p`` are ShowerParameters."""
    ni, ng, ny, nx = data.shape
    if ni * (ng - 1) - np.count_nonzero(((gdq & DNU) > 0).all(axis=(2, 3))) < 10:
        return gdq.copy(), 0
    unusable = ((gdq & (DNU | SAT)) > 0) | (gdq == JUMP)
    d = _differences(data, gdq, gain, unusable)
    out, count, reference = gdq.copy(), 0, pdq == REFERENCE_PIXEL
    with np.errstate(all="ignore"):
        median = np.nanmedian(d, axis=(0, 1))
        sigma = np.sqrt(np.abs(median) + (read_noise * gain) ** 2 / np.float32(nframes))
        for i in range(ni):
            usable = [k for k in range(ng) if (((gdq[i, k] & DNU) == 0) & ~reference).any()]
            for k in range((usable or [0])[0] + 1, ng):
                ratio = np.abs(d[i, k - 1] - median) / sigma
                ratio[(((gdq[i, k] | pdq) & 7) > 0) | reference] = np.nan
                average = _ring_average(ratio, p.extend_inner_radius, p.extend_outer_radius)
                found = regions(average > p.extend_snr_threshold, p.extend_min_area)
                count += len(found)
                for ellipse in found:
                    mask = enlarged(ellipse, p.extend_ellipse_expand_ratio, 2 * p.max_extended_radius, (ny, nx))
                    for later in range(k, min(k + int(p.time_masked_after_shower // group_time) + 1, ng)):
                        mask &= (gdq[i, later] & SAT) == 0
                        out[i, later, mask] |= JUMP
        before = np.nanmean(_differences(data, gdq, gain, (gdq & 7) > 0), axis=1)
        after = np.nanmean(_differences(data, gdq, gain, (out & 7) > 0), axis=1)
    change = np.abs(before - after)
    keep = np.isfinite(change) & (change <= np.float32(p.max_shower_amplitude * group_time)) & ~reference
    return np.where(keep[:, None], out, gdq), count

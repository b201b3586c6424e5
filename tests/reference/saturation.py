"""Saturation flags, one plane at a time, as the description reads."""

import numpy as np

DO_NOT_USE, SATURATED, AD_FLOOR, NO_SAT_CHECK = 1, 2, 64, 2**21


def grow(mask, n):
    """Dilate a boolean plane by a (2n + 1) square, cut at the edges."""
    padded = np.pad(mask, n)
    ny, nx = mask.shape
    shifts = range(2 * n + 1)
    return np.any([padded[j : j + ny, i : i + nx] for j in shifts for i in shifts], axis=0)


def flag_saturation(data, groupdq, pixeldq, threshold, threshold_dq, bias, n, nframes, use_read_pattern, zeroframe):
    """Group flags, pixel flags, zeroframe."""
    gdq, zeroframe = groupdq.copy(), zeroframe.copy()
    nint, ngroup = data.shape[:2]
    sat_dq = threshold_dq | np.where(np.isnan(threshold), NO_SAT_CHECK, 0).astype(np.uint32)
    unchecked = (sat_dq & NO_SAT_CHECK) != 0
    limit = np.where(unchecked, np.float32(65536), threshold)
    reads = [[g * nframes + k + 1 for k in range(nframes)] for g in range(ngroup)]
    for i in range(nint):
        ever = np.zeros(limit.shape, bool)
        for g in range(ngroup):
            ever |= data[i, g] >= limit
            gdq[i, g] |= np.where(data[i, g] <= 0, AD_FLOOR | DO_NOT_USE, 0).astype(np.uint8)
            saturated = grow(ever | ((gdq[i, g] & SATURATED) != 0), n)
            gdq[i, g] |= np.where(saturated, SATURATED, 0).astype(np.uint8)
        if use_read_pattern:
            saturated = (gdq[i] & SATURATED) != 0
            for g in range(ngroup - 1):
                dilution = np.where(unchecked, 1.0, np.mean(reads[g]) / reads[g][-1])
                usable = (gdq[i, g] & (SATURATED | DO_NOT_USE)) == 0
                partial = (data[i, g] >= limit * dilution) & usable & saturated[g + 1]
                if nframes > 1:
                    gdq[i, g] |= grow(partial, n).astype(np.uint8)
            if ngroup > 2:
                d0, d1 = data[i, 0], data[i, 1]
                expected = (d0 - bias).astype(float) / np.mean(reads[0]) * reads[2][-1] + bias
                jumped = d1 - d0 > (limit - d0) / np.float32(nframes)
                gdq[i, 1] |= ((expected < limit) & jumped & saturated[2] & ~saturated[1]).astype(np.uint8)
        zeroframe[i][grow(zeroframe[i] >= limit, n) | (zeroframe[i] <= 0)] = 0
    return gdq, pixeldq | sat_dq, zeroframe

"""Two-point jump detection, one pixel at a time in plain numpy: slow and obvious."""

import numpy as np

DNU, SAT, JUMP = 1, 2, 4


def differences(data, gdq, gain):
    """Differences [e-] of one pixel (ni, ng - 1) float64 holding float32 numbers; NaN where unusable."""
    electrons = np.float32(data) * np.float32(gain)
    electrons[(gdq & (DNU | SAT)) != 0] = np.nan
    with np.errstate(invalid="ignore"):
        return np.diff(electrons, axis=1).astype(np.float64)


def median_and_sigma(d, gain, read_noise, nframes):
    noise = np.float32(read_noise) * np.float32(gain)
    variance = np.float64(np.float32(noise * noise)) / nframes
    valid = d[~np.isnan(d)]
    median = np.median(valid) if valid.size else np.nan
    sigma = np.sqrt(abs(median) + variance)
    return median, sigma if sigma != 0 else np.nan, variance


def iterative(d, variance, t4, t3, t2):
    a = np.abs(d)
    flags = np.zeros(d.shape, bool)
    for rounds in range(d.size):
        valid = a[~np.isnan(a)]
        if valid.size < 2:
            break
        if valid.size >= 4:
            rest = valid[valid != valid.max()]
            level, limit = (np.median(rest) if rest.size else np.nan), t4
        elif valid.size == 3:
            level, limit = np.median(valid), t3
        else:
            level, limit = valid.min(), t2
        if rounds:
            level = np.float64(np.float32(level))
        sigma = np.sqrt(abs(level) + variance)
        if not sigma > 0:
            break
        ratio = np.abs((a - level).astype(np.float32)).astype(np.float64) / sigma
        if not np.nanmax(ratio) > limit:
            break
        new = ratio == np.nanmax(ratio)
        flags |= new
        a[new] = np.nan
    return flags


def sigma_clip(values, threshold):
    """Flags of the values outside the last bounds of five rounds of clipping."""
    kept = values[np.isfinite(values)]
    low, high = -np.inf, np.inf
    for _ in range(5):
        if not kept.size:
            break
        low = np.median(kept) - threshold * kept.std()
        high = np.median(kept) + threshold * kept.std()
        inside = (kept >= low) & (kept <= high)
        if inside.all() or not inside.any():
            break
        kept = kept[inside]
    return np.isfinite(values) & ((values < low) | (values > high))


def primary_jumps(data, gdq, gain, read_noise, mode, nframes, thresholds):
    """Flags of one pixel (ni, ng) with the jumps found in ``mode`` ("iterative", "single", "clip", "clip_all")."""
    d = differences(data, gdq, gain)
    median, sigma, variance = median_and_sigma(d, gain, read_noise, nframes)
    if mode == "iterative":
        found = iterative(d, variance, *thresholds)
    elif mode == "single":
        with np.errstate(invalid="ignore"):
            found = np.isfinite(d) & (np.abs(d - median) / sigma > thresholds[0])
    elif mode == "clip":
        found = np.stack([sigma_clip(column, thresholds[0]) for column in d.T], axis=1)
    else:
        found = sigma_clip(d.ravel(), thresholds[0]).reshape(d.shape)
    out = gdq.copy()
    out[:, 1:][found] |= JUMP
    return out


def spread(data, gdq, gain, read_noise, nframes, low, high):
    """Flags of a frame after flagging the neighbours."""
    cores = np.zeros(gdq.shape, bool)
    for y, x in np.ndindex(gdq.shape[2:]):
        d = differences(data[:, :, y, x], gdq[:, :, y, x], gain[y, x])
        median, sigma, _ = median_and_sigma(d, gain[y, x], read_noise[y, x], nframes)
        ratio = np.abs(d - median) / sigma
        cores[:, 1:, y, x] = (ratio > low) & (ratio < high) & ((gdq[:, 1:, y, x] & JUMP) != 0)
    grown = np.pad(cores, ((0, 0), (0, 0), (1, 1), (1, 1)))
    hit = grown[..., 1:-1, 1:-1] | grown[..., :-2, 1:-1] | grown[..., 2:, 1:-1]
    hit = hit | grown[..., 1:-1, :-2] | grown[..., 1:-1, 2:]
    return np.where(hit & ((gdq & (DNU | SAT)) == 0), gdq | JUMP, gdq)


def after_jumps(data, gdq, gain, rules):
    """Flags of a frame after flagging later groups; ``rules`` are (electrons, groups)."""
    out = gdq.copy()
    for y, x in np.ndindex(gdq.shape[2:]):
        d = differences(data[:, :, y, x], gdq[:, :, y, x], gain[y, x])
        valid = d[~np.isnan(d)]
        median = np.median(valid) if valid.size else np.nan
        for i, k in np.ndindex(gdq.shape[0], gdq.shape[1] - 1):
            if not gdq[i, k + 1, y, x] & JUMP:
                continue
            for electrons, groups in rules:
                if d[i, k] - median >= electrons:
                    later = out[i, k + 1 : k + 2 + groups, y, x]
                    later[(later & (DNU | SAT)) == 0] |= JUMP
    return out


def clean_up(gdq):
    return np.where((gdq & (DNU | SAT)) != 0, gdq & ~np.uint8(JUMP), gdq)

"""The dark of each science group by slicing, in numpy's own means."""

import numpy as np


def resample(dark, ngroups, nframes, groupgap, dark_nframes, dark_groupgap):
    """(ngroups, ny, nx); None where the dark cannot serve."""
    if dark_nframes > nframes or dark_groupgap > groupgap:
        return None
    needed = ngroups * nframes + (ngroups - 1) * groupgap
    there = len(dark) * dark_nframes + (len(dark) - 1) * dark_groupgap
    if needed > there:
        extra = int(np.ceil((needed - there + dark_groupgap) / (dark_nframes + dark_groupgap)))
        rate = dark[-1] - dark[-2]
        dark = np.concatenate([dark, [dark[-1] + float(k + 1) * rate.astype(float) for k in range(extra)]])
    dark = np.where(np.isnan(dark), 0, dark).astype(dark.dtype)
    if (nframes, groupgap) == (dark_nframes, dark_groupgap):
        return dark[:ngroups].astype(np.float32)
    starts = [g * (nframes + groupgap) for g in range(ngroups)]
    return np.array([dark[start : start + nframes].mean(axis=0) for start in starts]).astype(np.float32)

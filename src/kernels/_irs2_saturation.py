"""Saturation of IRS2 readouts: what differs from other readouts, and the way between its rows and the science pixels.

Only science pixels are looked at. Of the two tests for saturation that begins inside a group there is the second-group
one alone, and what it finds is SATURATED, and grown like all saturation (reference behaviour). Since its condition
includes that group 2 reaches the threshold, this is the same as if the pixel had reached it one group earlier.
"""

import numpy as np

from upramp.kernels._irs2_layout import LINES, science_rows
from upramp.kernels._jit import kernel
from upramp.kernels._tiles import run_tile
from upramp.kernels.dq_init import merge_dq_tile
from upramp.kernels.saturation import find_first_saturated_tile, flag_saturated_tile, prepare_threshold_tile

__all__ = ["advance_first_saturated_tile", "flag_interleaved_saturation_in_place"]


@kernel
def advance_first_saturated_tile(saturated_from, data, threshold, bias, nframes, first, last, left, right):
    """Let saturation start in group 1 where it began there but shows in group 2.

    ``bias`` is the superbias [DN], zeros if there is none; the threshold is prepared. Reads only the pixel itself.
    """
    if data.shape[1] < 3:
        return
    one = np.int32(1)
    mean_read, last_read = np.float64((nframes + 1) / 2), np.float64(3 * nframes)
    for i in range(data.shape[0]):
        for r in range(first, last):
            s, t, b = saturated_from[i, r, left:right], threshold[r, left:right], bias[r, left:right]
            d0, d1, d2 = data[i, 0, r, left:right], data[i, 1, r, left:right], data[i, 2, r, left:right]
            for x in range(s.size):
                if d2[x] >= t[x]:
                    # float32 and float64 as the reference has them.
                    signal = np.float64(d0[x] - b[x])
                    expected = signal / mean_read * last_read + b[x]
                    headroom = (t[x] - d0[x]) / np.float32(nframes)
                    if expected < t[x] and d1[x] - d0[x] > headroom:
                        s[x] = min(s[x], one)


def flag_interleaved_saturation_in_place(
    gdq, pdq, data, detector, threshold, threshold_dq, bias, *, n_pix_grow, nframes, use_read_pattern, threads=None
):
    """Flag saturation and the floor of the converter on the science pixels of an IRS2 readout.

    Parameters
    ----------
    gdq : (nint, ngroup, 3200, 2048) uint8
        Group flags, changed.
    pdq : (3200, 2048) uint32
        Pixel flags, changed.
    data : (nint, ngroup, 3200, 2048) float32
        Raw counts [DN].
    detector : str
        NRS1 or NRS2.
    threshold : (2048, 2048) float32
        Counts at which a pixel saturates [DN], changed; NaN for unknown.
    threshold_dq : (2048, 2048) uint32
        Its flags, changed.
    bias : (3200, 2048) float32
        Superbias [DN], zeros if there is none.
    n_pix_grow, nframes, use_read_pattern, threads
        As in `upramp.kernels.saturation.flag_saturation`.

    Notes
    -----
    Scratch: the science pixels of one integration, five bytes each. SATURATED bits from before are not grown.
    """
    rows = science_rows(detector)
    ngroups = data.shape[1]
    bias = np.ascontiguousarray(bias[rows])
    run_tile(prepare_threshold_tile, threshold, threshold_dq, threads=threads)
    flags = pdq[rows]
    run_tile(merge_dq_tile, flags, threshold_dq, threads=threads)
    pdq[rows] = flags
    ramp, marks = np.empty((1, ngroups, LINES, LINES), np.float32), np.empty((1, ngroups, LINES, LINES), np.uint8)
    saturated_from = np.empty((1, LINES, LINES), np.int32)
    for i in range(data.shape[0]):
        np.take(data[i], rows, axis=1, out=ramp[0])
        marks[:] = 0
        contents = np.zeros((1, LINES), np.uint8)
        run_tile(find_first_saturated_tile, saturated_from, contents, ramp, threshold, threads=threads)
        if use_read_pattern:
            run_tile(advance_first_saturated_tile, saturated_from, ramp, threshold, bias, nframes, threads=threads)
        run_tile(flag_saturated_tile, marks, contents, ramp, saturated_from, n_pix_grow, threads=threads)
        for g in range(ngroups):
            gdq[i, g, rows] |= marks[0, g]

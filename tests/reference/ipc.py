"""Convolution of the science block, output pixel by output pixel."""

import numpy as np


def convolve(frame, ipc_kernel, limits):
    """One frame; ``ipc_kernel`` is (k, k) or (k, k, ny, nx)."""
    out = frame.copy()
    m = ipc_kernel.shape[0] // 2
    taps = [(j, i) for j in range(2 * m + 1) for i in range(2 * m + 1) if (j, i) != (m, m)] + [(m, m)]
    for y in range(limits[0], limits[1]):
        for x in range(limits[2], limits[3]):
            total = np.float32(0)
            for j, i in taps:
                yy, xx = y - (j - m), x - (i - m)
                if limits[0] <= yy < limits[1] and limits[2] <= xx < limits[3]:
                    weight = ipc_kernel[j, i] if ipc_kernel.ndim == 2 else ipc_kernel[j, i, y, x]
                    total += weight * frame[yy, xx]
            out[y, x] = total
    return out

"""Linearity polynomial, pixel by pixel in float32."""

import numpy as np

SATURATED, NO_LIN_CORR = 2, 2**20


def correct_linearity(data, groupdq, pixeldq, coeffs, lin_dq):
    """Data and pixel flags."""
    out, pdq = data.copy(), pixeldq | lin_dq
    nint, ngroup, ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            c = coeffs[:, y, x]
            if pdq[y, x] & NO_LIN_CORR & lin_dq[y, x] or np.isnan(c).any() or c[1] == 0:
                pdq[y, x] |= NO_LIN_CORR
                c = np.zeros(len(c), np.float32)
                c[1] = 1
            for i in range(nint):
                for g in range(ngroup):
                    if groupdq[i, g, y, x] & SATURATED:
                        continue
                    value = c[-1] * data[i, g, y, x]
                    for coefficient in c[-2:0:-1]:
                        value = (value + coefficient) * data[i, g, y, x]
                    out[i, g, y, x] = value + c[0]
    return out, pdq

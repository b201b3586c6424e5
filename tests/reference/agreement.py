"""How far two calculations of the same slopes are apart."""

import numpy as np

__all__ = ["relative_difference"]


def relative_difference(expected, found, error, variance=False):
    """|found - expected| in units of the larger of |expected| and the error (for variances, its square).

    Parameters
    ----------
    expected, found, error : ndarray of the same shape
    variance : bool
        Whether the values are variances.

    Returns
    -------
    ndarray of float64
        0 where a value is not finite, or both are 0.
    """
    error = np.nan_to_num(error).astype(np.float64)
    scale = np.maximum(np.abs(expected), error**2 if variance else error).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(found.astype(np.float64) - expected) / scale
    return np.where(np.isfinite(difference), difference, 0.0)

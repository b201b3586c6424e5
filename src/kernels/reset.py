"""Subtract the reset anomaly of MIRI: the transient that decays over the first groups after a reset.

The reference is a ramp for each of the first integrations; its last one serves all later integrations of the exposure.
``D -= reset[g]`` for the groups that it has, in float32, later ones are left; ``P |= dq(reset)``. NaN in the reference
counts as 0. Group g pairs with group g whatever the number of frames in them (reference behaviour).
"""

from typing import NamedTuple

import numpy as np

from upramp.kernels._layout import ShapeError, as_canonical, writable_copy
from upramp.kernels.dark import subtract_frames_in_place

__all__ = ["ResetSubtracted", "reset_integrations", "subtract_reset", "subtract_reset_in_place"]


class ResetSubtracted(NamedTuple):
    """Data (nint, ngroup, ny, nx) [DN] and pixel flags (ny, nx)."""

    data: np.ndarray
    pixeldq: np.ndarray


def reset_integrations(n_integrations, n_reset, first_integration=1):
    """Which ramp of the reference belongs to which integration.

    Parameters
    ----------
    n_integrations : int
        Integrations at hand.
    n_reset : int
        Ramps of the reference.
    first_integration : int
        Number of the first integration at hand in its exposure, from 1.

    Returns
    -------
    (nint,) int64
    """
    return np.minimum(first_integration - 1 + np.arange(n_integrations), n_reset - 1)


def subtract_reset_in_place(data, pdq, reset, reset_dq, threads=None):
    """Subtract one reset ramp (k, ny, nx) from all integrations: data and pixel flags are changed."""
    subtract_frames_in_place(data, pdq, reset, reset_dq, "reset", threads)


def subtract_reset(data, pixeldq, reset, reset_dq, first_integration=1, threads=None):
    """Subtract the reset anomaly.

    Parameters
    ----------
    data : (nint, ngroup, ny, nx) float32
        Counts [DN].
    pixeldq : (ny, nx) uint32
        Pixel flags.
    reset : (n, k, ny, nx) float32
        Reset anomaly of the first k groups of the first n integrations [DN]; NaN counts as 0.
    reset_dq : (ny, nx) uint32
        Its flags.
    first_integration : int
        Number of the first integration of ``data`` in its exposure, from 1.
    threads : int or None
        Number of threads; None for all cores.

    Returns
    -------
    ResetSubtracted
        New data and pixel flags.

    Raises
    ------
    ShapeError, DTypeError
        The arrays disagree; nothing has been written.

    Notes
    -----
    Source: reference behaviour. NaN data stay NaN.
    """
    data = writable_copy(data, "data", np.float32, 4)
    pixeldq = writable_copy(pixeldq, "pixeldq", np.uint32, 2)
    reset = as_canonical(reset, "reset", np.float32, 4)
    if not len(reset):
        raise ShapeError(f"reset has no ramp (shape {reset.shape}); expected one for each of the first integrations")
    for i, n in enumerate(reset_integrations(len(data), len(reset), first_integration)):
        subtract_reset_in_place(data[i : i + 1], pixeldq, reset[n], reset_dq, threads)
    return ResetSubtracted(data, pixeldq)

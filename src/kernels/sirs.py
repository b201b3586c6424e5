"""SIRS: the drift from row to row as a convolution of the side reference pixels with kernels of each amplifier.

"Simple improved reference subtraction" takes the means of the left and of the right reference columns of every row,
without outliers, and convolves them with kernels that were optimised on darks; the sum is subtracted from the rows of
an amplifier. It stands in the place of the running median of `upramp.kernels.refpix`, after the amplifier offsets.

Here rows and columns are those of the readout: rows in the slow direction, the four amplifiers along the columns, so
that mirrored images are turned.

Source: Rauscher et al. (2022), arXiv:2208.13016; reference behaviour, which looks at no flags: bad reference pixels are
those far from the median.
"""

import numpy as np

from upramp.kernels._jit import run_rows
from upramp.kernels._refpix_statistics import AMPLIFIER, BORDER, SIZE
from upramp.kernels._tiles import require_in_place
from upramp.kernels.refpix import ORIENTATION

__all__ = ["side_kernels", "subtract_side_convolution_in_place"]

MAD_TO_SIGMA = 1.48


def side_kernels(gamma, zeta, gaussmooth=1.0, halfwidth=30):
    """Convolution kernels from their Fourier coefficients.

    Parameters
    ----------
    gamma, zeta : (4, n + 1) complex
        Coefficients of the four amplifiers, for left and right side pixels.
    gaussmooth : float
        Width of a Gaussian that smooths the kernels [rows].
    halfwidth : int
        Rows of a kernel to each side of its centre.

    Returns
    -------
    (2, 4, 2 * halfwidth + 1) float64
        Left and right.
    """
    x = np.arange(-halfwidth, halfwidth + 1)
    window = np.exp(-(x**2) / (2 * gaussmooth**2))
    window /= window.sum()
    kernels = np.empty((2, len(gamma), x.size))
    for side, coefficients in enumerate((gamma, zeta)):
        for amplifier, row in enumerate(np.asarray(coefficients)):
            middle = len(row) - 1
            kernel = np.fft.fftshift(np.fft.irfft(row))[middle - halfwidth : middle + halfwidth + 1]
            kernels[side, amplifier] = np.convolve(kernel, window, mode="same")
    return kernels


def _side_means(columns, sigreject):
    """Mean of the four pixels of every row with outliers as 0, and the part of them that are none."""
    columns = columns.astype(np.float64)
    middle = np.median(columns)
    distance = np.abs(columns - middle)
    good = distance <= sigreject * (MAD_TO_SIGMA * np.median(distance))
    return (columns * good).sum(axis=1) / BORDER, good.sum(axis=1) / BORDER


def _templates(frame, kernels, sigreject):
    """What to subtract from the rows of each amplifier: (4, rows) float64 [DN]."""
    sides = _side_means(frame[:, :BORDER], sigreject), _side_means(frame[:, -BORDER:], sigreject)
    templates = np.zeros((kernels.shape[1], len(frame)))
    everything = np.ones(len(frame))
    for (mean, part), of_side in zip(sides, kernels, strict=True):
        for template, kernel in zip(templates, of_side, strict=True):
            norm = np.convolve(everything, kernel, mode="same") / np.convolve(part, kernel, mode="same")
            template += np.convolve(mean, kernel, mode="same") * norm
    return templates


def _as_read(frame, detector):
    """View of an image in the orientation of the readout."""
    fast, slow = ORIENTATION[detector]
    if abs(fast) == 1:
        return frame[:: 1 if slow > 0 else -1, :: 1 if fast > 0 else -1]
    return frame[:: 1 if fast > 0 else -1, :: 1 if slow > 0 else -1].T


def subtract_side_convolution_in_place(data, detector, kernels, sigreject=4.0, threads=None):
    """Subtract the drift from row to row from full frames.

    Parameters
    ----------
    data : (..., 2048, 2048) float32
        Counts without the offsets of the amplifiers [DN], in the orientation of the image; changed.
    detector : str
        A key of `upramp.kernels.refpix.ORIENTATION`.
    kernels : (2, 4, n) float64
        From `side_kernels`.
    sigreject : float
        Limit for bad side pixels [standard deviations].
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        Not full frames that can be written to.
    """
    require_in_place(data, "data", np.float32, data.ndim)
    frames = data.reshape(-1, SIZE, SIZE)

    def correct(first, last):
        for k in range(first, last):
            frame = _as_read(frames[k], detector)
            for amplifier, template in enumerate(_templates(frame, kernels, sigreject)):
                frame[:, amplifier * AMPLIFIER : (amplifier + 1) * AMPLIFIER] -= template[:, None]

    run_rows(correct, len(frames), threads=threads, block=1)

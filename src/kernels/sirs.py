"""SIRS: the drift from row to row as a convolution of the side reference pixels with kernels of each amplifier.

"Simple improved reference subtraction" takes the means of the left and of the right reference columns of every row,
without outliers, and convolves them with kernels that were optimised on darks; the sum is subtracted from the rows of
an amplifier. It stands in the place of the running median of `upramp.kernels.refpix`, after the amplifier offsets. Both
are functions of the reference pixels, and are subtracted in one pass.

Here rows and columns are those of the readout: rows in the slow direction, the four amplifiers along the columns, so
that mirrored images are turned.

Source: Rauscher et al. (2022), arXiv:2208.13016; reference behaviour, which looks at no flags: bad reference pixels are
those far from the median.
"""

import numpy as np

from upramp.kernels._jit import helper, kernel, run_rows
from upramp.kernels._layout import ShapeError, as_canonical
from upramp.kernels._line_medians import _select
from upramp.kernels._refpix_statistics import AMPLIFIER, BORDER, SIZE
from upramp.kernels._rows import copy_row, fill_row
from upramp.kernels._tiles import require_in_place, run_tile
from upramp.kernels.refpix import ORIENTATION, cut_edges, edge_corrections

__all__ = ["correct_by_convolution_in_place", "side_kernels"]

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
    kernels = np.fft.irfft(np.stack((gamma, zeta)))[..., x]  # its first element is the centre
    for taps in kernels.reshape(-1, x.size):
        taps[:] = np.convolve(taps, window, mode="same")
    return kernels


@helper
def _median(values, keys, scratch, counts):
    """Median of float64 numbers without NaN; ``keys`` (float64) and ``scratch`` (uint64) have as many elements."""
    n, sign = values.size, np.uint64(1 << 63)
    words = keys.view(np.uint64)
    for k in range(n):
        keys[k] = values[k]
        # Bits of floats are in order once those of negative ones are all turned, and the sign of the others.
        words[k] = ~words[k] if words[k] & sign else words[k] | sign
    low = _select(words, n, (n - 1) // 2, scratch, counts)
    up_to, high = 0, np.uint64(0xFFFFFFFFFFFFFFFF)
    for k in range(n):
        up_to += words[k] <= low
        high = min(high, words[k] if words[k] > low else high)
    high = low if up_to > n // 2 else high
    words[0], words[1] = low, high
    for k in range(2):
        words[k] = words[k] ^ sign if words[k] & sign else ~words[k]
    return 0.5 * (keys[0] + keys[1])


@helper
def _side_means(mean, part, side, sigreject, distances, keys, scratch, counts):
    """Mean of the four pixels (4, 2048) of every row with outliers as 0, and the part of them that are none."""
    middle = _median(side.ravel(), keys, scratch, counts)
    missing = False
    for x in range(BORDER):
        pixels, far = side[x], distances[x]
        for r in range(SIZE):
            far[r] = abs(pixels[r] - middle)
            missing |= pixels[r] != pixels[r]
    reach = np.nan if missing else sigreject * (MAD_TO_SIGMA * _median(distances.ravel(), keys, scratch, counts))
    fill_row(mean, 0.0)
    fill_row(part, 0.0)
    for x in range(BORDER):
        pixels, far = side[x], distances[x]
        for r in range(SIZE):
            good = far[r] <= reach
            mean[r] += pixels[r] if good else 0.0
            part[r] += 1.0 if good else 0.0
    for r in range(SIZE):
        mean[r] /= BORDER
        part[r] /= BORDER


@kernel
def convolve(out, values, taps, padded):
    """Convolution as long as the values, which are 0 beyond their ends: `numpy.convolve` with mode "same".

    ``padded`` is scratch for the values and as many zeros as there are taps.
    """
    n, m = values.size, taps.size
    before = m // 2
    fill_row(padded[:before], 0.0)
    copy_row(padded[before : before + n], values)
    fill_row(padded[before + n :], 0.0)
    fill_row(out, 0.0)
    for k in range(0, m - 3, 4):
        a, b, c, d = taps[m - 1 - k], taps[m - 2 - k], taps[m - 3 - k], taps[m - 4 - k]
        p, q, r, s = padded[k : k + n], padded[k + 1 : k + 1 + n], padded[k + 2 : k + 2 + n], padded[k + 3 : k + 3 + n]
        for x in range(n):
            out[x] += (a * p[x] + b * q[x]) + (c * r[x] + d * s[x])
    for k in range(m // 4 * 4, m):
        a, p = taps[m - 1 - k], padded[k : k + n]
        for x in range(n):
            out[x] += a * p[x]


@helper
def _convolve_parts(out, part, whole, taps, padded):
    """Convolution of ``part``, which is 1 nearly everywhere, where that of ones is known."""
    n, before = part.size, (taps.size - 1) // 2
    bad = 0
    for r in range(n):
        bad += part[r] != 1
    # Where all rows under a kernel may be bad the sum has to be exactly 0: dense.
    if bad > taps.size // 2:
        convolve(out, part, taps, padded)
        return
    copy_row(out, whole)
    for r in range(n):
        if part[r] != 1:
            for k in range(max(before - r, 0), min(n + before - r, taps.size)):
                out[r + k - before] -= taps[k] * (1 - part[r])


@helper
def _copy_line(line, source, backwards):
    """``line[:] = source``, or the source backwards."""
    if not backwards:
        copy_row(line, source)
        return
    for r in range(line.size):
        line[r] = source[line.size - 1 - r]


@helper
def _read_side(side, edge, offset, right, layout, zero, single):
    """Pixels (4, 2048) of one side without the offsets of their amplifiers, in the order of the readout.

    With ``zero`` pixels that are 0 stay so; ``single`` rounds to float32.
    """
    along_rows, fast_turned, slow_turned = layout
    for x in range(BORDER):
        place = right * BORDER + x
        place = 2 * BORDER - 1 - place if fast_turned else place
        shift = offset[place if place < BORDER else SIZE - 2 * BORDER + place]
        pixels = side[x]
        _copy_line(pixels, edge[place] if along_rows else edge[:, place], slow_turned)
        for r in range(SIZE):
            step = 0.0 if zero and pixels[r] == 0 else pixels[r] - shift
            pixels[r] = np.float32(step) if single else step


@kernel
def templates_block(first, last, templates, edges, offsets, kernels, whole, layout, zero, sigreject):
    """What to subtract from the rows of each amplifier for frames first ... last - 1: templates (frame, 4, 2048) [DN].

    ``edges`` are the lines with the side pixels, (frame, 8, 2048) where the amplifiers lie along the rows, else (frame,
    2048, 8), and ``offsets`` (frame, 2048) those of the amplifiers, as are the templates in the order of the image:
    ``layout`` says whether amplifiers lie along the rows, and whether the image is turned in the fast and in the slow
    direction of the readout. ``whole`` (2, 4, 2048) is what the kernels make of ones.
    """
    side, distances = np.empty((BORDER, SIZE), np.float64), np.empty((BORDER, SIZE), np.float64)
    keys, scratch = np.empty(side.size, np.float64), np.empty(side.size, np.uint64)
    counts = np.empty(256, np.int64)
    mean, part = np.empty(SIZE, np.float64), np.empty(SIZE, np.float64)
    of_mean, of_part = np.empty(SIZE, np.float64), np.empty(SIZE, np.float64)
    padded = np.empty(SIZE + kernels.shape[2], np.float64)
    _, fast_turned, slow_turned = layout
    n_amplifiers = templates.shape[1]
    of_amplifier = np.empty((n_amplifiers, SIZE), np.float64)
    for k in range(first, last):
        for right in range(2):
            _read_side(side, edges[k], offsets[k], right, layout, zero, k == 0 and not zero)
            _side_means(mean, part, side, sigreject, distances, keys, scratch, counts)
            for a in range(n_amplifiers):
                taps, of_ones, template = kernels[right, a], whole[right, a], of_amplifier[a]
                convolve(of_mean, mean, taps, padded)
                _convolve_parts(of_part, part, of_ones, taps, padded)
                if right == 0:
                    fill_row(template, 0.0)
                for r in range(SIZE):
                    template[r] += of_mean[r] * (of_ones[r] / of_part[r])
        for a in range(n_amplifiers):
            _copy_line(templates[k, n_amplifiers - 1 - a if fast_turned else a], of_amplifier[a], slow_turned)


@helper(counted=False)
def _subtract_along_rows(row, offset, template, zero, single):
    """An offset for the row, and a template value for every sample."""
    if zero:
        for x in range(row.size):
            row[x] = row[x] if row[x] == 0 else np.float32((row[x] - offset) - template[x])
    elif single:
        for x in range(row.size):
            row[x] = np.float32(row[x] - offset) - template[x]
    else:
        for x in range(row.size):
            row[x] = (row[x] - offset) - template[x]


@helper(counted=False)
def _subtract_across_rows(row, offset, template, zero, single):
    """An offset for every sample, and a template value for the row."""
    if zero:
        for x in range(row.size):
            row[x] = row[x] if row[x] == 0 else np.float32((row[x] - offset[x]) - template)
    elif single:
        for x in range(row.size):
            row[x] = np.float32(row[x] - offset[x]) - template
    else:
        for x in range(row.size):
            row[x] = (row[x] - offset[x]) - template


@kernel
def subtract_offsets_and_templates_tile(frames, offsets, templates, along_rows, zero, first, last, left, right):
    """Subtract offsets (frame, 2048) and then templates (frame, 4, 2048), in the order of the image, in float64.

    The amplifiers lie side by side: there is an offset for every column, and a template value for every row. Or they
    lie ``along_rows``, one above the other. The samples are rounded once, those of the first frame after each step
    (reference behaviour). With ``zero`` they are a ZEROFRAME: zeros stay, and the first frame is like the others.
    """
    for k in range(frames.shape[0]):
        for r in range(first, last):
            if along_rows:
                template = templates[k, r // AMPLIFIER, left:right]
                _subtract_along_rows(frames[k, r, left:right], offsets[k, r], template, zero, k == 0)
                continue
            for amplifier in range(left // AMPLIFIER, (right - 1) // AMPLIFIER + 1):
                a, b = max(left, amplifier * AMPLIFIER), min(right, (amplifier + 1) * AMPLIFIER)
                drift = templates[k, amplifier, r]
                _subtract_across_rows(frames[k, r, a:b], offsets[k, a:b], drift, zero, k == 0)


def _of_ones(kernels):
    """What kernels (2, 4, n) make of 2048 ones: (2, 4, 2048)."""
    # All values that are not near an end are the same: it takes no more ones than to get one of them.
    length = min(2 * kernels.shape[2], SIZE)
    found, ones, padded = np.empty((*kernels.shape[:2], length)), np.ones(length), np.empty(length + kernels.shape[2])
    for out, taps in zip(found.reshape(-1, length), kernels.reshape(-1, kernels.shape[2]), strict=True):
        convolve(out, ones, taps, padded)
    middle = length // 2
    return np.repeat(found, [SIZE - length + 1 if k == middle else 1 for k in range(length)], axis=-1)


def correct_by_convolution_in_place(
    data,
    pixeldq,
    detector,
    kernels,
    *,
    odd_even_columns=True,
    siglimit=3.0,
    sigreject=4.0,
    zeroframe=None,
    threads=None,
):
    """Subtract amplifier offsets, and the drift from row to row by convolution, from full frames.

    Parameters
    ----------
    data : (nint, ngroup, 2048, 2048) float32
        Superbias-subtracted counts [DN], in the orientation of the image; changed.
    pixeldq : (2048, 2048) uint32
        Pixel flags: DO_NOT_USE excludes a reference pixel from the offsets.
    detector : str
        A key of `upramp.kernels.refpix.ORIENTATION`.
    kernels : (2, 4, n) float64
        From `side_kernels`; not longer than the frame.
    odd_even_columns, siglimit
        See `upramp.kernels.refpix.correct_reference_pixels`.
    sigreject : float
        Limit for bad side pixels [standard deviations].
    zeroframe : (nint, 2048, 2048) float32, optional
        First reads [DN], 0 where unusable; changed.
    threads : int or None
        Number of threads; None for all cores.

    Raises
    ------
    ShapeError, DTypeError
        Not full frames that can be written to, or kernels of another shape; nothing has been written.
    """
    require_in_place(data, "data", np.float32, 4, (*np.shape(data)[:2], SIZE, SIZE))
    pixeldq = as_canonical(pixeldq, "pixeldq", np.uint32, 2, (SIZE, SIZE))
    kernels = np.array(kernels, np.float64)
    if kernels.ndim != 3 or kernels.shape[:2] != (2, SIZE // AMPLIFIER) or not 0 < kernels.shape[2] <= SIZE:
        raise ShapeError(f"kernels have shape {kernels.shape}; expected (2, 4, n) with n up to {SIZE}: see halfwidth")
    ramps = [data]
    if zeroframe is not None:
        require_in_place(zeroframe, "zeroframe", np.float32, 3, (len(data), SIZE, SIZE))
        ramps.append(zeroframe[:, np.newaxis])
    fast, slow = ORIENTATION[detector]
    layout, whole = (abs(fast) == 2, fast < 0, slow < 0), _of_ones(kernels)
    parameters = {"odd_even_columns": odd_even_columns, "siglimit": siglimit, "use_side_ref_pixels": False}
    for ramp in ramps:
        zero, along_rows = ramp is not data, layout[0]
        edges = cut_edges(ramp, pixeldq)
        corrections = edge_corrections(edges, fast, slow, single_first=not zero, threads=threads, **parameters)
        offsets = (corrections.by_row if along_rows else corrections.by_column).reshape(-1, SIZE)
        if not zero:
            offsets[0] = offsets[0].astype(np.float32)  # as in `upramp.kernels.refpix`
        frames = ramp.reshape(-1, SIZE, SIZE)
        sides = edges.rows if along_rows else edges.columns
        sides = sides.reshape(len(frames), *sides.shape[2:])
        templates = np.empty((len(frames), kernels.shape[1], SIZE))
        measured = templates, sides, offsets, kernels, whole, layout, zero, float(sigreject)
        run_rows(templates_block, len(frames), *measured, threads=threads, block=1)
        run_tile(
            subtract_offsets_and_templates_tile,
            frames,
            offsets,
            templates,
            along_rows,
            zero,
            threads=threads,
            block=128,
        )

"""Reference-pixel corrections of whole frames in the order in which the detector is read, nothing shared.

The image is turned into the frame of the detector by flips and a transposition, embedded in 2048 x 2048 pixels,
corrected and turned back: the first group, groups without side correction and single amplifiers in float32.
"""

import numpy as np

DO_NOT_USE, REFERENCE_PIXEL = 1, 2**31


def clipped_mean(values, limit):
    """None for no values; in the precision of the values."""
    if not values.size:
        return None
    if np.all(values == values[0]):
        return values[0]
    while values.size:
        mean, reach = values.mean(), limit * values.std()
        kept = values[(values >= mean - reach) & (values <= mean + reach)]
        if len(kept) == len(values):
            break
        values = kept
    return values.mean() if values.size else values.dtype.type(np.nan)


def to_detector(image, fast, slow):
    """Rows along the slow, columns along the fast direction."""
    if abs(fast) == 1:
        return image[:: np.sign(slow), :: np.sign(fast)]
    return image[:: np.sign(fast), :: np.sign(slow)].T


def to_image(frame, fast, slow):
    """The inverse."""
    if abs(fast) == 1:
        return frame[:: np.sign(slow), :: np.sign(fast)]
    return frame.T[:: np.sign(fast), :: np.sign(slow)]


def running_median(values, good, length):
    """Along the rows of (2048, 4)."""
    half = length // 2
    rows = np.arange(-half, 2048 + half)
    rows = np.where(rows < 0, -rows, np.where(rows > 2047, 4094 - rows, rows))
    out = np.full(2048, np.nan)
    for r in range(2048):
        window = rows[r : r + length]
        chosen = values[window][good[window]]
        if chosen.size:
            out[r] = np.median(chosen)
    return out


def correct_group(frame, good, odd_even, sides, length, gain, limit, is_first):
    """Full frame in detector orientation; single precision, but for later groups of which the sides are subtracted."""
    frame = frame.astype(np.float64 if sides and not is_first else np.float32)
    for amplifier in range(4):
        signals = {}
        for parity in range(2) if odd_even else [None]:
            columns = np.arange(amplifier * 512, amplifier * 512 + 512)
            if parity is not None:
                columns = columns[parity::2]
            ends = []
            for rows in (slice(0, 4), slice(2044, 2048)):
                mean = clipped_mean(frame[rows, columns][good[rows, columns]], limit)
                ends += [] if mean is None else [mean]
            signals[parity] = (columns, np.mean(ends) if ends else None)
        if all(signal is not None for _, signal in signals.values()):
            for columns, signal in signals.values():
                frame[:, columns] -= signal
    if sides:
        with np.errstate(all="ignore"):
            left = running_median(frame[:, :4], good[:, :4], length)
            right = running_median(frame[:, -4:], good[:, -4:], length)
        left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
        frame = frame - gain * np.nan_to_num(0.5 * (left + right))[:, None]
    return frame


def correct_single_amplifier(frame, good, odd_even, limit):
    """``good``: usable reference pixels anywhere."""
    parity = np.broadcast_to(np.arange(2048) % 2, good.shape)
    means = [clipped_mean(frame[good & ((parity == p) | (not odd_even))], limit) for p in range(2)]
    return frame if None in means else frame - np.array(means)[parity]


def correct(
    data, pixeldq, orientation, row0, column0, amplifiers, odd_even, sides, length, gain, limit, single_first=True
):
    """A ramp of any size, or (not ``single_first``) ZEROFRAMEs; returns float32."""
    ny, nx = pixeldq.shape
    inside = np.s_[row0 : row0 + ny, column0 : column0 + nx]
    flags = np.full((2048, 2048), DO_NOT_USE, np.uint32)
    flags[inside] = pixeldq
    flags = to_detector(flags, *orientation)
    good = (flags & DO_NOT_USE) == 0
    out = np.empty_like(data)
    for index in np.ndindex(data.shape[:2]):
        image = np.zeros((2048, 2048), np.float32)
        image[inside] = data[index]
        frame = to_detector(image, *orientation)
        if amplifiers == 4:
            frame = correct_group(frame, good, odd_even, sides, length, gain, limit, single_first and index == (0, 0))
        else:
            frame = correct_single_amplifier(frame, good & ((flags & REFERENCE_PIXEL) != 0), odd_even, limit)
        out[index] = to_image(frame, *orientation)[inside]
    return out

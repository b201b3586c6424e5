"""Striped readouts told line by line: slow and obvious."""

import numpy as np

__all__ = ["amplifier_means", "lines_of_position", "reassembled"]


def lines_of_position(pattern, first, n_lines, position, slow_axis):
    """(lines of the full image, numbers of their stripes or -1), in the order of the image."""
    reads2 = pattern.reads2 if pattern.reads2 > 0 else pattern.step
    found = []  # (line of the detector in the order of reading, stripe)

    def read(head, count, stripe):
        found.extend((head + k, stripe) for k in range(count))
        return head + count

    head = read(first, pattern.reads1, -1)
    stripe = 0
    head = read(head + pattern.skips1 + pattern.step * position, reads2, stripe)
    more = pattern.skips1
    while len(found) < n_lines:
        stripe += 1
        if pattern.repeat:
            head = read(first, pattern.reads1, -1)
            more += pattern.skips2 + reads2
            head += more if pattern.interleave else pattern.skips1 + pattern.step * position
        else:
            head += pattern.skips2
        head = read(head, reads2, stripe)
    if slow_axis < 0:
        found = [(2047 - line, stripe) for line, stripe in reversed(found)]
    return tuple(map(list, zip(*found, strict=True)))


def reassembled(array, positions, first, n_lines, fill):
    """Image by image and line by line: array (integration, group, line, x), positions as of `lines_of_position`."""
    n_stripes = max(stripe for _, stripes in positions for stripe in stripes) + 1
    n = len(positions)
    ni, ng, _, nx = array.shape
    out = np.full((ni // n, ng * n_stripes, n_lines, nx), fill, array.dtype)
    for i in range(ni):
        for g in range(ng):
            for k, (line, stripe) in enumerate(zip(*positions[i % n], strict=True)):
                if stripe >= 0:
                    out[i // n, g * n_stripes + stripe, line - first] = array[i, g, k]
    return out


def amplifier_means(frame, usable, start, odd_even, clipped_mean, limit):
    """A frame in the order of reading, without the means of its amplifiers; ``usable`` reference pixels anywhere."""
    out = frame.astype(float)
    columns = np.arange(frame.shape[1])
    for amplifier in range(4):
        inside = (columns + start) // 512 == amplifier
        parts = [inside & (columns % 2 == p) for p in range(2)] if odd_even else [inside]
        means = [clipped_mean(frame[usable & part], limit) for part in parts]
        if None in means:
            continue
        for part, mean in zip(parts, means, strict=True):
            out[:, part] -= mean
    return out

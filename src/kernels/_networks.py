"""Sorting networks: which rows are compared does not depend on what they hold."""

__all__ = ["exchanges", "median_exchanges"]


def exchanges(n):
    """Compare-exchanges, pairs of lower and upper row in order, of Batcher's odd-even merge network for ``n`` rows."""
    pairs = []
    run = 1
    while run < n:
        distance = run
        while distance >= 1:
            for start in range(distance % run, n - distance, 2 * distance):
                for row in range(start, min(start + distance, n - distance)):
                    if row // (2 * run) == (row + distance) // (2 * run):
                        pairs.append((row, row + distance))
            distance //= 2
        run *= 2
    return pairs


def median_exchanges(n):
    """Those of them that the rows in the middle depend on."""
    needed = {(n - 1) // 2, n // 2}
    chosen = []
    for pair in reversed(exchanges(n)):
        if needed.intersection(pair):
            needed.update(pair)
            chosen.append(pair)
    return chosen[::-1]

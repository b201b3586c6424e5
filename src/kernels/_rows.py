"""Loops over a row that several kernels need.

Assignments are such loops too: numba compiles ``row[:] = other`` with a check of shapes that can format an error
message; that takes it a second for every kernel that contains one.
"""

from upramp.kernels._jit import helper

__all__ = ["any_above", "copy_row", "fill_row", "insert", "lower_row"]


@helper(counted=False)
def any_above(row, limit):
    """Whether any element is above a limit; NaN is not."""
    found = False
    for x in range(row.size):
        found |= row[x] > limit
    return found


@helper(counted=False)
def fill_row(row, value):
    """``row[:] = value``."""
    for x in range(row.size):
        row[x] = value


@helper(counted=False)
def copy_row(row, source):
    """``row[:] = source``; the source has the length of the row or more."""
    for x in range(row.size):
        row[x] = source[x]


@helper
def insert(values, n, value):
    """Put a value into the ascending values[:n], behind those that are equal."""
    k = n
    while k > 0 and values[k - 1] > value:
        values[k] = values[k - 1]
        k -= 1
    values[k] = value


@helper(counted=False)
def lower_row(row, other):
    """``row[:] = minimum(row, other)``; the other has the length of the row or more."""
    for x in range(row.size):
        row[x] = min(row[x], other[x])

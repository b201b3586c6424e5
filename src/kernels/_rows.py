"""Assignments to rows, for compiled code.

numba compiles ``row[:] = other`` with a check of shapes that can format an error message; that takes it a second for
every kernel that contains one.
"""

from upramp.kernels._jit import helper

__all__ = ["copy_row", "fill_row"]


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

"""The stepwise schedule: run a tile operation over whole frames.

A tile operation is a compiled function whose last four arguments are a region, rows ``first`` to ``last`` and
columns ``left`` to ``right`` (exclusive) of the arrays before them. It writes inside its region only. Where it
looks at neighbours, "outside the array" means outside the detector, so that a caller with a small tile gives
it a margin and the same function serves whole frames and tiles.
"""

from types import SimpleNamespace

import numpy as np

from upramp.kernels._jit import run_rows
from upramp.kernels._layout import DTypeError, as_canonical

__all__ = ["require_images_in_place", "require_in_place", "run_tile"]


def run_tile(tile, *arguments, threads=None, block=64):
    """Call ``tile(*arguments, first, last, 0, n_columns)`` over blocks of rows; returns the sum of what it returns.

    The first argument is an array whose last two axes are the rows and columns.
    """
    n_rows, n_columns = arguments[0].shape[-2:]
    arguments = [_unlocked(argument) for argument in arguments]
    results = []

    def rows(first, last):
        results.append(tile(*arguments, first, last, 0, n_columns))

    run_rows(rows, n_rows, threads=threads, block=block)
    return sum(result for result in results if result is not None)


def require_in_place(array, name, dtype, ndim, shape=None):
    """Raise unless a kernel can write straight into ``array``: native, C order, writable, exactly ``dtype``.

    And of a certain ``shape``, if one is given.

    Raises
    ------
    ShapeError, DTypeError
        Wrong number of dimensions, or shape; wrong type, byte order or memory order; read-only.
    """
    canonical = as_canonical(array, name, dtype, ndim, shape)
    if not np.may_share_memory(canonical, array) and canonical.size:
        raise DTypeError(
            f"{name} is {array.dtype.str} and {'' if array.flags.c_contiguous else 'not '}C-contiguous; changing it "
            f"in place needs a native C-ordered {np.dtype(dtype)} array: use the copying function instead"
        )
    if not array.flags.writeable:
        raise DTypeError(f"{name} is read-only; changing it in place needs a writable array: pass a copy")


def require_images_in_place(images, shape):
    """`require_in_place` for images (n, ny, nx) of a shape, by name: ``dq`` uint32, the others float32."""
    for name, array in images.items():
        require_in_place(array, name, np.uint32 if name == "dq" else np.float32, 3, shape)


def _unlocked(argument):
    """View of a read-only array that numba does not tell from a writable one.

    numba compiles a second signature for read-only arrays. Tile operations write to their outputs alone, and
    those have passed `require_in_place`.
    """
    if not isinstance(argument, np.ndarray) or argument.flags.writeable:
        return argument
    interface = dict(argument.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return np.asarray(SimpleNamespace(__array_interface__=interface, owner=argument))

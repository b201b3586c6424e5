"""Checks that every public kernel function makes before it touches anything: dtype, dimensions, agreement, numbers.

Kernels are compiled for one layout: C order, native byte order, float32 data, uint8 group flags, uint32 pixel
flags. What a caller has in another layout is converted here (a copy); what cannot be meant is refused.
"""

from numbers import Real

import numpy as np

__all__ = [
    "DTypeError",
    "ParameterError",
    "ShapeError",
    "UprampError",
    "as_canonical",
    "as_count",
    "as_time",
    "check_shape",
    "writable_copy",
]


class UprampError(Exception):
    """Base of every error raised on purpose; its message says what was found, expected and how to fix it."""


class ShapeError(UprampError, ValueError):
    """Arrays disagree in shape, or have the wrong number of dimensions."""


class DTypeError(UprampError, TypeError):
    """An array has a type that the function does not take."""


class ParameterError(UprampError, ValueError):
    """A number or a name that a function is called with is none that it takes."""


def as_canonical(array, name, dtype, ndim, shape=None):
    """Return ``array`` as native C-ordered ``dtype`` with ``ndim`` dimensions, without a copy where it is so already.

    Of a certain ``shape``, if one is given.

    Raises
    ------
    ShapeError, DTypeError
        Wrong number of dimensions, or shape; or a kind that does not convert safely (float flags, complex data, text,
        flags out of range, masked elements).
    """
    if isinstance(array, np.ndarray) and np.any(getattr(array, "mask", False)):  # numpy.ma takes long to import
        raise DTypeError(
            f"{name} is a masked array with masked elements, which would count as ordinary ones; expected an array: "
            "give array.filled(...), and flag what is bad"
        )
    array = np.asarray(array)
    dtype = np.dtype(dtype)
    if array.ndim != ndim:
        raise ShapeError(f"{name} has {array.ndim} dimensions {array.shape}; expected {ndim}")
    wanted = "biuf" if dtype.kind == "f" else "biu"
    if array.dtype.kind not in wanted:
        raise DTypeError(f"{name} has dtype {array.dtype}; expected {dtype} or something that converts to it")
    if shape is not None:
        check_shape(array, name, shape)
    if dtype.kind == "u":
        _check_range(array, name, dtype)
    return np.ascontiguousarray(array, dtype=dtype)


def _check_range(array, name, dtype):
    """Refuse flags that do not fit; signed flags of the same width are the same bits, as FITS readers give them."""
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind == "b" or width == dtype.itemsize or (kind == "u" and width < dtype.itemsize) or array.size == 0:
        return
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(dtype).max:
        raise DTypeError(
            f"{name} ({array.dtype}) has values from {low} to {high}; expected flags that fit {dtype}, "
            f"0 to {np.iinfo(dtype).max}"
        )


def writable_copy(array, name, dtype, ndim):
    """Like `as_canonical`, but always a fresh array that may be written to."""
    canonical = as_canonical(array, name, dtype, ndim)
    return canonical.copy() if canonical is array or canonical.base is not None else canonical


def check_shape(array, name, shape):
    """Raise ShapeError unless ``array.shape`` equals ``shape``."""
    if array.shape != tuple(shape):
        raise ShapeError(f"{name} has shape {array.shape}; expected {tuple(shape)}")


def as_time(value, name):
    """Return a positive number (of seconds) as a plain float: kernels are compiled for one type.

    Raises
    ------
    ParameterError
        It is none.
    """
    if not (isinstance(value, Real) and 0 < value < np.inf):
        raise ParameterError(f"{name} is {value!r}; expected a positive time in seconds")
    return float(value)


def as_count(value, name):
    """Return a whole number from 1 on, which may be a floating-point one, as a plain int.

    Raises
    ------
    ParameterError
        It is none.
    """
    if not (isinstance(value, Real) and 1 <= value < 2**31 and value == int(value)):
        raise ParameterError(f"{name} is {value!r}; expected a whole number, 1 or more")
    return int(value)

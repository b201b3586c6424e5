"""New arrays in compiled code.

For ``np.empty`` and ``np.zeros`` numba compiles functions of their own, for every kind of shape and of numbers, which
made up a fifth of the time that the kernels of a chain take to compile. These are a few instructions in their caller.
"""

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.extending import lower_builtin, type_callable
from numba.core.imputils import impl_ret_new_ref

__all__ = ["empty", "zeros"]


def empty(shape, dtype):
    """``np.empty``: the shape is an integer or a tuple of them, the dtype a class of numpy."""
    return np.empty(shape, dtype)


def zeros(shape, dtype):
    """``np.zeros``, in the same way."""
    return np.zeros(shape, dtype)


@type_callable(empty)
@type_callable(zeros)
def _type_new(context):
    def typed(shape, dtype):
        if not isinstance(dtype, types.NumberClass):
            return None
        if isinstance(shape, types.Integer):
            return types.Array(dtype.instance_type, 1, "C")
        if isinstance(shape, types.BaseTuple) and all(isinstance(length, types.Integer) for length in shape.types):
            return types.Array(dtype.instance_type, shape.count, "C")
        return None

    return typed


def _allocate(context, builder, sig, args):
    from numba.np.arrayobj import _empty_nd_impl, _parse_shape  # 40 ms: only for who compiles

    return _empty_nd_impl(context, builder, sig.return_type, _parse_shape(context, builder, sig.args[0], args[0]))


@lower_builtin(empty, types.Any, types.Any)
def _lower_empty(context, builder, sig, args):
    array = _allocate(context, builder, sig, args)
    return impl_ret_new_ref(context, builder, sig.return_type, array._getvalue())


@lower_builtin(zeros, types.Any, types.Any)
def _lower_zeros(context, builder, sig, args):
    array = _allocate(context, builder, sig, args)
    cgutils.memset(builder, array.data, builder.mul(array.itemsize, array.nitems), 0)
    return impl_ret_new_ref(context, builder, sig.return_type, array._getvalue())

"""Calls from one compiled kernel into another by address, so that the caller does not contain the callee.

numba puts the code of every function that a function calls into its own module and optimises all of it again. The
fused driver calls some thirty kernels through several levels; compiled that way it took 120 s. By address the driver
takes a few seconds, besides the kernels themselves. A call costs nothing measurable for a tile, but the callee is not
inlined, and its argument types must be declared: `Table` checks every call against them when the caller is compiled.
"""

from types import SimpleNamespace

import numba
import numpy as np
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

__all__ = ["Table", "call", "call_counting"]

_DECLARED = {}


class Table:
    """Kernels that other compiled code calls by address: name -> kernel and its argument types.

    Their addresses go into compiled code as a record. (A named tuple made here would do but for the cache on disk: its
    class is another one in every process, and then so is the signature of every kernel that takes it.)

    Parameters
    ----------
    **kernels : (function, argument types)
        Names are unique in the process.
    """

    def __init__(self, **kernels):
        self._kernels = kernels
        self.dtype = np.dtype([(name, np.int64) for name in kernels])
        self.type = from_dtype(self.dtype)
        _DECLARED.update(kernels)

    @property
    def names(self):
        """Names of the kernels."""
        return list(self._kernels)

    def function(self, name):
        """The kernel of that name."""
        return self._kernels[name][0]

    def compile(self, name):
        """Compile a kernel, or load it from the cache."""
        function, argument_types = self._kernels[name]
        if argument_types not in function.overloads:
            function.compile(argument_types)

    def addresses(self, wanted=None):
        """Addresses of the kernels, compiled or from the cache; 0 for those that are not wanted.

        Without compilation (NUMBA_DISABLE_JIT) the functions themselves, which `call` then calls.
        """
        if numba.config.DISABLE_JIT:
            return SimpleNamespace(**{name: function for name, (function, _) in self._kernels.items()})
        record = np.zeros(1, self.dtype)[0]
        for name in self._kernels if wanted is None else wanted:
            self.compile(name)
            record[name] = _address(*self._kernels[name])
        return record


def _address(function, argument_types):
    compiled = function.overloads[argument_types]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def _typed(result, table, name, arguments):
    """Signature of the intrinsic; the types of the call must be those that were declared."""
    if not isinstance(name, types.StringLiteral):
        raise TypingError("the name of the kernel must be a literal")
    given = tuple(types.unliteral(one) for one in arguments.types)
    declared = _DECLARED[name.literal_value][1]
    if given != declared:
        raise TypingError(f"{name.literal_value} is called with {given}; declared are {declared}")
    return result(table, name, types.Tuple(given))


def _borrowed(context, builder, kind, value):
    """An array without its reference count: the caller holds it, and the callee must not keep it.

    Every slice of an array counts its references in atomic steps, which took 5 % of the time of the chain.
    """
    if not isinstance(kind, types.Array):
        return value
    array = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    for owner in ("meminfo", "parent"):
        setattr(array, owner, cgutils.get_null_value(getattr(array, owner).type))
    return array._getvalue()


def _generate(context, builder, signature, values):
    table, name, argument_types = signature.args[0], signature.args[1].literal_value, signature.args[2].types
    field = cgutils.get_record_member(builder, values[0], table.offset(name), context.get_data_type(types.int64))
    address = context.unpack_value(builder, types.int64, field)
    convention = context.call_conv
    pointer = convention.get_function_type(signature.return_type, argument_types).as_pointer()
    function = builder.inttoptr(address, pointer)
    arguments = [
        _borrowed(context, builder, kind, value)
        for kind, value in zip(argument_types, cgutils.unpack_tuple(builder, values[2]), strict=True)
    ]
    status, result = convention.call_function(builder, function, signature.return_type, argument_types, arguments)
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return context.get_dummy_value() if signature.return_type == types.none else result


@intrinsic(prefer_literal=True)
def _call(typing_context, table, name, arguments):
    return _typed(types.none, table, name, arguments), _generate


@intrinsic(prefer_literal=True)
def _call_counting(typing_context, table, name, arguments):
    return _typed(types.int64, table, name, arguments), _generate


def _call_function(table, name, arguments):
    return getattr(table, name)(*arguments)


call = _call_function if numba.config.DISABLE_JIT else _call
call_counting = _call_function if numba.config.DISABLE_JIT else _call_counting

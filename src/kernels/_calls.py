"""Calls from one compiled kernel into another by address, so that the caller does not contain the callee.

numba puts the code of every function that a function calls into its own module and optimises all of it again. The
fused driver calls some thirty kernels through several levels; compiled that way it took 120 s. By address the driver
takes a few seconds, besides the kernels themselves. A call costs nothing measurable for a tile, but the callee is not
inlined, and its argument types must be declared: `Table` checks every call against them when the caller is compiled.
"""

from collections import namedtuple

import numba
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

__all__ = ["Table", "call", "call_counting"]

_DECLARED = {}


class Table:
    """Kernels that other compiled code calls by address: name -> kernel and its argument types.

    Parameters
    ----------
    name : str
        Name of the tuple type that holds the addresses; one per process.
    **kernels : (function, argument types)
    """

    def __init__(self, name, **kernels):
        self._kernels = kernels
        self._type = namedtuple(name, kernels)
        _DECLARED[name] = kernels

    @property
    def names(self):
        """Names of the kernels."""
        return list(self._kernels)

    @property
    def type(self):
        """Type of the tuple of addresses in compiled code."""
        return types.NamedUniTuple(types.int64, len(self._kernels), self._type)

    def function(self, name):
        """The kernel of that name."""
        return self._kernels[name][0]

    def compile(self, name):
        """Compile a kernel, or load it from the cache."""
        function, argument_types = self._kernels[name]
        function.compile(argument_types)

    def addresses(self, wanted=None):
        """Addresses of the kernels, compiled or from the cache; 0 for those that are not wanted.

        Without compilation (NUMBA_DISABLE_JIT) the functions themselves, which `call` then calls.
        """
        if numba.config.DISABLE_JIT:
            return self._type(*(function for function, _ in self._kernels.values()))
        chosen = self._kernels if wanted is None else wanted
        return self._type(*(_address(*self._kernels[name]) if name in chosen else 0 for name in self._kernels))


def _address(function, argument_types):
    function.compile(argument_types)
    compiled = function.overloads[argument_types]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def _typed(result, table, name, arguments):
    """Signature of the intrinsic; the types of the call must be those that were declared."""
    if not isinstance(name, types.StringLiteral):
        raise TypingError("the name of the kernel must be a literal")
    table_name, given = table.instance_class.__name__, tuple(types.unliteral(one) for one in arguments.types)
    declared = _DECLARED[table_name][name.literal_value][1]
    if given != declared:
        raise TypingError(f"{name.literal_value} is called with {given}; declared are {declared}")
    return result(table, name, types.Tuple(given))


def _generate(context, builder, signature, values):
    table, name, argument_types = signature.args[0], signature.args[1].literal_value, signature.args[2].types
    address = builder.extract_value(values[0], table.instance_class._fields.index(name))
    convention = context.call_conv
    kind = convention.get_function_type(signature.return_type, argument_types)
    function = builder.inttoptr(address, kind.as_pointer())
    arguments = cgutils.unpack_tuple(builder, values[2], len(argument_types))
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

"""Sixteen pixels at once: vectors of numbers for compiled code.

A loop over a row, with another one over groups inside, keeps what it accumulates in memory: compilers make vectors of
the inner loop only. So the code that most pixels take (the search for jumps and the fit of clean ramps) names its
vectors itself: a `load` takes the numbers of 16 neighbours, operators work on each of them, and what a strip of 16
pixels needs stays in registers through all groups of all integrations. Against loops over rows of scratch the same
numbers take a third of the time; processors with shorter registers take several for each vector.

Vectors have a type of elements: float32, float64, uint8, uint32, int32 or truth values (what comparisons
give). Scalars join in if they are of that type; nothing is converted silently but plain integers. Without compilation
(NUMBA_DISABLE_JIT) the same functions work on numpy arrays of 16.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.core.extending import lower_builtin, register_model, type_callable
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from upramp.kernels._median import median_exchanges, network_exchanges, network_size

__all__ = [
    "LANES",
    "MOST_ROWS",
    "absolute",
    "any_of",
    "bits_of",
    "count_of",
    "doubles",
    "first_bit",
    "floats",
    "larger",
    "load",
    "load_some",
    "middle_rows",
    "select",
    "smaller",
    "splat",
    "sqrt",
    "store",
    "store_some",
]

LANES = 16
MOST_ROWS = 24  # that `middle_rows` takes: with more, registers run short


class Vector(types.Type):
    """Type of `LANES` numbers of one kind."""

    def __init__(self, element):
        self.element = element
        super().__init__(name=f"{LANES} x {element}")


_ELEMENTS = (types.float32, types.float64, types.uint8, types.uint32, types.int32, types.boolean)


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager, kind):
        element = manager.lookup(kind.element).get_data_type()
        super().__init__(
            manager, kind, ir.VectorType(ir.IntType(1) if kind.element == types.boolean else element, LANES)
        )


# What is called by name: typed by a function of the types, lowered to a few instructions.


def load(row, x):
    """Elements x ... x + 15 of a row; they have to be there."""
    return row[x : x + LANES].copy()


def store(row, x, vector):
    """Put a vector, or truth values as 0 and 1, into the elements x ... x + 15 of a row."""
    row[x : x + LANES] = vector


def load_some(row, x, n):
    """The first ``n`` of the elements that `load` takes, the others 0; only those have to be there."""
    vector = np.zeros(LANES, row.dtype)
    vector[:n] = row[x : x + n]
    return vector


def store_some(row, x, n, vector):
    """Put the first ``n`` elements of a vector (not of truth values) into a row."""
    row[x : x + n] = vector[:n]


def splat(value):
    """A vector of one number."""
    return np.full(LANES, value)


def select(mask, yes, no):
    """Elements of ``yes`` where the mask is true, of ``no`` elsewhere."""
    return np.where(mask, yes, no)


def absolute(vector):
    """Absolute values."""
    return np.abs(vector)


def middle_rows(values, n):
    """The two in the middle (the same one twice if ``n`` is odd) of ``n`` rows of `LANES` values, each lane by itself.

    There have to be 1 to `MOST_ROWS` rows; lanes with NaN give anything.
    """
    rows = np.sort(values[:n], axis=0)
    return rows[(n - 1) // 2], rows[n // 2]


def smaller(a, b):
    """The smaller ones of two vectors of floating-point numbers; anything where one of them is NaN."""
    return np.minimum(a, b)


def larger(a, b):
    """The larger ones; anything where one of them is NaN."""
    return np.maximum(a, b)


def sqrt(vector):
    """Square roots."""
    return np.sqrt(vector)


def doubles(vector):
    """As float64."""
    return vector.astype(np.float64)


def floats(vector):
    """Rounded to float32."""
    return vector.astype(np.float32)


def any_of(mask):
    """Whether some element is true."""
    return bool(mask.any())


def bits_of(mask):
    """Truth values as bits of an integer, the first one lowest."""
    return np.int64(mask @ (1 << np.arange(LANES)))


def count_of(mask):
    """How many elements are true."""
    return np.int64(mask.sum())


def first_bit(bits):
    """Position (uint64) of the lowest bit that is set in an integer other than 0."""
    return np.uint64((int(bits) & -int(bits)).bit_length() - 1)


def _element(kind):
    """Type of the elements of a vector, or of a scalar."""
    return kind.element if isinstance(kind, Vector) else kind


def _is_row(kind):
    return isinstance(kind, types.Array) and kind.ndim == 1 and kind.layout == "C" and kind.dtype in _ELEMENTS


@type_callable(load)
def _type_load(context):
    return lambda row, x: Vector(row.dtype) if _is_row(row) and isinstance(x, types.Integer) else None


@type_callable(store)
def _type_store(context):
    def typed(row, x, vector):
        fits = _is_row(row) and isinstance(x, types.Integer) and isinstance(vector, Vector)
        if fits and (vector.element == row.dtype or (vector.element == types.boolean and row.dtype == types.uint8)):
            return types.none
        return None

    return typed


@type_callable(load_some)
def _type_load_some(context):
    return lambda row, x, n: Vector(row.dtype) if _is_row(row) and _are_integers(x, n) else None


@type_callable(store_some)
def _type_store_some(context):
    def typed(row, x, n, vector):
        return types.none if _is_row(row) and _are_integers(x, n) and vector == Vector(row.dtype) else None

    return typed


def _are_integers(*kinds):
    return all(isinstance(kind, types.Integer) for kind in kinds)


@type_callable(splat)
def _type_splat(context):
    return lambda value: Vector(value) if value in _ELEMENTS else None


@type_callable(select)
def _type_select(context):
    def typed(mask, yes, no):
        if mask != Vector(types.boolean):
            return None
        return Vector(yes) if yes == no and yes in _ELEMENTS else _joined(yes, no)

    return typed


@type_callable(absolute)
@type_callable(sqrt)
def _type_function(context):
    return lambda vector: vector if isinstance(vector, Vector) and isinstance(vector.element, types.Float) else None


@type_callable(middle_rows)
def _type_middle(context):
    def typed(values, n):
        table = isinstance(values, types.Array) and values.ndim == 2 and values.layout == "C"
        fits = table and isinstance(values.dtype, types.Float) and isinstance(n, types.Integer)
        return types.UniTuple(Vector(values.dtype), 2) if fits else None

    return typed


@type_callable(smaller)
@type_callable(larger)
def _type_extreme(context):
    return lambda a, b: a if a == b and isinstance(a, Vector) and isinstance(a.element, types.Float) else None


@type_callable(doubles)
def _type_doubles(context):
    return lambda vector: Vector(types.float64) if isinstance(vector, Vector) else None


@type_callable(floats)
def _type_floats(context):
    return lambda vector: Vector(types.float32) if isinstance(vector, Vector) else None


@type_callable(any_of)
def _type_any(context):
    return lambda mask: types.boolean if mask == Vector(types.boolean) else None


@type_callable(bits_of)
@type_callable(count_of)
def _type_bits(context):
    return lambda mask: types.int64 if mask == Vector(types.boolean) else None


@type_callable(first_bit)
def _type_first_bit(context):
    # Unsigned: compiled code does not ask whether an index is negative.
    return lambda bits: types.uint64 if bits == types.int64 else None


def _joined(a, b):
    """Type of vectors that two operands have in common, or None."""
    if not isinstance(a, Vector):
        a, b = b, a
    if not isinstance(a, Vector):
        return None
    same = _element(b) == a.element
    plain = isinstance(b, types.Integer) and isinstance(a.element, types.Integer)
    return a if same or plain else None


def _lift(context, builder, value, kind, vector):
    """An operand as a value of the type ``vector``."""
    if isinstance(kind, Vector):
        return value
    value = context.cast(builder, value, kind, vector.element)
    if vector.element == types.boolean:
        value = builder.trunc(value, ir.IntType(1))
    shape = context.get_value_type(vector)
    one = builder.insert_element(ir.Constant(shape, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(one, ir.Constant(shape, ir.Undefined), zeros)


def _place(context, builder, kind, value, index_kind, index):
    """Pointer to an element of a row, as to a vector, and the alignment that it has at least."""
    row = context.make_array(kind)(context, builder, value)
    index = context.cast(builder, index, index_kind, types.intp)
    pointer = builder.gep(row.data, [index], inbounds=True)
    element = context.get_data_type(kind.dtype)
    size = context.get_abi_sizeof(element)
    return builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer()), size


@lower_builtin(load, types.Array, types.Integer)
def _lower_load(context, builder, sig, args):
    pointer, size = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    return builder.load(pointer, align=size)


@lower_builtin(store, types.Array, types.Integer, Vector)
def _lower_store(context, builder, sig, args):
    pointer, size = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    value = args[2]
    if sig.args[2].element == types.boolean:
        value = builder.zext(value, ir.VectorType(ir.IntType(8), LANES))
    builder.store(value, pointer, align=size)
    return context.get_dummy_value()


_FLOATING = {ir.FloatType: "f32", ir.DoubleType: "f64"}  # as LLVM has them in names of functions


def _first_lanes(context, builder, kind, n):
    """Which lanes are below n, in which ``kind`` is the type of n."""
    shape = ir.VectorType(ir.IntType(32), LANES)
    n = context.cast(builder, n, kind, types.int32)
    one = builder.insert_element(ir.Constant(shape, ir.Undefined), n, ir.Constant(ir.IntType(32), 0))
    limits = builder.shuffle_vector(one, ir.Constant(shape, ir.Undefined), ir.Constant(shape, None))
    return builder.icmp_signed("<", ir.Constant(shape, list(range(LANES))), limits)


def _masked(builder, name, result, args, element):
    """Call one of LLVM's loads or stores of some lanes."""
    suffix = f"i{element.width}" if isinstance(element, ir.IntType) else _FLOATING[type(element)]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [arg.type for arg in args]), f"llvm.masked.{name}.v{LANES}{suffix}.p0"
    )
    return builder.call(function, args)


@lower_builtin(load_some, types.Array, types.Integer, types.Integer)
def _lower_load_some(context, builder, sig, args):
    pointer, size = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    kind = context.get_value_type(sig.return_type)
    mask = _first_lanes(context, builder, sig.args[2], args[2])
    operands = [pointer, ir.Constant(ir.IntType(32), size), mask, ir.Constant(kind, None)]
    return _masked(builder, "load", kind, operands, kind.element)


@lower_builtin(store_some, types.Array, types.Integer, types.Integer, Vector)
def _lower_store_some(context, builder, sig, args):
    pointer, size = _place(context, builder, sig.args[0], args[0], sig.args[1], args[1])
    mask = _first_lanes(context, builder, sig.args[2], args[2])
    operands = [args[3], pointer, ir.Constant(ir.IntType(32), size), mask]
    _masked(builder, "store", ir.VoidType(), operands, args[3].type.element)
    return context.get_dummy_value()


@lower_builtin(splat, types.Any)
def _lower_splat(context, builder, sig, args):
    return _lift(context, builder, args[0], sig.args[0], sig.return_type)


@lower_builtin(select, Vector, types.Any, types.Any)
def _lower_select(context, builder, sig, args):
    yes, no = (_lift(context, builder, args[k], sig.args[k], sig.return_type) for k in (1, 2))
    return builder.select(args[0], yes, no)


def _call(builder, name, kind, args, flags=()):
    """Call a function of LLVM for vectors of a kind of floating-point numbers."""
    width = _FLOATING[type(kind.element)]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(args)), f"llvm.{name}.v{LANES}{width}"
    )
    return builder.call(function, args, "", None, None, flags)


def _function(name, flags=()):
    def lower(context, builder, sig, args):
        return _call(builder, name, context.get_value_type(sig.return_type), args, flags)

    return lower


lower_builtin(absolute, Vector)(_function("fabs"))
lower_builtin(sqrt, Vector)(_function("sqrt"))
# One instruction each. As comparison and selection, LLVM makes a masked store of a smaller number that goes back to
# where one of them came from, and on AMD processors what is loaded next waits for that.
lower_builtin(smaller, Vector, Vector)(_function("minnum", ("nnan",)))
lower_builtin(larger, Vector, Vector)(_function("maxnum", ("nnan",)))


def _sorted_middle(context, builder, rows):
    """Instructions for the middle ones of some vectors."""
    n = len(rows)
    pairs = np.empty((network_size.py_func(n), 2), np.int64)
    size = network_exchanges.py_func(pairs, n)
    for low, high in pairs[: median_exchanges.py_func(pairs, size, np.empty(n, bool), n)]:
        a, b = rows[low], rows[high]
        rows[low] = _call(builder, "minnum", a.type, [a, b], ("nnan",))
        rows[high] = _call(builder, "maxnum", a.type, [a, b], ("nnan",))
    return rows[(n - 1) // 2], rows[n // 2]


@lower_builtin(middle_rows, types.Array, types.Integer)
def _lower_middle(context, builder, sig, args):
    kind = context.get_value_type(sig.return_type.dtype)
    pointer, size = _place(context, builder, sig.args[0], args[0], types.intp, context.get_constant(types.intp, 0))
    end = builder.append_basic_block("middle.end")
    switch = builder.switch(args[1], end)
    undefined = ir.Constant(kind, ir.Undefined)
    found = [(builder.block, undefined, undefined)]
    for n in range(1, MOST_ROWS + 1):
        block = builder.append_basic_block(f"middle.of.{n}")
        switch.add_case(ir.Constant(args[1].type, n), block)
        with builder.goto_block(block):
            rows = [
                builder.load(builder.gep(pointer, [context.get_constant(types.intp, j)]), align=size) for j in range(n)
            ]
            found.append((block, *_sorted_middle(context, builder, rows)))
            builder.branch(end)
    builder.position_at_end(end)
    low, high = builder.phi(kind), builder.phi(kind)
    for block, a, b in found:
        low.add_incoming(a, block)
        high.add_incoming(b, block)
    return context.make_tuple(builder, sig.return_type, [low, high])


@lower_builtin(doubles, Vector)
@lower_builtin(floats, Vector)
def _lower_conversion(context, builder, sig, args):
    source, target = sig.args[0].element, sig.return_type.element
    kind = context.get_value_type(sig.return_type)
    if source == target:
        return args[0]
    if not isinstance(source, types.Float):
        return (builder.sitofp if source == types.int32 else builder.uitofp)(args[0], kind)
    return builder.fpext(args[0], kind) if target == types.float64 else builder.fptrunc(args[0], kind)


@lower_builtin(any_of, Vector)
def _lower_any(context, builder, sig, args):
    bits = builder.bitcast(args[0], ir.IntType(LANES))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


@lower_builtin(bits_of, Vector)
def _lower_bits(context, builder, sig, args):
    return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))


@lower_builtin(count_of, Vector)
def _lower_count(context, builder, sig, args):
    return builder.ctpop(builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64)))


@lower_builtin(first_bit, types.Integer)
def _lower_first_bit(context, builder, sig, args):
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


# Operators: elements of vectors, or of a vector and a scalar.


def _numbers(floating, whole):
    """Lower an operation of the builder for floating-point numbers and another one for integers."""

    def lower(context, builder, sig, args):
        kind = _joined(*sig.args)
        a, b = (_lift(context, builder, arg, its, kind) for arg, its in zip(args, sig.args, strict=True))
        name = floating if isinstance(kind.element, types.Float) else whole
        return getattr(builder, name)(a, b)

    return lower


def _comparison(sign):
    def lower(context, builder, sig, args):
        kind = _joined(*sig.args)
        a, b = (_lift(context, builder, arg, its, kind) for arg, its in zip(args, sig.args, strict=True))
        if not isinstance(kind.element, types.Float):
            compare = builder.icmp_signed if kind.element == types.int32 else builder.icmp_unsigned
            return compare(sign, a, b)
        # NaN differs from everything.
        return builder.fcmp_unordered(sign, a, b) if sign == "!=" else builder.fcmp_ordered(sign, a, b)

    return lower


_ARITHMETIC = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
    operator.and_: (None, "and_"),
    operator.or_: (None, "or_"),
    operator.xor: (None, "xor"),
}
_COMPARISONS = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def _define(function, result, lower):
    @infer_global(function)
    class _(AbstractTemplate):
        def generic(self, args, keywords):
            kind = _joined(*args) if len(args) == 2 else None
            return signature(result or kind, *args) if kind is not None else None

    for pair in ((Vector, Vector), (Vector, types.Any), (types.Any, Vector)):
        lower_builtin(function, *pair)(lower)


for _operator, (_floating, _whole) in _ARITHMETIC.items():
    _define(_operator, None, _numbers(_floating, _whole))
for _operator, _sign in _COMPARISONS.items():
    _define(_operator, Vector(types.boolean), _comparison(_sign))

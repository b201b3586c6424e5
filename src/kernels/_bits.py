"""Arrays as they lie on disk: decoded into native scratch tiles and encoded from them, in registers.

FITS holds big-endian numbers, and unsigned integers as signed ones with an offset (BZERO). numba takes neither,
so such an array is handed to the kernels as its *bits*: a view as native unsigned integers of the same width,
with two facts about it, `swapped` (the bytes of each number are reversed) and `offset` (the value of BZERO,
which for an n-bit unsigned integer means that the top bit is flipped). A native array is the same thing with
`swapped` False and `offset` 0, so both take the same compiled code.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from upramp.kernels._irs2_layout import science_row
from upramp.kernels._jit import helper, kernel
from upramp.kernels._layout import DTypeError, ShapeError

__all__ = [
    "PLANE",
    "Bits",
    "array_at",
    "as_bits",
    "decode_bytes_tile",
    "decode_flags_tile",
    "decode_float_tile",
    "decode_raw_tile",
    "encode_bytes_tile",
    "encode_flags_tile",
    "encode_float_tile",
    "records_of",
    "source_row",
    "swap32",
]

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class Bits(NamedTuple):
    """An array as it lies, and where the exposure's first pixel is in it.

    References may be larger than the exposure; a buffer of some rows of an output has a negative first row.
    """

    bits: np.ndarray  # (k, rows, columns), native unsigned integers
    swapped: bool
    flipped: bool  # the top bit of each number is inverted (BZERO)
    first_row: int
    first_column: int
    interleaved: int = 0  # 1, 2: an IRS2 readout of NRS1, NRS2, of whose rows only those with science pixels count

    def record(self):
        """The same as a `PLANE` record for compiled code; valid as long as this object lives."""
        record = np.zeros(1, PLANE)[0]
        address = self.bits.__array_interface__["data"][0]
        for name, value in zip(PLANE.names, (address, *self.bits.shape, *self[1:]), strict=True):
            record[name] = value
        return record


PLANE = np.dtype(
    [
        ("address", np.int64),
        ("planes", np.int64),
        ("rows", np.int64),
        ("columns", np.int64),
        ("swapped", np.bool_),
        ("flipped", np.bool_),
        ("first_row", np.int64),
        ("first_column", np.int64),
        ("interleaved", np.int64),
    ],
    align=True,
)
"""`Bits` in compiled code. A record goes by reference; tuples of arrays made the fused driver compile for 60 s."""


@intrinsic
def _pointer(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@helper
def array_at(address, shape, dtype):
    """Array of a given shape and dtype that lies at an address."""
    return carray(_pointer(address), shape, dtype)


@helper
def records_of(planes, row, column):
    """`PLANE` records (one of them) of native planes (k, ny, nx) of a tile that begins at a row and column.

    They hold an address: valid as long as something else holds the planes.
    """
    records = np.zeros(1, PLANE)
    record = records[0]
    record.address = planes.ctypes.data
    record.planes, record.rows, record.columns = planes.shape
    record.first_row, record.first_column = -row, -column
    return records


@helper
def source_row(source, row):
    """Row of an array that holds a row of the exposure."""
    if source.interleaved == 0:
        return source.first_row + row
    return science_row(row, source.interleaved == 2)


def as_bits(array, dtype, *, ndim=None, first_row=0, first_column=0, writable=False):
    """Describe an array, or an object with ``bits``, ``swapped`` and ``offset``, as `Bits`.

    Parameters
    ----------
    array : ndarray of ``dtype`` in either byte order, or a mapped array of the models
        2-D arrays become (1, ny, nx); 4-D ones (ni, ng, ny, nx) become (ni * ng, ny, nx): always a view for C order.
    dtype : dtype
        float32, uint32, uint16 or uint8: what the numbers are once decoded.

    Raises
    ------
    DTypeError, ShapeError
        Another dtype; fewer than two dimensions; not C order when it must be written to.
    """
    dtype = np.dtype(dtype)
    if hasattr(array, "swapped"):
        bits, swapped, flipped = array.bits, bool(array.swapped), array.offset != 0
        if bits.dtype.itemsize != dtype.itemsize:
            raise DTypeError(f"mapped array holds {bits.dtype}; expected numbers of {dtype.itemsize} bytes ({dtype})")
    else:
        array = np.asarray(array)
        if array.dtype.newbyteorder("=") != dtype:
            raise DTypeError(f"array has dtype {array.dtype}; expected {dtype}")
        if not array.flags.c_contiguous:
            if writable:
                raise ShapeError("the array to be filled is not in C order")
            array = np.ascontiguousarray(array)
        swapped, flipped = not array.dtype.isnative, False
        bits = array.view(_UNSIGNED[dtype.itemsize])
    if bits.ndim < 2 or (ndim is not None and bits.ndim != ndim):
        raise ShapeError(f"array has {bits.ndim} dimensions {bits.shape}; expected {ndim or 'two or more'}")
    bits = bits.reshape((-1, *bits.shape[-2:]))
    return Bits(bits, swapped, flipped, int(first_row), int(first_column))


@helper
def _swap16(value):
    return np.uint16((value >> np.uint16(8)) | (value << np.uint16(8)))


@helper
def swap32(value):
    """The bytes of a uint32 in reverse."""
    return np.uint32(
        (value >> np.uint32(24))
        | ((value >> np.uint32(8)) & np.uint32(0xFF00))
        | ((value << np.uint32(8)) & np.uint32(0xFF0000))
        | (value << np.uint32(24))
    )


@kernel
def decode_raw_tile(out, source, ngroups, scale, row, column):
    """Decode the raw samples of a tile: out (ni, ng, ny, nx) float32 from source bits (ni * ng, NY, NX) uint16.

    ``row``, ``column``: place of the tile in the exposure. ``scale`` multiplies as float32 (1.0 is exact).
    """
    bits = array_at(source.address, (source.planes, source.rows, source.columns), np.uint16)
    ni, ng, ny, nx = out.shape
    flip = np.uint16(0x8000) if source.flipped else np.uint16(0)
    factor = np.float32(scale)
    for i in range(ni):
        for g in range(ng):
            for r in range(ny):
                start = source.first_column + column
                raw = bits[i * ngroups + g, source_row(source, row + r), start : start + nx]
                line = out[i, g, r]
                if source.swapped:
                    for x in range(nx):
                        line[x] = np.float32(_swap16(raw[x]) ^ flip) * factor
                else:
                    for x in range(nx):
                        line[x] = np.float32(raw[x] ^ flip) * factor


@kernel
def decode_float_tile(out, source, plane, row, column):
    """Decode float32 planes ``plane ... plane + out.shape[0] - 1`` of a tile: out (k, ny, nx)."""
    bits = array_at(source.address, (source.planes, source.rows, source.columns), np.uint32)
    k, ny, nx = out.shape
    words = out.view(np.uint32)
    for p in range(k):
        for r in range(ny):
            start = source.first_column + column
            raw = bits[plane + p, source_row(source, row + r), start : start + nx]
            line = words[p, r]
            if source.swapped:
                for x in range(nx):
                    line[x] = swap32(raw[x])
            else:
                for x in range(nx):
                    line[x] = raw[x]


@kernel
def decode_flags_tile(out, source, row, column):
    """Decode the uint32 flags of a tile: out (ny, nx)."""
    bits = array_at(source.address, (source.planes, source.rows, source.columns), np.uint32)
    ny, nx = out.shape
    flip = np.uint32(0x80000000) if source.flipped else np.uint32(0)
    for r in range(ny):
        start = source.first_column + column
        raw = bits[0, source_row(source, row + r), start : start + nx]
        line = out[r]
        if source.swapped:
            for x in range(nx):
                line[x] = swap32(raw[x]) ^ flip
        else:
            for x in range(nx):
                line[x] = raw[x] ^ flip


@kernel
def decode_bytes_tile(out, source, row, column):
    """Copy the group flags of a tile: out (ni, ng, ny, nx) uint8."""
    bits = array_at(source.address, (source.planes, source.rows, source.columns), np.uint8)
    ni, ng, ny, nx = out.shape
    for i in range(ni):
        for g in range(ng):
            for r in range(ny):
                raw = bits[i * ng + g, row + r, column : column + nx]
                line = out[i, g, r]
                for x in range(nx):
                    line[x] = raw[x]


@kernel
def encode_float_tile(target, values, plane, first, last, left, right, row, column):
    """Store values[:, first:last, left:right] (k, ny, nx float32) in the planes from ``plane`` on of a product."""
    bits = array_at(target.address, (target.planes, target.rows, target.columns), np.uint32)
    top = target.first_row + row
    words = values.view(np.uint32)
    for p in range(values.shape[0]):
        for r in range(first, last):
            source = words[p, r, left:right]
            line = bits[plane + p, top + r, column + left : column + right]
            if target.swapped:
                for x in range(source.size):
                    line[x] = swap32(source[x])
            else:
                for x in range(source.size):
                    line[x] = source[x]


@kernel
def encode_flags_tile(target, flags, plane, first, last, left, right, row, column):
    """Store flags[:, first:last, left:right] (k, ny, nx uint32) in the planes from ``plane`` on of a product."""
    bits = array_at(target.address, (target.planes, target.rows, target.columns), np.uint32)
    top = target.first_row + row
    flip = np.uint32(0x80000000) if target.flipped else np.uint32(0)
    for p in range(flags.shape[0]):
        for r in range(first, last):
            source = flags[p, r, left:right]
            line = bits[plane + p, top + r, column + left : column + right]
            if target.swapped:
                for x in range(source.size):
                    line[x] = swap32(source[x] ^ flip)
            else:
                for x in range(source.size):
                    line[x] = source[x] ^ flip


@kernel
def encode_bytes_tile(target, flags, first, last, left, right, row, column):
    """Store flags[:, :, first:last, left:right] (ni, ng, ny, nx uint8) in a product."""
    bits = array_at(target.address, (target.planes, target.rows, target.columns), np.uint8)
    top = target.first_row + row
    ni, ng = flags.shape[:2]
    for i in range(ni):
        for g in range(ng):
            for r in range(first, last):
                source = flags[i, g, r, left:right]
                line = bits[i * ng + g, top + r, column + left : column + right]
                for x in range(source.size):
                    line[x] = source[x]

"""The arrays of a model: located in a file, or held in memory once somebody asked for values."""

from functools import cached_property

import numpy as np

from upramp.errors import ShapeError
from upramp.models._dq_translation import DQTable
from upramp.models._mapped import BitsArray, MappedArray
from upramp.models._tables import cast_table, plain_rows, read_table

__all__ = ["ArraySlot", "SourceArray", "SourceImage", "SourceTable", "dq_table", "native_array"]


class SourceImage:
    """An image in a file that is not stored plainly: compressed or scaled, read by astropy on demand."""

    def __init__(self, hdu):
        self._hdu = hdu
        self.shape = hdu.shape

    def native(self, dtype):
        """A new native array of the values, cast to ``dtype``."""
        return np.ascontiguousarray(self._hdu.read_by_astropy(), dtype)


class SourceArray:
    """An array in a file that somebody else has mapped, in any byte order; not to be written to."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def native(self, dtype):
        """A new native array of the values, cast to ``dtype``."""
        return np.array(self._array, dtype=dtype, order="C")


class SourceTable:
    """A table in a file."""

    def __init__(self, hdu, spec):
        self._hdu, self._spec = hdu, spec
        self.shape = (hdu.header["NAXIS2"],)

    def native(self, dtype):
        """A new structured array with the columns of the schema."""
        return read_table(self._hdu, self._spec)

    def plain(self):
        """The numbers as a `BitsArray`, (rows, columns), where all are of one type; else None."""
        return plain_rows(self._hdu, self._spec)


class ArraySlot:
    """One array of a model.

    Parameters
    ----------
    spec : ArraySpec
    source : BitsArray, SourceArray, SourceImage, SourceTable or ndarray
        Where the values come from. An array is taken as it is: it has the dtype of the schema already.
    dq_table : DQTable, optional
        Definition of the bits in `source`, when these are to be translated to standard flags.
    """

    def __init__(self, spec, source, dq_table=None):
        self.spec = spec
        self._source = source
        self._dq_table = dq_table
        self._value = source if isinstance(source, np.ndarray) else None

    def __getstate__(self):
        """What is pickled: the values as a whole; a mapped file cannot be handed to another process."""
        return vars(ArraySlot(self.spec, self.native()))

    @property
    def shape(self):
        """Shape of the array; nothing is read."""
        return self._source.shape if self._value is None else self._value.shape

    @property
    def file_source(self):
        """Where the values come from."""
        return self._source

    @property
    def file_array(self):
        """The array as it lies in its file, as long as nobody asked for values; else None."""
        return self._source if self._value is None and isinstance(self._source, BitsArray) else None

    def native(self):
        """The values as a native array; made on the first call, then always the same one."""
        if self._value is None:
            self._value = self._source.native(self.spec.dtype)
            if self._dq_table is not None:
                self._value = self._dq_table.to_standard(self._value)
        return self._value

    def mapped(self):
        """The bits: those of the file where they mean what the schema says, else those of the native array."""
        if self.spec.is_table:
            return self._mapped_rows()
        lying = self.file_array
        if lying is not None and lying.kind in (self.spec.kind, self.spec.raw_kind) and self.is_standard:
            return lying.mapped()
        value = self.native()
        return MappedArray(value.view(f"u{value.dtype.itemsize}"), self.spec.kind, swapped=False)

    def _mapped_rows(self):
        lying = self._source.plain() if self._value is None and isinstance(self._source, SourceTable) else None
        if lying is not None:
            return lying.mapped()
        rows, kind = self.native(), self.spec.dtype[0].str[1:]
        numbers = rows.view(kind).reshape(len(rows), -1)
        return MappedArray(numbers.view(f"u{numbers.dtype.itemsize}"), kind, swapped=False)

    @cached_property
    def is_standard(self):
        """Whether the flags in the file are standard flags already, so that nothing is translated."""
        return self._dq_table is None or self._dq_table.is_identity_for(self._source.native(self.spec.dtype))

    def recast(self, spec):
        """A slot for another schema's idea of the same array."""
        if self._value is None:
            return ArraySlot(spec, self._source, self._dq_table)
        return ArraySlot(spec, native_array(self._value, spec))

    def copy(self):
        """A slot with its own array; what lies in a file is shared, for it is never written to."""
        if self._value is None:
            return ArraySlot(self.spec, self._source, self._dq_table)
        return ArraySlot(self.spec, self._value.copy())


def native_array(value, spec):
    """A value as the schema wants the array: dtype, native byte order, C order; copied only where needed.

    Raises
    ------
    ShapeError
        Wrong number of dimensions, or columns of a table that are not those of the schema.
    TypeError
        A masked array, some of whose elements are masked.
    """
    if spec.is_table:
        return cast_table(value, spec)
    if np.ma.is_masked(value):
        raise TypeError(
            f"{spec.name} is a masked array, whose mask would be lost: give an array with masked.filled(...)"
        )
    value = np.asarray(value)
    problem = spec.dimension_problem(value.ndim)
    if problem:
        raise ShapeError(f"Array has wrong number of dimensions: {spec.name} {problem}; its shape is {value.shape}")
    if value.dtype.kind == "f" and spec.dtype.kind == "u":
        # By way of a signed integer: a direct cast of a negative number is undefined.
        value = value.astype(np.int64)
    return np.ascontiguousarray(value, dtype=spec.dtype)


def dq_table(slots, origin=None):
    """The `DQTable` of a reference, from its dq_def array; None without one."""
    if "dq_def" not in slots:
        return None
    table = DQTable(slots["dq_def"].native(), origin)
    return table if table.defined else None

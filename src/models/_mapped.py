"""Arrays as they lie in a file or in memory: raw bits for the kernels, native arrays for Python."""

import ctypes
import mmap
import os
import sys
import tempfile
from dataclasses import dataclass, field

import numpy as np

from upramp.errors import OutputError
from upramp.models._atomic import reserve

__all__ = ["BitsArray", "MappedArray", "decode", "encode", "in_file", "map_file", "temporary_array"]

_LITTLE = sys.byteorder == "little"
_BZERO = {"u2": 2**15, "u4": 2**31}
_PIECE = 1 << 16
_FAULT_AROUND = 1 << 21
_MAP_FIXED, _MAP_FAILED = 0x10, ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


@dataclass(frozen=True)
class MappedArray:
    """The bits of an array, without a copy.

    Attributes
    ----------
    bits : ndarray of uint8, uint16, uint32 or uint64
        The bytes viewed as native unsigned integers of the element size; C order, shape of the array.
        Read-only when they lie in a file that is only read.
    kind : str
        What an element means: "u1", "u2", "u4", "i2", "i4", "i8", "f4", "f8".
    swapped : bool
        The bytes have the other order than this machine's: swap before use.
    offset : int
        To be added, modulo 2**bits, after the swap: the BZERO of unsigned FITS integers (32768 or 2147483648), else 0.
    source : mmap.mmap or None
        The mapping that `bits` lies in.
    start : int
        Position of the first element in `source` [bytes].

    Notes
    -----
    float32: ``bits.byteswap().view("f4")``; FITS uint16: ``bits.byteswap() ^ 0x8000`` (adding the top bit
    and flipping it are the same).
    """

    bits: np.ndarray
    kind: str
    swapped: bool
    offset: int = 0
    source: mmap.mmap | None = field(default=None, repr=False)
    start: int = 0

    def part(self, index):
        """One element along the first axis, such as one integration."""
        begin = self.start + index * self.bits[0].nbytes
        return MappedArray(self.bits[index], self.kind, self.swapped, self.offset, self.source, begin)

    def pixel(self, y, x):
        """The values of one pixel in every plane, such as its ramp, without touching the others.

        Parameters
        ----------
        y, x : int
            Indices, from 0; negative ones count from the end.

        Returns
        -------
        ndarray
            New, native; the shape is that of the array without its last two axes, ``(integrations, groups)`` of a ramp.

        Raises
        ------
        IndexError
            There is no such pixel.
        """
        if self.source is None:
            bits = self.bits[..., y, x].copy()
        else:
            page = self.start - self.start % mmap.PAGESIZE
            stretch = (page, self.start + self.bits.nbytes - page)
            self.source.madvise(mmap.MADV_RANDOM, *stretch)  # else every sample brings its neighbours along
            try:
                bits = self.bits[..., y, x].copy()
            finally:
                self.source.madvise(mmap.MADV_NORMAL, *stretch)
        if self.swapped:
            bits = bits.byteswap()
        return (bits + bits.dtype.type(self.offset)).view(self.kind)

    def release(self, first_row, last_row):
        """Drop the pages of rows ``first_row <= y < last_row`` of every plane from resident memory.

        Nothing is lost: a page that is needed again comes back from the file. No effect on arrays in memory.
        """
        if self.source is None or self.bits.ndim < 2:
            return
        rows, row_bytes = self.bits.shape[-2], self.bits.shape[-1] * self.bits.itemsize
        planes = self.bits.size // max(1, rows * self.bits.shape[-1])
        for plane in range(planes):
            begin = self.start + (plane * rows + first_row) * row_bytes
            end = begin + (last_row - first_row) * row_bytes
            # Reading a page maps its neighbours too; those before these rows have been dropped already, once.
            begin = max(begin - _FAULT_AROUND, self.start)
            page = begin - begin % mmap.PAGESIZE
            self.source.madvise(mmap.MADV_DONTNEED, page, end - page)


@dataclass(frozen=True)
class BitsArray:
    """An array in a FITS file (mapped or unpacked into memory): where it lies and what it means.

    `kind` as in `MappedArray`.
    """

    buffer: object = field(repr=False)
    start: int
    shape: tuple
    kind: str

    @property
    def dtype(self):
        """Native dtype of the values."""
        return np.dtype(self.kind)

    @property
    def stored(self):
        """Array of the bytes as stored: big-endian, unsigned ones without their offset."""
        count = int(np.prod(self.shape, dtype=np.int64))
        flat = np.frombuffer(self.buffer, dtype=f">{self.kind}", count=count, offset=self.start)
        return flat.reshape(self.shape)

    def mapped(self):
        """The same as a `MappedArray`."""
        size = self.dtype.itemsize
        return MappedArray(
            bits=self.stored.view(f"u{size}"),
            kind=self.kind,
            swapped=_LITTLE and size > 1,
            offset=_BZERO.get(self.kind, 0),
            source=self.buffer if isinstance(self.buffer, mmap.mmap) else None,
            start=self.start,
        )

    def native(self, dtype):
        """A new native C-ordered array of the values, cast to ``dtype``."""
        return decode(self.stored, dtype)


def map_file(handle):
    """Map a whole file that is only read, so that no more of it comes into memory than is looked at.

    Linux keeps files in pieces of up to 2 MiB, and from 6.18 on maps a whole piece as soon as one byte of it is
    touched. A few rows of every plane of an exposure then are all of it: 0.5 GB more for 160 planes, 3 GB for 750.
    It does not where a piece lies across two page tables, so the mapping begins at an address that is no multiple of
    2 MiB (but by chance, one in 512): that of anonymous pages, which the file takes the place of.

    Parameters
    ----------
    handle : file object

    Returns
    -------
    mmap.mmap
        Read-only, of the length of the file.

    Raises
    ------
    OSError
        The file cannot be mapped.
    """
    size = os.fstat(handle.fileno()).st_size
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    address = np.frombuffer(pages, np.uint8).ctypes.data
    found = _libc.mmap(address, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, handle.fileno(), 0)
    if found == _MAP_FAILED:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return pages


def in_file(bits):
    """The `MappedArray` of bits that lie in a file and were passed on without it; None for bits in memory.

    Parameters
    ----------
    bits : ndarray of unsigned integers, C order
    """
    owner = bits
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or not bits.flags.c_contiguous:
        return None
    start = bits.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    return MappedArray(bits, f"u{bits.itemsize}", False, source=owner, start=start)


def temporary_array(shape, kind, folder=None):
    """An array in a file without a name, whose pages can be released; the file goes when nobody has the array.

    Parameters
    ----------
    shape : tuple of int
        All bytes are zero at first.
    kind : str
        What an element means, see `MappedArray`; they are native.
    folder : str or None
        A folder of the file system that the file takes room on; None for the usual one.

    Returns
    -------
    MappedArray

    Raises
    ------
    OutputError
        The folder is missing or not writable; there is no space for the whole array.
    """
    element = int(kind[1:])
    size = int(np.prod(shape, dtype=np.int64)) * element
    folder = tempfile.gettempdir() if folder is None else folder
    try:
        with tempfile.TemporaryFile(dir=folder) as handle:
            reserve(handle, size)
            pages = mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_WRITE)
    except OSError as error:
        raise OutputError(
            f"no room for {size / 1e6:.0f} MB of scratch in {folder}: {error.strerror}. Free space there."
        ) from error
    return MappedArray(np.frombuffer(pages, f"u{element}").reshape(shape), kind, False, source=pages)


def decode(stored, dtype):
    """Values of an array in FITS byte order, as a new native array cast to ``dtype``.

    Works in pieces that fit the cache: nothing of the size of the array exists besides the result.
    """
    dtype = np.dtype(dtype)
    result = np.empty(stored.shape, dtype)
    offset = _BZERO.get(stored.dtype.str[1:], 0)
    values, filled = stored.reshape(-1), result.reshape(-1)
    for first in range(0, values.size, _PIECE):
        piece = values[first : first + _PIECE]
        if offset:
            piece = piece.astype(piece.dtype.newbyteorder("="))
            piece ^= piece.dtype.type(offset)
        filled[first : first + _PIECE] = piece
    return result


def encode(array, kind):
    """One plane of values as the big-endian array that FITS stores for ``kind``."""
    stored = np.array(array, dtype=f">{kind}", order="C")
    offset = _BZERO.get(kind, 0)
    if offset:
        stored ^= stored.dtype.type(offset)
    return stored

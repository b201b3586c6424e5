"""Binary blocks of ASDF files (ASDF standard 1.6, "low-level file layout"): arrays that stand behind the document."""

import bz2
import struct
import zlib

import numpy as np

from upramp.errors import FileFormatError

__all__ = ["array_of", "read_blocks", "write_block"]

_MAGIC = b"\xd3BLK"
_HEADER = struct.Struct(">I4sQQQ16s")  # flags, compression, allocated, used, size of the data, MD5 of what is used
_STREAMED = 1
_UNPACK = {b"zlib": zlib.decompress, b"bzp2": bz2.decompress}


def read_blocks(content, start, origin):
    """The blocks of a file.

    Parameters
    ----------
    content : buffer
        The whole file.
    start : int
        Where to begin looking: behind the document.
    origin : str
        Name of the file, for messages.

    Returns
    -------
    list of buffer
        Views of `content`; unpacked ones are copies.

    Raises
    ------
    FileFormatError
        A block is truncated or packed by a method that is not known here.
    """
    view, blocks = memoryview(content), []
    position = content.find(_MAGIC, start)
    while position >= 0 and bytes(view[position : position + 4]) == _MAGIC:
        body = position + 6 + int.from_bytes(view[position + 4 : position + 6], "big")
        if body > len(view) or body < position + 6 + _HEADER.size:
            raise FileFormatError(f"{origin}: the ASDF block at byte {position} is truncated. Get the file again.")
        flags, packing, allocated, used, _, _ = _HEADER.unpack(view[position + 6 : position + 6 + _HEADER.size])
        if flags & _STREAMED:
            allocated = used = len(view) - body
        if body + allocated > len(view) or used > allocated:
            raise FileFormatError(
                f"{origin}: the ASDF block at byte {position} announces {allocated} bytes, but the file ends at byte "
                f"{len(view)}; it is truncated. Get it again."
            )
        blocks.append(_unpacked(view[body : body + used], packing, origin))
        position = body + allocated
    return blocks


def _unpacked(data, packing, origin):
    if packing == b"\0\0\0\0":
        return data
    if packing not in _UNPACK:
        raise FileFormatError(f"{origin}: an ASDF block is packed with {packing!r}; only zlib and bzp2 are known here")
    try:
        return _UNPACK[packing](data)
    except (zlib.error, OSError, ValueError) as error:
        raise FileFormatError(f"{origin}: an ASDF block does not unpack ({error})") from error


def array_of(fields, blocks, origin):
    """The array that an ``ndarray`` element of a document describes.

    Parameters
    ----------
    fields : dict or list
        A list is the values themselves; so is ``data``; ``source`` is the number of a block.
    blocks : list of buffer
    origin : str
        Name of file and array, for messages.

    Returns
    -------
    ndarray
        In a block: a view of it, not to be written to.

    Raises
    ------
    FileFormatError
        The block does not exist, or is smaller than the array.
    """
    if isinstance(fields, list):
        return np.array(fields)
    try:
        dtype = _dtype(fields["datatype"], fields.get("byteorder", "big")) if "datatype" in fields else None
        if "data" in fields:
            native = None if dtype is None else dtype.newbyteorder("=")
            rows = fields["data"] if native is None or native.names is None else [tuple(r) for r in fields["data"]]
            return np.array(rows, dtype=native)
        return np.ndarray(
            tuple(fields["shape"]), dtype, blocks[fields["source"]], fields.get("offset", 0), fields.get("strides")
        )
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise FileFormatError(f"{origin}: the ASDF document describes an array that is not there ({error})") from error


def _dtype(datatype, byteorder):
    if isinstance(datatype, str):
        dtype = np.dtype(np.bool_ if datatype == "bool8" else datatype)
    elif isinstance(datatype[0], str):
        dtype = np.dtype(f"{'S' if datatype[0] == 'ascii' else 'U'}{datatype[1]}")
    else:
        return np.dtype(
            [
                (column["name"], _dtype(column["datatype"], column.get("byteorder", byteorder)), tuple(shape))
                if (shape := column.get("shape"))
                else (column["name"], _dtype(column["datatype"], column.get("byteorder", byteorder)))
                for column in datatype
            ]
        )
    return dtype.newbyteorder(">" if byteorder == "big" else "<")


def write_block(handle, array):
    """Append an array to a file as one block, in C order and as it lies in memory, without a checksum."""
    data = np.ascontiguousarray(array)
    handle.write(_MAGIC + _HEADER.size.to_bytes(2, "big"))
    handle.write(_HEADER.pack(0, b"\0\0\0\0", data.nbytes, data.nbytes, data.nbytes, bytes(16)))
    handle.write(data.reshape(-1).view(np.uint8).data if data.size else b"")

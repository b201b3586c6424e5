"""Products that are laid out on disk first, and filled in place."""

import contextlib
import mmap
import os
from dataclasses import replace

import numpy as np

from upramp.models._atomic import replacing, reserve
from upramp.models._mapped import BitsArray
from upramp.models._writing import asdf_part, compose_parts, padded

__all__ = ["Product", "create_product"]

_CHUNK = 1 << 23
_CARD = 80
_END = b"END".ljust(_CARD)


class Product:
    """A product that is being filled; made by `create_product`."""

    def __init__(self, handle, model, shapes):
        self._handle, self._model, self._shapes = handle, model, shapes
        self._parts = compose_parts(model, shapes)
        self._starts, size = [], 0
        for part in self._parts:
            self._starts.append(size + len(part.header))
            size += len(part.header) + padded(part.size)
        places = zip(self._parts, self._starts, strict=True)
        self._places = {part.name: (part, start) for part, start in places if part.name in shapes}
        reserve(handle, size)
        for part, start in zip(self._parts, self._starts, strict=True):
            handle.seek(start - len(part.header))
            handle.write(part.header)
            if part.write is not None:
                part.write(handle)
        handle.flush()
        self._map = mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_WRITE)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
            self._map.madvise(mmap.MADV_NOHUGEPAGE)

    def bits(self, name):
        """The array of that name, to be written to: bits as they must lie on disk.

        Parameters
        ----------
        name : str
            One of the arrays that the product was created with.

        Returns
        -------
        MappedArray
            Writable; all bits zero at first, in the byte order of FITS (see `swapped`), unsigned integers with
            their offset (see `offset`). Not to be used once the product is finished.
        """
        if name not in self._places:
            raise KeyError(f"the product has no array {name!r}; it was created with {', '.join(self._shapes)}")
        part, start = self._places[name]
        return BitsArray(self._map, start, part.shape, part.kind).mapped()

    def write_rows(self, name, first, rows):
        """Write rows of an array to the file, which is cheaper than filling its pages; `bits` show them.

        Parameters
        ----------
        name : str
            One of the arrays that the product was created with.
        first : int
            The first of the rows.
        rows : (planes, n, nx) ndarray of unsigned integers
            Bits as they must lie on disk, see `bits`; rows of every plane, in C order.
        """
        part, start = self._places[name]
        descriptor = self._handle.fileno()
        for plane, lines in enumerate(rows):
            left = memoryview(lines).cast("B")
            position = start + (plane * part.shape[-2] + first) * lines[0].nbytes
            while left:
                done = os.pwrite(descriptor, left, position)
                left, position = left[done:], position + done

    def finish(self):
        """Bring the headers up to date with the model and append the ASDF extension."""
        self._map = None
        current = compose_parts(self._model, self._shapes)
        headers = [_lengthened(new.header, len(old.header)) for new, old in zip(current, self._parts, strict=True)]
        self._make_room([len(header) for header in headers])
        position = 0
        for part, header in zip(self._parts, headers, strict=True):
            self._handle.seek(position)
            self._handle.write(header)
            position += len(header) + padded(part.size)
        self._handle.seek(position)
        self._handle.truncate()
        if self._model.writes_asdf:
            asdf = asdf_part(self._model, [replace(p, header=h) for p, h in zip(self._parts, headers, strict=True)])
            self._handle.write(asdf.header)
            asdf.write(self._handle)
            self._handle.write(bytes(padded(asdf.size) - asdf.size))

    def _make_room(self, lengths):
        """Move the data so that headers of these lengths fit; they are never shorter than before."""
        shifts = np.cumsum([new - len(part.header) for new, part in zip(lengths, self._parts, strict=True)])
        if not shifts[-1]:
            return
        reserve(self._handle, self._starts[-1] + padded(self._parts[-1].size) + int(shifts[-1]))
        descriptor = self._handle.fileno()
        for part, start, shift in reversed(list(zip(self._parts, self._starts, shifts.tolist(), strict=True))):
            # From the end, for source and target overlap.
            for offset in reversed(range(0, padded(part.size), _CHUNK)) if shift else ():
                piece = os.pread(descriptor, min(_CHUNK, padded(part.size) - offset), start + offset)
                os.pwrite(descriptor, piece, start + shift + offset)


def _lengthened(header, length):
    """A header padded with blank cards to at least a length; fewer blocks would move the data for nothing."""
    if len(header) >= length:
        return header
    cards = header.rstrip().removesuffix(b"END")
    return cards.ljust(length - _CARD) + _END


@contextlib.contextmanager
def create_product(path, model, shapes):
    """Create a product with room for its arrays, to be filled in place.

    Parameters
    ----------
    path : str or Path
        Name of the product. It appears when the context is left without an error; otherwise nothing remains.
    model : DataModel
        Metadata, and the arrays and tables that are to be written as they are. Metadata may be changed until the
        context is left: the headers are then written again.
    shapes : dict of str to tuple of int
        Arrays to be filled, by name.

    Yields
    ------
    Product
        `Product.bits` gives the arrays.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or there is no space for the whole product.
    ShapeError, InvalidMetadataError
        Shapes disagree; the metadata are not valid.
    """
    model.prepare_to_save(path)
    model.check_shapes(shapes)
    with replacing(path) as handle:
        product = Product(handle, model, dict(shapes))
        yield product
        model.check_contents()
        product.finish()

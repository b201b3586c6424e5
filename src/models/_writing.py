"""Lay a model out as FITS: the HDUs in their order, their headers, and how their data get written."""

import io
import logging
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from upramp.models._asdf_blocks import write_block
from upramp.models._asdf_document import compose_document
from upramp.models._atomic import replacing
from upramp.models._extra import image_cards, settle_extra
from upramp.models._fits_cards import BLOCK, format_card, format_header
from upramp.models._fits_header import append_card, metadata_cards
from upramp.models._mapped import encode
from upramp.models._schema import PRIMARY
from upramp.models._slots import dq_table
from upramp.models._tables import encode_table, record_dtype, table_cards

__all__ = ["Part", "asdf_part", "compose_parts", "padded", "write_file"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One HDU to be written.

    `write(handle)` writes `size` bytes of data; None leaves room for them. `name` is that of the array.
    """

    hdu: str
    header: bytes = field(repr=False)
    size: int = 0
    write: object = field(default=None, repr=False)
    name: str = ""
    shape: tuple = ()
    kind: str = ""
    columns: np.dtype | None = None


def padded(size):
    """Size in whole FITS blocks [bytes]."""
    return -(-size // BLOCK) * BLOCK


def write_file(model, path):
    """Write a model to ``path``, atomically."""
    with replacing(path) as handle:
        parts = compose_parts(model)
        if model.writes_asdf and not getattr(model, "_no_asdf_extension", False):  # as classes of users say it
            parts.append(asdf_part(model, parts))
        for part in parts:
            handle.write(part.header)
            if part.write is not None:
                part.write(handle)
                handle.write(bytes(padded(part.size) - part.size))


def compose_parts(model, shapes=None):
    """All HDUs of a model but the ASDF extension.

    Parameters
    ----------
    model : DataModel
    shapes : dict of str to tuple, optional
        Arrays to leave room for, besides those that the model has.

    Returns
    -------
    list of Part
        The primary, HDUs in the order in which the schema first names one that exists (by a keyword with a value or
        by an array; ``meta`` comes first), and the HDUs that the schema does not know.
    """
    settle_extra(model)
    contents = {part.hdu: part for part in _array_parts(model, shapes or {})}
    cards = metadata_cards(model._schema, model._values)
    order = [PRIMARY, *(hdu for hdu in _in_order(model) if hdu in cards or hdu in contents)]
    parts = []
    for hdu in order:
        part, structure = contents.get(hdu, Part(hdu, b"")), _structure(model, hdu, contents.get(hdu))
        header = []
        for card in (*structure, *cards.get(hdu, ())):
            append_card(header, *card)
        if hdu in contents:  # as in the reference pipeline: HDUs of keywords alone have none
            append_card(header, "EXTVER", 1, "Number among the HDUs of this name")
        for card in model._extra_cards.get(hdu, ()):
            append_card(header, *card)
        if hdu == PRIMARY:
            header += [format_card("HISTORY", line, None) for line in model._history]
        parts.append(replace(part, header=format_header(header)))
    return parts + [_verbatim(hdu) for hdu in model._extra_hdus]


def _verbatim(hdu):
    """An HDU as it lies in its file."""
    split = hdu.data_start - hdu.start
    data = hdu.raw[split:]
    return Part(hdu.name, bytes(hdu.raw[:split]), len(data), lambda handle: handle.write(data))


def _in_order(model):
    """HDUs as the schema first names them: by a keyword that has a value, or by an array."""
    schema, found = model._schema, {}
    for path in schema.paths:
        if path in schema.arrays:
            if schema.arrays[path].hdu is not None:
                found.setdefault(schema.arrays[path].hdu)
        elif schema.keywords[path].card and path in model._values:
            found.setdefault(schema.keywords[path].hdu)
    return [hdu for hdu in found if hdu != PRIMARY]


def _array_parts(model, shapes):
    """The HDUs of the arrays, without headers, in the order of the schema."""
    translation = dq_table(model._slots)
    for spec in model._schema.hdus.values():
        slot = model._slots.get(spec.name)
        if spec.name in shapes:
            yield _image_part(spec, tuple(shapes[spec.name]), None)
        elif slot is None and model.makes_itself(spec):
            shape = model._default_shape(spec)
            yield _image_part(spec, shape, np.broadcast_to(spec.filled(()), shape))
        elif slot is None:
            continue
        elif spec.is_table:
            rows = slot.native()
            content = encode_table(rows)
            yield Part(
                spec.hdu, b"", len(content), partial(_write_bytes, content), spec.name, rows.shape, columns=rows.dtype
            )
        elif spec.name == "dq" and translation is not None:
            yield _image_part(spec, slot.shape, translation.from_standard(slot.native()))
        elif slot.file_array is not None and slot.file_array.kind == spec.kind:
            yield _image_part(spec, slot.shape, slot.file_array.stored, as_stored=True)
        else:
            yield _image_part(spec, slot.shape, slot.native())


def _image_part(spec, shape, array, *, as_stored=False):
    size = spec.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    write = None
    if array is not None:
        write = partial(_write_bytes, array) if as_stored else partial(_write_image, array, spec.kind)
    return Part(spec.hdu, b"", size, write, spec.name, shape, spec.kind)


def _write_bytes(content, handle):
    handle.write(content)


def _write_image(array, kind, handle):
    planes = array.reshape((-1, *array.shape[-2:])) if array.ndim > 2 else array[np.newaxis]
    for plane in planes:
        handle.write(encode(plane, kind))


def _structure(model, hdu, part):
    """Structural cards of an HDU: (keyword, value, comment)."""
    if hdu == PRIMARY:
        return [
            ("SIMPLE", True, "Written to the FITS standard"),
            ("BITPIX", 8, "Bits per element"),
            ("NAXIS", 0, "Number of axes"),
            ("EXTEND", True, "There are further HDUs"),
        ]
    if part is not None and part.columns is not None:
        cards = table_cards(part.columns, part.shape[0], model._schema.arrays[part.name].column_units)
    else:
        cards = image_cards(*(((), "u1") if part is None else (part.shape, part.kind)))
    return [*cards, ("EXTNAME", hdu, "Name of the HDU")]


def _stored_dtype(part):
    return np.dtype(part.kind) if part.columns is None else record_dtype(part.columns)


def asdf_part(model, parts):
    """The ASDF extension that goes with the other HDUs."""
    arrays = {part.name: (part.hdu, _stored_dtype(part), part.shape) for part in parts if part.name}
    headers = b"".join(part.header for part in parts)
    tree = {name: slot.native() for name, slot in model._slots.items() if slot.spec.hdu is None} | model._tree()
    blocks, buffer = [], io.BytesIO()
    buffer.write(compose_document(tree, arrays, model._history, headers, blocks))
    for block in blocks:
        write_block(buffer, block)
    content = buffer.getvalue()
    header = []
    for card in (
        ("XTENSION", "BINTABLE", "Binary table"),
        ("BITPIX", 8, "Bits per element"),
        ("NAXIS", 2, "Number of axes"),
        ("NAXIS1", len(content), "Bytes per row"),
        ("NAXIS2", 1, "Number of rows"),
        ("PCOUNT", 0, "Bytes besides the rows"),
        ("GCOUNT", 1, "Number of tables"),
        ("TFIELDS", 1, "Number of columns"),
        ("TTYPE1", "ASDF_METADATA", None),
        ("TFORM1", f"{len(content)}B", None),
        ("EXTNAME", "ASDF", "Name of the HDU"),
    ):
        append_card(header, *card)
    return Part("ASDF", format_header(header), len(content), partial(_write_bytes, content))

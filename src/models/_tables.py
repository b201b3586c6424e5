"""Binary tables: FITS rows of fixed width to native structured arrays, and back.

Strings become str columns. A table with other than fixed-width columns (heaps, scaled numbers) is left to astropy.
"""

import re

import numpy as np

from upramp.errors import FileFormatError, ShapeError
from upramp.models._mapped import BitsArray

__all__ = [
    "Table",
    "cast_table",
    "encode_table",
    "native_rows",
    "plain_rows",
    "read_table",
    "record_dtype",
    "table_cards",
]

# Logical values are the letters T and F.
_CODES = {"L": "S1", "B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8", "A": "S"}
_TFORMS = {"b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "u2": "I", "u4": "J"}
_OFFSETS = {"I": 2**15, "J": 2**31}


class Table(np.recarray):
    """Rows of a table: its columns are attributes too, and what ``field`` gives, as of tables that astropy reads."""

    @property
    def names(self):
        """Names of the columns, a list."""
        return list(self.dtype.names)

    @property
    def columns(self):
        """The columns as `astropy.io.fits.ColDefs`; their units are those of the schema of the model, and not here."""
        from astropy.io import fits

        return fits.ColDefs(np.asarray(self))


def read_table(hdu, spec):
    """Rows of a table HDU as a structured array of the columns that the schema declares.

    Raises
    ------
    FileFormatError
        The columns are not those of the schema.
    """
    try:
        return cast_table(native_rows(hdu), spec)
    except ShapeError as error:
        raise FileFormatError(f"{hdu.file.path}, HDU {hdu.name}: {error}") from error


def native_rows(hdu):
    """Rows of a table HDU as a native structured array with the columns of the file.

    Raises
    ------
    FileFormatError
        The header does not describe a table.
    """
    return _checked(_native_rows, hdu)


def plain_rows(hdu, spec):
    """The numbers of a table as they lie, (rows, columns); None unless all are of one type, in the columns of a schema.

    Returns
    -------
    BitsArray or None

    Raises
    ------
    FileFormatError
        The header does not describe a table.
    """
    found = _checked(_layout, hdu)
    kind = None if found is None else _kind_of_all(*found)
    if kind is None or spec.dtype != np.dtype([(name, kind) for name in spec.columns]):
        return None
    if [name.lower() for name in found[0].names] != [name.lower() for name in spec.columns]:
        return None
    return BitsArray(hdu.file.buffer, hdu.data_start, (hdu.header["NAXIS2"], len(spec.columns)), kind)


def _checked(read, hdu):
    try:
        return read(hdu)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{hdu.file.path}, HDU {hdu.index} ({hdu.name}): the header does not describe a table ({error})"
        ) from error


def _layout(hdu):
    """What a row holds: its dtype, offsets by column, and columns of logical values; None if that is not enough."""
    header = hdu.header
    layout, offsets, logicals = [], {}, set()
    for number in range(1, header["TFIELDS"] + 1):
        name = str(header.get(f"TTYPE{number}", f"col{number}")).strip()
        form = re.match(r"\s*(\d*)([A-Z])", str(header[f"TFORM{number}"]))
        if form is None:
            raise ValueError(f"TFORM{number} is {header[f'TFORM{number}']!r}")
        repeat, code = form.groups()
        zero = header.get(f"TZERO{number}", 0)
        if code not in _CODES or header.get(f"TSCAL{number}", 1) != 1 or zero not in (0, _OFFSETS.get(code)):
            return None
        count = int(repeat or 1)
        tdim = header.get(f"TDIM{number}")
        if code == "A":  # of strings the last axis is their width
            *shape, count = _column_shape(tdim, count) if tdim else (count,)
            layout.append((name, f">S{count}", tuple(shape)))
        else:
            layout.append((name, f">{_CODES[code]}", () if count == 1 else _column_shape(tdim, count)))
        if zero:
            offsets[name] = zero
        if code == "L":
            logicals.add(name)
    record = np.dtype(layout)
    return (record, offsets, logicals) if record.itemsize == header["NAXIS1"] else None


def _kind_of_all(record, offsets, logicals):
    """The kind of all columns if they are numbers of one type, as in tables of millions of rows; else None."""
    kinds = {record[name] for name in record.names}
    kind = next(iter(kinds), None)
    alike = len(kinds) == 1 and kind.subdtype is None and kind.kind in "iuf" and not offsets and not logicals
    return kind.str[1:] if alike else None


def _native_rows(hdu):
    found = _layout(hdu)
    if found is None:
        return _rows_by_astropy(hdu)
    record, offsets, logicals = found
    stored = np.frombuffer(hdu.data_bytes, dtype=record, count=hdu.header["NAXIS2"])
    kind = _kind_of_all(*found)
    if kind is not None:  # all columns at once
        return stored.view(f">{kind}").astype(kind).view([(name, kind) for name in record.names])
    columns = {name: _native_column(stored[name], offsets.get(name)) for name in record.names}
    return _convert(stored, columns | {name: stored[name] == b"T" for name in logicals})


def _column_shape(tdim, count):
    """Shape of an element of a column, from a card like ``(4,3)``."""
    lengths = [int(n) for n in re.findall(r"\d+", tdim)] if isinstance(tdim, str) else []
    return tuple(reversed(lengths)) if np.prod(lengths or [0]) == count else (count,)


def _native_column(column, offset):
    if column.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(column, "ascii", "replace"))
    column = column.astype(column.dtype.newbyteorder("="))
    if offset:
        unsigned = column.view(f"u{column.dtype.itemsize}")
        column = unsigned ^ unsigned.dtype.type(offset)
    return column


def _rows_by_astropy(hdu):
    return hdu.read_by_astropy(lambda rows: _convert(rows, {name: np.asarray(rows[name]) for name in rows.names}))


def _convert(rows, columns):
    dtype = [(n, c.dtype.newbyteorder("="), c.shape[1:]) for n, c in columns.items()]
    result = np.empty(len(rows), dtype)
    for name, column in columns.items():
        result[name] = column
    return result


def cast_table(rows, spec):
    """Rows with the columns of the schema: names matched ignoring case, order and types of the schema.

    Columns that are absent and have a default are filled with it. Others follow as they are, if the schema allows any.

    Returns
    -------
    Table

    Raises
    ------
    ShapeError
        Columns are missing, or there are others.
    """
    return _cast_rows(rows, spec).view(Table)


def _cast_rows(rows, spec):
    if isinstance(rows, list) and rows and isinstance(rows[0], tuple):
        rows = _of_tuples(rows, spec)
    rows = np.asarray(rows)
    names = rows.dtype.names
    if names is None and (rows.size == 0 or (rows.ndim == 1 and rows.dtype.kind in "biuf")):
        # Numbers without columns: each fills a row, as with the reference's models, whose users make empty tables so.
        return rows.ravel().astype(spec.dtype)
    found = {} if names is None else {name.lower(): name for name in names}
    expected = {name.lower() for name in spec.columns}
    missing = expected - {name.lower() for name in spec.column_defaults} - set(found)
    others = [name for lower, name in found.items() if lower not in expected]
    if names is None or missing or (others and not spec.takes_extra_columns):
        raise ShapeError(f"table {spec.name} has the columns {list(found.values())}; expected {list(spec.columns)}")
    if rows.dtype == spec.dtype:
        return rows
    columns = {name: rows[found[name.lower()]] for name in spec.columns if name.lower() in found}
    columns |= {name: rows[name] for name in others}
    columns = {name: _decoded(column) for name, column in columns.items()}
    dtype = [(name, _with_shape_of(spec.dtype[name], columns.get(name))) for name in spec.columns]
    dtype += [(name, columns[name].dtype.newbyteorder("="), columns[name].shape[1:]) for name in others]
    result = np.empty(rows.shape, dtype)
    for name in result.dtype.names:
        result[name] = columns[name] if name in columns else spec.column_defaults[name]
    return result


def _of_tuples(rows, spec):
    """Rows given as tuples in the order of the columns, whose elements may be arrays where the schema has no shape."""
    if any(len(row) != len(spec.columns) for row in rows):
        raise ShapeError(f"table {spec.name} has rows of {len(rows[0])} values; expected {list(spec.columns)}")
    dtype = [
        (name, _with_shape_of(spec.dtype[name], np.asarray([value])))
        for name, value in zip(spec.columns, rows[0], strict=True)
    ]
    return np.array(rows, dtype)


def _with_shape_of(dtype, column):
    """The dtype of a column of the schema; the elements of one that has no shape there may be arrays."""
    return dtype if column is None or dtype.shape else np.dtype((dtype, column.shape[1:]))


def _decoded(column):
    return np.char.decode(column, "ascii", "replace") if column.dtype.kind == "S" else column


def table_cards(dtype, n_rows, units):
    """Structural cards of the HDU of a table.

    Parameters
    ----------
    dtype : structured numpy.dtype
    n_rows : int
    units : dict of str to str
        By column.

    Returns
    -------
    list of (keyword, value, comment)
    """
    cards = [
        ("XTENSION", "BINTABLE", "Binary table"),
        ("BITPIX", 8, "Bits per element"),
        ("NAXIS", 2, "Number of axes"),
        ("NAXIS1", record_dtype(dtype).itemsize, "Bytes per row"),
        ("NAXIS2", n_rows, "Number of rows"),
        ("PCOUNT", 0, "Bytes besides the rows"),
        ("GCOUNT", 1, "Number of tables"),
        ("TFIELDS", len(dtype.names), "Number of columns"),
    ]
    for number, name in enumerate(dtype.names, 1):
        base, shape = dtype[name].base, dtype[name].shape
        count = int(np.prod(shape, dtype=int)) if shape else ""
        cards.append((f"TTYPE{number}", name, None))
        if base.kind in "US":
            width = base.itemsize // (4 if base.kind == "U" else 1)
            cards.append((f"TFORM{number}", f"{width * (count or 1)}A", None))
            shape = (*shape, width) if shape else ()
        else:
            cards.append((f"TFORM{number}", f"{count}{_TFORMS[base.str[1:]]}", None))
        if len(shape) > 1:
            cards.append((f"TDIM{number}", f"({','.join(str(n) for n in reversed(shape))})", None))
        if base.kind == "u" and base.itemsize > 1:
            cards += [(f"TSCAL{number}", 1, None), (f"TZERO{number}", 1 << (8 * base.itemsize - 1), None)]
        if name in units:
            cards.append((f"TUNIT{number}", units[name], None))
    return cards


def record_dtype(dtype):
    """dtype of one row as FITS stores it."""
    fields = []
    for name in dtype.names:
        base, shape = dtype[name].base, dtype[name].shape
        if base.kind == "U":
            base = np.dtype(f"S{base.itemsize // 4}")
        elif base.kind == "b":
            base = np.dtype("S1")
        elif base.kind != "S" and base.str[1:] not in _TFORMS:
            raise ShapeError(f"column {name} has the type {base}, which FITS does not have")
        fields.append((name, base.newbyteorder(">"), shape))
    return np.dtype(fields)


def encode_table(rows):
    """The bytes of the rows as FITS stores them."""
    stored = np.empty(len(rows), record_dtype(rows.dtype))
    for name in rows.dtype.names:
        base = rows.dtype[name].base
        if base.kind == "U":
            stored[name] = np.char.encode(rows[name], "ascii", "replace")
        elif base.kind == "b":
            stored[name] = np.where(rows[name], b"T", b"F")
        elif base.kind == "u" and base.itemsize > 1:
            stored[name] = rows[name] ^ base.type(1 << (8 * base.itemsize - 1))
        else:
            stored[name] = rows[name]
    return stored.tobytes()

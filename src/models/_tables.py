"""Binary tables: FITS rows of fixed width to native structured arrays, and back.

Strings become str columns. A table with other than fixed-width columns (heaps, scaled numbers) is left to astropy.
"""

import re

import numpy as np

from upramp.errors import FileFormatError, ShapeError

__all__ = ["cast_table", "encode_table", "read_table", "table_cards"]

_CODES = {"L": "b1", "B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8", "A": "S"}
_OFFSETS = {"I": 2**15, "J": 2**31}


def read_table(hdu, spec):
    """Rows of a table HDU as a structured array of the columns that the schema declares.

    Raises
    ------
    FileFormatError
        The columns are not those of the schema.
    """
    try:
        return cast_table(_native_rows(hdu), spec)
    except ShapeError as error:
        raise FileFormatError(f"{hdu.file.path}, HDU {hdu.name}: {error}") from error


def _native_rows(hdu):
    header = hdu.header
    layout, offsets = [], {}
    for number in range(1, header["TFIELDS"] + 1):
        name = str(header.get(f"TTYPE{number}", f"col{number}")).strip()
        repeat, code = re.match(r"\s*(\d*)([A-Z])", header[f"TFORM{number}"]).groups()
        zero = header.get(f"TZERO{number}", 0)
        if code not in _CODES or header.get(f"TSCAL{number}", 1) != 1 or zero not in (0, _OFFSETS.get(code)):
            return _rows_by_astropy(hdu)
        count = int(repeat or 1)
        shape = () if code == "A" or count == 1 else (count,)
        layout.append((name, f">S{count}" if code == "A" else f">{_CODES[code]}", shape))
        if zero:
            offsets[name] = zero
    record = np.dtype(layout)
    if record.itemsize != header["NAXIS1"]:
        return _rows_by_astropy(hdu)
    stored = np.frombuffer(hdu.data_bytes, dtype=record, count=header["NAXIS2"])
    kinds = {kind for _, kind, shape in layout if shape == ()}
    if len(kinds) == 1 and len(layout) == record.itemsize // np.dtype(*kinds).itemsize and not offsets:
        # Numbers of one type, as in tables of millions of rows: all columns at once.
        plain = np.dtype(kinds.pop())
        if plain.kind != "S":
            names = [name for name, *_ in layout]
            native = plain.newbyteorder("=")
            return stored.view(plain).astype(native).view([(name, native) for name in names])
    return _convert(stored, {name: _native_column(stored[name], offsets.get(name)) for name, *_ in layout})


def _native_column(column, offset):
    if column.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(column, "ascii", "replace"))
    column = column.astype(column.dtype.newbyteorder("="))
    if offset:
        unsigned = column.view(f"u{column.dtype.itemsize}")
        column = unsigned ^ unsigned.dtype.type(offset)
    return column


def _rows_by_astropy(hdu):
    from astropy.io import fits  # takes 0.5 s to import

    with fits.open(hdu.file.path, memmap=False) as hdus:
        rows = hdus[hdu.index].data
        return _convert(rows, {name: np.asarray(rows[name]) for name in rows.names})


def _convert(rows, columns):
    dtype = [(n, c.dtype.newbyteorder("="), c.shape[1:]) for n, c in columns.items()]
    result = np.empty(len(rows), dtype)
    for name, column in columns.items():
        result[name] = column
    return result


def cast_table(rows, spec):
    """Rows with exactly the columns of the schema: names matched ignoring case, order and types of the schema.

    Columns that are absent and have a default are filled with it.

    Raises
    ------
    ShapeError
        Other columns are missing, or there are others.
    """
    rows = np.asarray(rows)
    names = rows.dtype.names
    if names is None and (rows.size == 0 or (rows.ndim == 1 and rows.dtype.kind in "biuf")):
        # Numbers without columns: each fills a row, as with the reference's models, whose users make empty tables so.
        return rows.ravel().astype(spec.dtype)
    found = {} if names is None else {name.lower(): name for name in names}
    expected = [name for name, _ in spec.columns]
    optional = {name.lower() for name in spec.column_defaults}
    if not {name.lower() for name in expected} - optional <= set(found) <= {name.lower() for name in expected}:
        raise ShapeError(f"table {spec.name} has the columns {list(found.values())}; expected {expected}")
    if rows.dtype == spec.dtype:
        return rows
    result = np.empty(rows.shape, spec.dtype)
    for name, dtype in spec.columns:
        if name.lower() not in found:
            result[name] = spec.column_defaults[name]
            continue
        column = rows[found[name.lower()]]
        if dtype.kind == "U" and column.dtype.kind == "S":
            column = np.char.decode(column, "ascii", "replace")
        result[name] = column
    return result


def table_cards(spec, n_rows):
    """Structural cards of the HDU of a table: list of (keyword, value, comment)."""
    cards = [
        ("XTENSION", "BINTABLE", "Binary table"),
        ("BITPIX", 8, "Bits per element"),
        ("NAXIS", 2, "Number of axes"),
        ("NAXIS1", _record(spec).itemsize, "Bytes per row"),
        ("NAXIS2", n_rows, "Number of rows"),
        ("PCOUNT", 0, "Bytes besides the rows"),
        ("GCOUNT", 1, "Number of tables"),
        ("TFIELDS", len(spec.columns), "Number of columns"),
    ]
    codes = {dtype: code for code, dtype in _CODES.items()}
    for number, (name, dtype) in enumerate(spec.columns, 1):
        kind = dtype.str[1:]
        cards.append((f"TTYPE{number}", name, None))
        if dtype.kind == "U":
            cards.append((f"TFORM{number}", f"{dtype.itemsize // 4}A", None))
        elif kind in ("u2", "u4"):
            code = codes[f"i{kind[1]}"]
            cards += [(f"TFORM{number}", code, None), (f"TSCAL{number}", 1, None)]
            cards.append((f"TZERO{number}", _OFFSETS[code], None))
        else:
            cards.append((f"TFORM{number}", codes[kind], None))
    return cards


def _record(spec):
    """dtype of one row as FITS stores it."""
    return np.dtype([(n, f"S{d.itemsize // 4}" if d.kind == "U" else d.newbyteorder(">")) for n, d in spec.columns])


def encode_table(rows, spec):
    """The bytes of the rows as FITS stores them."""
    stored = np.empty(len(rows), _record(spec))
    for name, dtype in spec.columns:
        if dtype.kind == "U":
            stored[name] = np.char.encode(rows[name], "ascii", "replace")
        elif dtype.kind == "u" and dtype.itemsize > 1:
            stored[name] = rows[name] ^ dtype.type(1 << (8 * dtype.itemsize - 1))
        else:
            stored[name] = rows[name]
    return stored.tobytes()

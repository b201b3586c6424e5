"""Fill a model from a FITS file: metadata from the headers and the ASDF extension, arrays only located."""

from upramp.errors import FileFormatError
from upramp.models._asdf_document import parse_document
from upramp.models._fits_header import readable_cards
from upramp.models._slots import ArraySlot, SourceImage, SourceTable, dq_table, native_array

__all__ = ["locate_arrays", "read_into"]


def read_into(model, file):
    """Read a file into an empty model.

    Parameters
    ----------
    model : DataModel
    file : FitsFile

    Raises
    ------
    FileFormatError
        An array has a number of dimensions that the model does not take.
    """
    known, model._extra_hdus, asdf = _sorted_hdus(model._schema, file)
    for hdu in known:
        _read_cards(model, hdu)
    model._history += file.hdus[0].header.all_values("HISTORY")
    if asdf is not None:
        _read_asdf(model, asdf)
    locate_arrays(model, file)


def locate_arrays(model, file):
    """Give a model without arrays those of a file. Raises FileFormatError as `read_into`."""
    for hdu in _sorted_hdus(model._schema, file)[0]:
        _locate_array(model, hdu)
    if "dq" in model._slots and "dq_def" in model._schema.arrays:
        table = dq_table(model._slots, file.path.name)
        if table is not None:
            model._slots["dq"] = ArraySlot(model._schema.arrays["dq"], model._slots["dq"].file_source, table)


def _sorted_hdus(schema, file):
    """HDUs that the schema has a place for (the first of each name), the others, and the ASDF extension or None."""
    known, others, asdf = {}, [], None
    for hdu in file.hdus:
        if hdu.name == "ASDF":
            asdf = hdu
        elif hdu.name in known or not _belongs(hdu, schema):
            others.append(hdu)
        else:
            known[hdu.name] = hdu
    return list(known.values()), others, asdf


def _belongs(hdu, schema):
    """Whether the schema has a place for all of the HDU, whatever its EXTVER; data of the primary HDU have none."""
    return hdu.index == 0 or hdu.name in schema.hdus or (hdu.name in schema.known_hdus and hdu.data_size == 0)


def _read_cards(model, hdu):
    for keyword, value, comment in readable_cards(hdu):
        spec = model._schema.cards.get((hdu.name, keyword))
        if spec is None:
            model._extra_cards.setdefault(hdu.name, []).append((keyword, value, comment))
        elif value is not None:
            model._set(spec.path, value)


def _locate_array(model, hdu):
    spec = model._schema.hdus.get(hdu.name)
    if spec is None or not hdu.header["NAXIS"]:
        return
    if spec.is_table != hdu.is_table:
        found, expected = ("an image", "a table") if spec.is_table else ("a table", "an image")
        raise FileFormatError(f"{hdu.file.path}, HDU {hdu.name}: holds {found}; expected {expected}")
    if spec.is_table:
        model._slots[spec.name] = ArraySlot(spec, SourceTable(hdu, spec))
        return
    problem = spec.dimension_problem(len(hdu.shape))
    if problem:
        raise FileFormatError(
            f"Array has wrong number of dimensions: {hdu.file.path}, HDU {hdu.name}: the array {problem}; its shape is "
            f"{hdu.shape}. Is this file really a {type(model).__name__}?"
        )
    model._slots[spec.name] = ArraySlot(spec, hdu.image() if hdu.is_plain else SourceImage(hdu))


def _read_asdf(model, hdu):
    """Take from the ASDF extension what the headers do not say: what they cannot hold, and cards that were deleted.

    With the reference's models, too, a keyword that was deleted from a header comes back.
    """
    tree, history = parse_document(bytes(hdu.data_bytes), str(hdu.file.path))
    if not model._history:
        model._history += history
    for name, value in tree.items():
        spec = model._schema.arrays.get(name)
        if spec is not None and spec.hdu is None and value is not None:
            model._slots[name] = ArraySlot(spec, native_array(value, spec))
        elif name != "extra_fits":
            model._take(name, value, absent=True)

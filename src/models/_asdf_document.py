"""ASDF documents: the YAML part of an ASDF file, and the extension of FITS files for what FITS cards cannot hold.

In the extension of a FITS file the document is plain text: arrays appear only as references to HDUs
(``source: fits:SCI,1``), so that writing it copies no pixels and reading it needs no more than a YAML parser. Objects
with a tag of their own (a WCS) are carried from the input to the output as they are, until somebody asks for them.
"""

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import yaml

from upramp import __version__
from upramp.errors import InvalidMetadataError
from upramp.models._asdf_blocks import array_of, read_blocks

__all__ = ["SEQUENCE", "TaggedValue", "compose_document", "parse_document"]

log = logging.getLogger(__name__)

SEQUENCE = "tag:yaml.org,2002:seq"
_PREFIX = "tag:stsci.edu:asdf/"
_HEAD = b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n"
_OWN_KEYS = {"asdf_library", "history", "_fits_hash"}


@dataclass(frozen=True)
class TaggedValue:
    """A value with an ASDF tag (a mapping, a sequence or a scalar), or a sequence that holds some."""

    tag: str
    value: object


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe loader that keeps unknown tags."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Safe dumper that writes tags back, and arrays into the document."""

    blocks = None  # a list takes the arrays instead

    def ignore_aliases(self, data):
        return True


def _construct(loader, suffix, node):
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_scalar(node)
    return TaggedValue(suffix, value)


def _represent(dumper, tagged):
    if isinstance(tagged.value, dict):
        return dumper.represent_mapping(tagged.tag, tagged.value)
    if isinstance(tagged.value, list):
        return dumper.represent_sequence(tagged.tag, tagged.value)
    return dumper.represent_scalar(tagged.tag, str(tagged.value))


def _represent_array(dumper, array):
    if hasattr(array, "unit"):  # a Quantity of astropy, which is an array too
        return _represent_object(dumper, array)
    if dumper.blocks is None:
        fields = {"data": array.tolist(), "datatype": _datatype(array.dtype), "shape": list(array.shape)}
    else:
        stored = _without_unicode(array)
        order = "big" if stored.dtype.str[0] == ">" else "little"
        fields = {
            "source": len(dumper.blocks),
            "datatype": _datatype(stored.dtype),
            "byteorder": order,
            "shape": list(stored.shape),
        }
        dumper.blocks.append(stored)
    return dumper.represent_mapping(_PREFIX + "core/ndarray-1.1.0", fields)


def _without_unicode(array):
    """An array as ASDF blocks hold it: strings of tables are bytes."""
    if array.dtype.names is None:
        return array
    fields = []
    for name in array.dtype.names:
        base = array.dtype[name].base
        fields.append((name, f"S{base.itemsize // 4}" if base.kind == "U" else base, array.dtype[name].shape))
    result = np.empty(array.shape, fields)
    for name in array.dtype.names:
        column = array[name]
        result[name] = np.char.encode(column, "ascii", "replace") if column.dtype.kind == "U" else column
    return result


def _represent_object(dumper, value):
    from upramp.models._asdf_objects import to_tagged

    return dumper.represent_data(to_tagged(value))


_Loader.add_multi_constructor("", _construct)
_Dumper.add_representer(TaggedValue, _represent)
_Dumper.add_multi_representer(np.ndarray, _represent_array)
_Dumper.add_multi_representer(np.generic, lambda dumper, value: dumper.represent_data(value.item()))
_Dumper.add_multi_representer(object, _represent_object)


def parse_document(content, origin):
    """Read an ASDF document.

    Parameters
    ----------
    content : buffer with a method ``find``
        The document and the binary blocks after it.
    origin : str
        Name of the file, for messages.

    Returns
    -------
    tree : dict
        Everything but arrays in HDUs and what belongs to ASDF itself. Other arrays are ndarray: those in blocks are
        views. Tags are kept as `TaggedValue`.
    history : list of str
        Descriptions of the history entries.

    Raises
    ------
    FileFormatError
        An array is not where the document says.
    """
    end = content.find(b"\n...")
    text = bytes(content[: end if end >= 0 else len(content)])
    try:
        document = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        log.warning("%s: the ASDF document cannot be read and is ignored: %s", origin, error)
        return {}, []
    tree = _untag(document)
    if not isinstance(tree, dict):
        return {}, []
    blocks = read_blocks(content, end, origin) if end >= 0 else []
    entries = _untag(tree.get("history")) or []
    if isinstance(entries, dict):  # documents before ASDF 1.2 have the list itself
        entries = entries.get("entries") or []
    history = [str(_untag(entry).get("description", "")) for entry in entries if isinstance(_untag(entry), dict)]
    tree = {str(key): value for key, value in tree.items() if key not in _OWN_KEYS and not _is_in_hdu(value)}
    return {key: _cleaned(value, blocks, f"{origin}, {key}") for key, value in tree.items()}, history


def _untag(value):
    return value.value if isinstance(value, TaggedValue) else value


def _is_array(value):
    return isinstance(value, TaggedValue) and "/core/ndarray-" in value.tag


def _is_in_hdu(value):
    return _is_array(value) and isinstance(value.value, dict) and isinstance(value.value.get("source"), str)


def _cleaned(value, blocks, origin):
    """A tree with arrays as ndarray; a list that holds tagged values is a `TaggedValue` itself."""
    if _is_in_hdu(value):
        log.warning("%s: an array within the metadata lies in an HDU and is not carried on", origin)
        return None
    if _is_array(value):
        return array_of(value.value, blocks, origin)
    if isinstance(value, TaggedValue):
        return TaggedValue(value.tag, _cleaned(value.value, blocks, origin))
    if isinstance(value, dict):
        return {key: _cleaned(item, blocks, f"{origin}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        items = [_cleaned(item, blocks, origin) for item in value]
        return TaggedValue(SEQUENCE, items) if any(map(_holds_tags, items)) else items
    return value


def _holds_tags(value):
    if isinstance(value, dict):
        return any(map(_holds_tags, value.values()))
    return isinstance(value, TaggedValue)


def compose_document(tree, arrays=None, history=(), headers=None, blocks=None):
    """Write an ASDF document.

    Parameters
    ----------
    tree : dict
        Metadata and free attributes. Objects of any type that the asdf library can write are permitted.
    arrays : dict of str to (hdu name, dtype, shape), optional
        Arrays that lie in HDUs of the same file.
    history : sequence of str
    headers : bytes, optional
        All headers before the ASDF HDU; their hash tells readers whether a header was edited since.
    blocks : list, optional
        Takes the arrays of the tree, to be written behind the document; without it they stand in the document.

    Returns
    -------
    bytes

    Raises
    ------
    InvalidMetadataError
        A value is of a type that has no place in the document.
    """
    document = {
        "asdf_library": TaggedValue(_PREFIX + "core/software-1.0.0", {"name": "upramp", "version": __version__}),
        "history": {
            "entries": [TaggedValue(_PREFIX + "core/history_entry-1.0.0", {"description": str(t)}) for t in history]
        },
    }
    if headers is not None:
        document["_fits_hash"] = hashlib.sha256(headers).hexdigest()
    for name, (hdu, dtype, shape) in (arrays or {}).items():
        fields = {
            "source": f"fits:{hdu},1",
            "datatype": _datatype(dtype),
            "byteorder": "big",
            "shape": list(shape),
        }
        document[name] = TaggedValue(_PREFIX + "core/ndarray-1.1.0", fields)
    document |= tree
    try:
        body = yaml.dump(
            TaggedValue(_PREFIX + "core/asdf-1.1.0", document),
            Dumper=type("Dumper", (_Dumper,), {"blocks": blocks}),
            explicit_start=True,
            explicit_end=True,
            version=(1, 1),
            tags={"!": _PREFIX},
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
        )
    except yaml.representer.RepresenterError as error:
        raise InvalidMetadataError(
            f"a value of the metadata cannot be saved: {error.args[-1]!r}; only numbers, strings, booleans, None, "
            "arrays, lists, dicts and objects that ASDF knows can"
        ) from error
    return _HEAD + body.encode()


def _datatype(dtype):
    if dtype.kind in "SU":
        return ["ascii" if dtype.kind == "S" else "ucs4", dtype.itemsize // (1 if dtype.kind == "S" else 4)]
    if dtype.names is None:
        return "bool8" if dtype.kind == "b" else dtype.name
    columns = []
    for name in dtype.names:
        base, shape = dtype[name].base, dtype[name].shape
        order = "big" if base.str[0] == ">" else "little"
        columns.append({"name": name, "datatype": _datatype(base), "byteorder": order})
        if shape:
            columns[-1]["shape"] = list(shape)
    return columns

"""The ASDF extension: a YAML document in the last HDU, for metadata that FITS cards cannot hold.

The document is plain text: arrays appear only as references to HDUs (``source: fits:SCI,1``), so that writing
it copies no pixels and reading it needs no more than a YAML parser. Objects with a tag of their own (a WCS) are
carried from the input to the output as they are.
"""

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import yaml

from upramp import __version__
from upramp.errors import InvalidMetadataError

__all__ = ["TaggedValue", "compose_document", "parse_document"]

log = logging.getLogger(__name__)

_PREFIX = "tag:stsci.edu:asdf/"
_HEAD = b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n"
_OWN_KEYS = {"asdf_library", "history", "_fits_hash", "extra_fits"}


@dataclass(frozen=True)
class TaggedValue:
    """A value with an ASDF tag: a mapping, a sequence or a scalar."""

    tag: str
    value: object


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe loader that keeps unknown tags."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Safe dumper that writes tags back."""

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
    fields = {"data": array.tolist(), "datatype": array.dtype.name, "shape": list(array.shape)}
    return dumper.represent_mapping(_PREFIX + "core/ndarray-1.1.0", fields)


_Loader.add_multi_constructor("", _construct)
_Dumper.add_representer(TaggedValue, _represent)
_Dumper.add_multi_representer(np.ndarray, _represent_array)


def parse_document(content, origin):
    """Read an ASDF document.

    Parameters
    ----------
    content : bytes
        The document; binary blocks after it are not read.
    origin : str
        Name of the file, for messages.

    Returns
    -------
    tree : dict
        Everything but arrays in HDUs and what belongs to ASDF itself. Tags are kept as `TaggedValue`.
    history : list of str
        Descriptions of the history entries.
    """
    text = bytes(content).partition(b"\n...")[0]
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        log.warning("%s: the ASDF extension cannot be read and is ignored: %s", origin, error)
        return {}, []
    tree = _untag(document)
    if not isinstance(tree, dict):
        return {}, []
    entries = _untag(tree.get("history")) or []
    if isinstance(entries, dict):  # documents before ASDF 1.2 have the list itself
        entries = entries.get("entries", [])
    history = [str(_untag(entry).get("description", "")) for entry in entries]
    return {k: _cleaned(v, k, origin) for k, v in tree.items() if k not in _OWN_KEYS and not _is_array(v)}, history


def _untag(value):
    return value.value if isinstance(value, TaggedValue) else value


def _is_array(value):
    return isinstance(value, TaggedValue) and "/core/ndarray-" in value.tag


def _cleaned(value, path, origin):
    """A tree with inline arrays as ndarray; arrays in binary blocks are reported and left out."""
    if _is_array(value):
        fields = value.value
        if isinstance(fields, list):
            return np.array(fields)
        if "data" in fields:
            return np.array(fields["data"], dtype=fields.get("datatype"))
        log.warning("%s: the array %s in the ASDF extension is not carried on", origin, path)
        return None
    if isinstance(value, dict):
        return {k: _cleaned(v, f"{path}.{k}", origin) for k, v in value.items()}
    return value


def compose_document(tree, arrays, history, headers):
    """Write an ASDF document.

    Parameters
    ----------
    tree : dict
        Metadata and free attributes.
    arrays : dict of str to (hdu name, dtype, shape)
        Arrays that lie in HDUs of the same file.
    history : list of str
    headers : bytes
        All headers before the ASDF HDU; their hash tells readers whether a header was edited since.

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
            "entries": [TaggedValue(_PREFIX + "core/history_entry-1.0.0", {"description": t}) for t in history]
        },
        "_fits_hash": hashlib.sha256(headers).hexdigest(),
    }
    for name, (hdu, dtype, shape) in arrays.items():
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
            Dumper=_Dumper,
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
            "arrays, lists and dicts can"
        ) from error
    return _HEAD + body.encode()


def _datatype(dtype):
    if dtype.names is None:
        return dtype.name
    return [
        {
            "name": name,
            "datatype": ["ascii", dtype[name].itemsize // 4] if dtype[name].kind == "U" else dtype[name].name,
            "byteorder": "big",
        }
        for name in dtype.names
    ]

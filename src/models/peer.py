"""Exchange with the models of the reference pipeline (stdatamodels), which is imported only when there is one.

Nothing goes by way of a file: metadata, arrays, tables, history and what the schema does not know are handed over as
they are. Arrays are not copied where both sides hold them alike.
"""

import sys

import numpy as np

from upramp.models._asdf_document import TaggedValue
from upramp.models._metadata import nested
from upramp.models.model import OTHER_NAMES, DataModel
from upramp.models.opening import _class_named, names

__all__ = ["from_peer", "is_peer", "ours", "theirs", "to_peer"]

_PACKAGE = "stdatamodels"


def is_peer(thing):
    """Whether an object is a model of the reference pipeline. Does not import it: whoever has such a model did."""
    return _PACKAGE in sys.modules and any(c.__module__.split(".")[0] == _PACKAGE for c in type(thing).__mro__)


def from_peer(model, otherwise=None):
    """Our model of the same name with the same contents.

    Parameters
    ----------
    model : stdatamodels.jwst.datamodels.JwstDataModel
    otherwise : type, optional
        Class to make when there is no model of that name here.

    Returns
    -------
    DataModel

    Raises
    ------
    TypeError
        There is no model of that name here.
    """
    name = type(model).__name__
    cls = _class_named(name) or (otherwise if is_peer(model) else None)
    if cls is None:
        raise TypeError(f"there is no model {name} here; there are {names()}")
    made = cls()
    for key, value in model.instance.items():
        if key == "extra_fits":
            made.extra_fits.take(value)
        elif key == "history":
            entries = value.get("entries", []) if isinstance(value, dict) else value
            made.history = [entry["description"] for entry in entries]
        elif key in made._schema.arrays and value is not None:
            setattr(made, key, _plain(value))
        elif key not in ("asdf_library", "_fits_hash"):
            made._take(key, _plain(value))
    return made


def to_peer(model):
    """The model of the reference pipeline of the same name with the same contents.

    Parameters
    ----------
    model : DataModel

    Returns
    -------
    stdatamodels.jwst.datamodels.JwstDataModel

    Raises
    ------
    ImportError
        stdatamodels is not installed.
    TypeError
        It has no model of that name.
    """
    from stdatamodels.jwst import datamodels

    name = type(model).__name__
    cls = getattr(datamodels, OTHER_NAMES.get(name, name), None)
    if cls is None:
        raise TypeError(f"the reference pipeline has no {name}")
    tree = {path: model._get(path) if isinstance(v, TaggedValue) else v for path, v in model._values.items()}
    tree = nested(tree, model._nodes)
    made = cls(tree)
    for array in model._schema.arrays:
        value = getattr(model, array)
        if value is not None:
            setattr(made, array, _with_byte_strings(value))
    for line in model.history:
        made.add_history_entry(str(line))
    extra = model.extra_fits.instance
    if extra:
        made._instance["extra_fits"] = extra
    made.meta.filename = model.meta.filename
    made.meta.date = model.meta.date
    return made


def ours(things):
    """Some things, lists among them, with models of the reference pipeline replaced by ours."""
    if isinstance(things, list | tuple):
        return type(things)(ours(thing) for thing in things)
    return from_peer(things) if is_peer(things) else things


def theirs(things):
    """The opposite of `ours`."""
    if isinstance(things, list | tuple):
        return type(things)(theirs(thing) for thing in things)
    return to_peer(things) if isinstance(things, DataModel) else things


def _plain(value):
    """A value of their tree: dictionaries and lists as such, arrays as ndarray."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray) or type(value).__name__ == "NDArrayType":
        return np.asarray(value)
    return value


def _with_byte_strings(array):
    """An array as their tables want it: strings are bytes."""
    if array.dtype.names is None:
        return array
    fields = []
    for name in array.dtype.names:
        base = array.dtype[name].base
        fields.append((name, f"S{base.itemsize // 4}" if base.kind == "U" else base, array.dtype[name].shape))
    return array.astype(fields)

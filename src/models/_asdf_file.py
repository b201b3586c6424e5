"""ASDF files of models: the same tree as in FITS, with the arrays in binary blocks."""

from pathlib import Path

import numpy as np

from upramp.errors import FileFormatError
from upramp.models._asdf_blocks import write_block
from upramp.models._asdf_document import compose_document, parse_document
from upramp.models._atomic import replacing
from upramp.models._mapped import map_file
from upramp.models._slots import ArraySlot, SourceArray, dq_table
from upramp.models._tables import cast_table

__all__ = ["AsdfSource", "read_asdf_tree", "write_asdf_file", "write_asdf_tree"]

_MAGIC = b"#ASDF"


class AsdfSource:
    """An ASDF file: its tree and history. Arrays are views of the mapped file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError
        The file is not ASDF, or is damaged.
    """

    def __init__(self, path):
        self.path = Path(path)
        with self.path.open("rb") as handle:
            begin = handle.read(len(_MAGIC))
            if begin != _MAGIC:
                raise FileFormatError(f"{path} is not an ASDF file: it begins with {begin!r} instead of {_MAGIC!r}")
            content = map_file(handle)
        self.tree, self.history = parse_document(content, str(self.path))
        if not self.tree:
            raise FileFormatError(f"{path}: the ASDF document is empty or damaged. Get the file again.")

    @property
    def model_type(self):
        """Name of the model, or None."""
        meta = self.tree.get("meta")
        return meta.get("model_type") if isinstance(meta, dict) else None

    def read_into(self, model):
        """Fill an empty model.

        Raises
        ------
        FileFormatError
            An array has a number of dimensions, or a table columns, that the model does not take.
        """
        model._history += self.history
        arrays = model._schema.arrays
        for name, value in self.tree.items():
            if name == "extra_fits":
                model.extra_fits.take(value)
            elif name in arrays:
                if value is not None:
                    model._slots[name] = ArraySlot(arrays[name], self._source(arrays[name], value))
            else:
                model._take(name, value)
        if "dq" in model._slots:
            table = dq_table(model._slots, self.path.name)
            if table is not None:
                model._slots["dq"] = ArraySlot(arrays["dq"], model._slots["dq"].file_source, table)

    def _source(self, spec, value):
        if not hasattr(value, "dtype"):
            raise FileFormatError(f"{self.path}: {spec.name} is a {type(value).__name__}; expected an array")
        problem = spec.dimension_problem(value.ndim)
        if problem:
            raise FileFormatError(f"{self.path}: {spec.name} {problem}; its shape is {value.shape}")
        # A table is read at once, into an array of its own: what lies in the file cannot be written to.
        return cast_table(np.array(value), spec) if spec.is_table else SourceArray(value)


def write_asdf_file(model, path):
    """Write a model to ``path``, atomically."""
    tree = {}
    translation = dq_table(model._slots)
    for name, slot in model._slots.items():
        tree[name] = slot.native()
        if name == "dq" and translation is not None:
            tree[name] = translation.from_standard(slot.native())
    tree |= model._tree()
    extra = model.extra_fits.instance
    if extra:
        tree["extra_fits"] = extra
    write_asdf_tree(tree, path, model._history)


def read_asdf_tree(path):
    """Read an ASDF file without a model.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        Everything but what belongs to ASDF itself; arrays are views of the mapped file.

    Raises
    ------
    FileNotFoundError, FileFormatError
        There is no such file; it is not ASDF, or damaged.
    """
    return AsdfSource(path).tree


def write_asdf_tree(tree, path, history=()):
    """Write an ASDF file without a model; it appears when it is complete.

    Parameters
    ----------
    tree : dict
        Of numbers, texts, lists, dicts and arrays.
    path : path-like
    history : sequence of str
    """
    blocks = []
    document = compose_document(tree, history=history, blocks=blocks)
    with replacing(path) as handle:
        handle.write(document)
        for block in blocks:
            write_block(handle, block)

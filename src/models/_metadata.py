"""The metadata of a model: a flat dictionary of values by path, checked against the schema."""

import datetime
import functools
import logging
import sys
import warnings

import numpy as np

from upramp.errors import InvalidMetadataError
from upramp.models._asdf_document import TaggedValue
from upramp.models._asdf_objects import to_object
from upramp.models._node import Node

__all__ = ["Metadata", "ValidationWarning", "flattened", "invalid_metadata", "nested", "plain_value"]

log = logging.getLogger(__name__)


class ValidationWarning(UserWarning):
    """A value of the metadata is not what the schema permits, and was left out."""


def invalid_metadata(message):
    """An InvalidMetadataError that is also the error of the asdf library, for those who catch that one.

    The models of the reference pipeline raise it. Whoever catches it has imported asdf; nobody else has to.
    """
    theirs = getattr(sys.modules.get("asdf.exceptions"), "ValidationError", None)
    return (InvalidMetadataError if theirs is None else _also(theirs))(message)


@functools.cache
def _also(other):
    class Both(InvalidMetadataError, other):
        def __init__(self, message):
            other.__init__(self, message)

    Both.__name__ = Both.__qualname__ = InvalidMetadataError.__name__
    Both.__module__ = InvalidMetadataError.__module__
    return Both


class Metadata:
    """Access to values by path; a base of the models.

    Subclasses provide ``_schema``, ``_switches``, ``_values`` (dict of path to value) and ``_nodes`` (set of the paths
    of inner nodes that are not in the schema).
    """

    def _get(self, path):
        if path in self._values:
            value = self._values[path]
            if isinstance(value, TaggedValue):
                value = self._values[path] = to_object(value)
            return value
        if path in self._schema.objects or path in self._nodes:
            return Node(self, path)
        if path in self._schema.keywords:
            return None
        raise AttributeError(f"No attribute {path.rpartition('.')[2]!r}: {type(self).__name__} has no {path}")

    def _names_below(self, path):
        """Names of what is known or stored directly below an inner node; of the model itself for the path ``""``."""
        start = f"{path}." if path else ""
        paths = (*self._schema.keywords, *self._schema.objects, *self._values, *self._nodes)
        return {other[len(start) :].split(".")[0] for other in paths if other.startswith(start) and other != path}

    def _set(self, path, value):
        value = plain_value(value)
        if isinstance(value, dict):
            # What is not permitted is kept and told of below, or the group as a whole is left as it was.
            kept = self._switches.pass_invalid_values
            if not kept and not all([self._accepts(one, item) for one, item in _leaves_of(path, value)]):
                return
            self._delete_below(path)
            self._add_node(path)
            for name, item in value.items():
                self._set(f"{path}.{name}", item)
            return
        if value is None:
            self._values.pop(path, None)
            self._delete_below(path)
            return
        if path in self._schema.objects:
            self._refuse(path, value, "it is a group of metadata and takes a dict")
        elif self._accepts(path, value):
            self._add_node(path.rpartition(".")[0])
            self._values[path] = value

    def _take(self, path, value, *, absent=False):
        """Store what an ASDF document holds; `absent`: only what is not there, from the cards of the headers."""
        if isinstance(value, dict):
            if path not in self._schema.objects:
                self._add_node(path)
            for name, item in value.items():
                self._take(f"{path}.{name}", item, absent=absent)
            return
        if path not in self._schema.arrays and not (absent and path in self._values):
            self._set(path, value)

    def _tree(self):
        """Everything that is stored, as nested dictionaries: what an ASDF document holds."""
        return nested(self._values, self._nodes)

    def _accepts(self, path, value):
        spec = self._schema.keywords.get(path)
        if spec is None or not self._switches.validate_on_assignment:
            return True
        problem = spec.problem(value)
        if not problem:
            return True
        kept = self._switches.pass_invalid_values
        self._refuse(path, value, problem, kept)
        return kept

    def _refuse(self, path, value, problem, kept=False):
        text = f"{self._described()}: the value {value!r} of {path} is not permitted: {problem[:2000]}"
        if self._switches.strict_validation:
            raise invalid_metadata(text)
        outcome = "It is kept, but cannot be saved to FITS." if kept else f"{path} is left as it was."
        warnings.warn(f"{text}. {outcome}", ValidationWarning, stacklevel=5)

    def _has_place_for(self, path):
        """Whether the group of a value is known to the schema, or is there."""
        group = path.rpartition(".")[0]
        return not group or group in self._schema.objects or group in self._nodes

    def _add_node(self, path):
        while path and path not in self._schema.objects and path not in self._nodes:
            self._nodes.add(path)
            path = path.rpartition(".")[0]

    def _delete(self, path):
        if not self._is_stored(path):
            raise AttributeError(f"No attribute {path!r} is set")
        self._values.pop(path, None)
        self._delete_below(path)

    def _delete_below(self, path):
        below = path + "."
        for stored in [key for key in self._values if key.startswith(below)]:
            del self._values[stored]
        self._nodes -= {node for node in self._nodes if node == path or node.startswith(below)}

    def _is_stored(self, path):
        below = path + "."
        return path in self._values or path in self._nodes or any(key.startswith(below) for key in self._values)

    def _below(self, path):
        """The values below a path, by the rest of their paths."""
        below = path + "."
        return {key[len(below) :]: value for key, value in self._values.items() if key.startswith(below)}

    def _subtree(self, path):
        below = path + "."
        empty = [node[len(below) :] for node in self._nodes if node.startswith(below)]
        return nested(self._below(path), empty)


def nested(flat, empty_nodes=()):
    """Nested dictionaries from a dictionary by dotted path."""
    tree = {}
    for path in empty_nodes:
        node = tree
        for part in path.split("."):
            node = node.setdefault(part, {})
    for path, value in flat.items():
        *parents, name = path.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[name] = value
    return tree


def flattened(path, value):
    """Pairs of path and value of everything in a value: lists and dictionaries element by element."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from flattened(f"{path}.{index}", item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from flattened(f"{path}.{name}", item)
    else:
        yield path, value


def _leaves_of(path, tree):
    """Pairs of path and plain value of everything in nested dictionaries that is not None."""
    for name, value in tree.items():
        below, plain = f"{path}.{name}", plain_value(value)
        if isinstance(plain, dict):
            yield from _leaves_of(below, plain)
        elif plain is not None:
            yield below, plain


def plain_value(value):
    """A value as plain Python: numpy scalars, times and nodes converted."""
    if isinstance(value, Node):
        return value._stored()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if type(value).__module__.startswith("astropy.time"):
        return str(value)
    return value

"""Attribute access to the metadata of a model: ``model.meta.exposure.nints``."""

from upramp.models._live_tree import LiveTree

__all__ = ["Node"]


class Node:
    """One inner node of the metadata; a view, the values are kept by the model under their full path.

    Names may be used as attributes or as keys. A name of the schema that was never set is None; any other
    unset name is an AttributeError. New names may be set freely: they are kept in the ASDF extension.

    As a mapping a node has the values below it by their dotted paths, ``instrument.name``; `instance` has them nested.
    """

    __slots__ = ("_model", "_path")

    def __init__(self, model, path):
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._model._get(f"{self._path}.{name}")

    def __setattr__(self, name, value):
        self._model._set(f"{self._path}.{name}", value)

    def __delattr__(self, name):
        self._model._delete(f"{self._path}.{name}")

    def __dir__(self):
        return sorted({*super().__dir__(), *self._model._names_below(self._path)})

    def __getitem__(self, name):
        try:
            return self._model._get(f"{self._path}.{name}")
        except AttributeError as error:
            raise KeyError(name) from error

    __setitem__ = __setattr__

    def __contains__(self, name):
        return self.hasattr(name)

    def __iter__(self):
        return iter(self._leaves())

    def __len__(self):
        return len(self._leaves())

    def __bool__(self):
        return True  # a group of the schema is there, with nothing in it too

    def __eq__(self, other):
        if isinstance(other, Node):
            other = other._stored()
        return self._stored() == other

    __hash__ = None

    def __repr__(self):
        return f"<{self._path} {self._stored()!r}>"

    def _stored(self):
        return self._model._subtree(self._path)

    def hasattr(self, name):
        """Whether a value of that name is stored (not only known to the schema)."""
        path = f"{self._path}.{name}"
        return self._model._is_stored(path)

    def get_default(self, name):
        """The default that the schema has for a value; None when it has none, empty for a group."""
        path = f"{self._path}.{name}"
        if path in self._model._schema.objects:
            return {}
        spec = self._model._schema.keywords.get(path)
        if spec is None:
            raise AttributeError(f'{self._path} has no attribute "{name}"')
        return spec.default

    @property
    def instance(self):
        """The stored values as nested dictionaries, which can be written to (`LiveTree`)."""
        return LiveTree(self._model, self._path, self._stored())

    def keys(self):
        """Paths of the values that are stored, below this node: ``instrument.name``."""
        return self._leaves().keys()

    def values(self):
        """The values that are stored, inner nodes left out."""
        return self._leaves().values()

    def items(self):
        """Pairs of path and value."""
        return self._leaves().items()

    def _leaves(self):
        return self._model._below(self._path)

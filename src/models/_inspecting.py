"""Looking into a model: its tree, its schema."""

import numpy as np

from upramp.models._live_tree import LiveTree
from upramp.models._metadata import nested
from upramp.models._schema import load_schema

__all__ = ["Inspecting"]


class Inspecting:
    """What a model can tell about itself; a base of the models."""

    @property
    def schema(self):
        """The schema as one tree of properties, references followed."""
        return self._schema.tree

    @property
    def instance(self):
        """Everything that is stored as nested dictionaries, which can be written to (`LiveTree`)."""
        arrays = {name: getattr(self, name) for name in self._slots}
        return LiveTree(self, "", arrays | nested(self._values, self._nodes))

    def get_primary_array_name(self):
        """Name of the array whose shape is that of the model; empty when there is none."""
        return self._schema.primary

    def __contains__(self, path):
        spec = self._schema.arrays.get(path)
        return path in self._slots or (spec is not None and self.makes_itself(spec)) or self._is_stored(path)

    def __iter__(self):
        return iter(self.keys())

    def __eq__(self, other):
        if not hasattr(other, "keys"):
            return NotImplemented
        try:
            return self.instance == (other.instance if hasattr(other, "instance") else other)
        except ValueError:  # arrays of the same shape that are not the same arrays
            if isinstance(other, type(self)) or isinstance(self, type(other)):
                return False
            raise

    __hash__ = object.__hash__

    def hasattr(self, attr):
        """Whether a value or an array of that name is stored (not only known to the schema)."""
        return attr in self

    def getarray_noinit(self, name):
        """An array that is there; AttributeError when it is not."""
        if name not in self._slots:
            raise AttributeError(f"{type(self).__name__} has no array {name!r} set")
        return getattr(self, name)

    def keys(self):
        """Paths of everything that is stored."""
        return self.to_flat_dict().keys()

    def values(self):
        """Values of everything that is stored."""
        return self.to_flat_dict().values()

    def items(self):
        """Pairs of path and value of everything that is stored."""
        return self.to_flat_dict().items()

    def find_fits_keyword(self, keyword, return_result=True):
        """Paths of the values that a card of that keyword holds.

        Parameters
        ----------
        keyword : str
            Such as ``"DATE-OBS"``.
        return_result : bool
            Accepted as by the models of the reference pipeline, where it has no effect either.

        Returns
        -------
        list of str
        """
        return [spec.path for spec in self._schema.keywords.values() if spec.card == keyword.upper()]

    def extend_schema(self, schema):
        """Add the properties of another schema to that of this model, and return the model.

        Parameters
        ----------
        schema : dict
        """
        self._schema = load_schema({"allOf": [self._schema.tree, schema]})
        return self

    def add_schema_entry(self, position, new_schema):
        """Add one property to the schema of this model, and return the model.

        Parameters
        ----------
        position : str
            Such as ``"meta.mine.limit"``.
        new_schema : dict
            Its schema.
        """
        for name in reversed(position.split(".")):
            new_schema = {"type": "object", "properties": {name: new_schema}}
        return self.extend_schema(new_schema)

    def search_schema(self, substring):
        """Paths whose name, keyword or title contains a text, whatever its case.

        Returns
        -------
        list of (path, title)
        """
        wanted, found = substring.lower(), []
        for path, spec in (self._schema.keywords | self._schema.arrays).items():
            card = getattr(spec, "card", None) or spec.hdu or ""
            if any(wanted in text.lower() for text in (path, card, spec.title)):
                found.append((path, spec.title))
        return found

    def info(self, **options):
        """Print the tree. Options are those of ``asdf.AsdfFile.info`` (``max_rows``, ``show_values``, ...)."""
        self._asdf_tree().info(**options)

    def search(self, *key, **options):
        """Search the tree, as ``asdf.AsdfFile.search``: by ``key``, ``type_``, ``value`` or ``filter_``."""
        return self._asdf_tree().search(*key, **options)

    def _asdf_tree(self):
        """The tree as the asdf library shows it; arrays are stand-ins of their dtype and shape, nothing is read."""
        import asdf

        arrays = {
            name: np.broadcast_to(np.zeros((), slot.spec.dtype), slot.shape) for name, slot in self._slots.items()
        }
        return asdf.AsdfFile(arrays | nested(self._values, self._nodes))

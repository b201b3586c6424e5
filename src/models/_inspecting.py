"""Looking into a model: its tree, its schema."""

import numpy as np

from upramp.models._metadata import nested

__all__ = ["Inspecting"]


class Inspecting:
    """What a model can tell about itself; a base of the models."""

    @property
    def schema(self):
        """The schema as one tree of properties, references followed."""
        return self._schema.tree

    @property
    def instance(self):
        """Everything that is stored as nested dictionaries; a copy, but for the arrays."""
        return {name: getattr(self, name) for name in self._slots} | nested(self._values, self._nodes)

    def get_primary_array_name(self):
        """Name of the array whose shape is that of the model; empty when there is none."""
        return self._schema.primary

    def hasattr(self, name):
        """Whether a value or an array of that name is stored (not only known to the schema)."""
        return name in self._slots or self._is_stored(name)

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

    def find_fits_keyword(self, keyword):
        """Paths of the values that a card of that keyword holds.

        Parameters
        ----------
        keyword : str
            Such as ``"DATE-OBS"``.

        Returns
        -------
        list of str
        """
        return [spec.path for spec in self._schema.keywords.values() if spec.card == keyword.upper()]

    def search_schema(self, substring):
        """Paths whose name, keyword or title contains a text, whatever its case.

        Returns
        -------
        list of (path, title)
        """
        wanted, found = substring.lower(), []
        for path, spec in (self._schema.keywords | self._schema.arrays).items():
            card = getattr(spec, "card", None) or spec.hdu
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

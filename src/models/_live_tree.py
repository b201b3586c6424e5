"""The contents of a model as nested dictionaries that can be written to."""

from collections.abc import MutableMapping
from copy import deepcopy

import yaml

__all__ = ["LiveTree"]


class LiveTree(dict):
    """Nested dictionaries of what a model holds; what is set or deleted in them, is set or deleted in the model.

    Copies are plain dictionaries. What changes in the model afterwards does not show.

    Parameters
    ----------
    model : DataModel
    path : str
        Dotted path of the group; empty for the model as a whole.
    values : dict
        What is there, groups as dictionaries.
    """

    def __init__(self, model, path, values):
        super().__init__()
        self._model, self._path = model, path
        for name, value in values.items():
            self._show(name, value)

    def _below(self, name):
        return f"{self._path}.{name}" if self._path else str(name)

    def _show(self, name, value):
        shown = LiveTree(self._model, self._below(name), value) if isinstance(value, dict) else value
        super().__setitem__(name, shown)

    def __setitem__(self, name, value):
        path = self._below(name)
        self._model[path] = value
        super().pop(name, None)
        if path in self._model:  # the model may have refused the value, and None is none
            kept = self._model[path]
            self._show(name, getattr(kept, "instance", kept))

    def __delitem__(self, name):
        if name not in self:
            raise KeyError(name)
        del self._model[self._below(name)]
        super().__delitem__(name)

    update, setdefault, clear = MutableMapping.update, MutableMapping.setdefault, MutableMapping.clear
    pop, popitem = MutableMapping.pop, MutableMapping.popitem

    def __ior__(self, other):
        self.update(other)
        return self

    def copy(self):
        """Plain dictionaries; values are shared."""
        return {name: value.copy() if isinstance(value, LiveTree) else value for name, value in self.items()}

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return deepcopy(self.copy(), memo)

    def __reduce__(self):
        return dict, (self.copy(),)


for _representer in (yaml.representer.SafeRepresenter, yaml.representer.Representer):
    # yaml knows dictionaries by their very class
    _representer.add_representer(LiveTree, yaml.representer.SafeRepresenter.represent_dict)

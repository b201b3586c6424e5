"""Import a package without the packages that it imports but hardly uses.

Half the time that the CRDS client takes to import (0.9 s) goes into packages of which choosing references uses nothing:
it wants the names of some classes for `isinstance`, and modules for reading files. While `deferred` is active, imports
of such packages give stand-ins, which import the real thing as soon as something is done with them. Afterwards the
packages import as ever, for everybody else.

A thread that imports one of these packages at the same moment would meet the stand-ins: this is for programs that
know their threads, as the command line does.
"""

import contextlib
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["deferred"]


class _Deferred(type):
    """Kind of the stand-ins for what is imported *from* a module, mostly classes."""

    def _real(cls):
        module = import_module(cls.__module__)
        try:
            return getattr(module, cls.__name__)
        except AttributeError:
            return import_module(f"{cls.__module__}.{cls.__name__}")

    def __getattr__(cls, name):
        return getattr(cls._real(), name)

    def __call__(cls, *arguments, **keywords):
        return cls._real()(*arguments, **keywords)

    def __instancecheck__(cls, thing):
        # There are instances only if the module has been imported since.
        return cls.__module__ in sys.modules and isinstance(thing, cls._real())


class _StandIn(ModuleType):
    """Stand-in for a module."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return _Deferred(name, (), {"__module__": self.__name__})
        return getattr(import_module(self.__name__), name)


class _Finder:
    """Finds stand-ins for some packages and their modules."""

    def __init__(self, packages):
        self._packages = packages
        self.made = []

    def find_spec(self, name, path=None, target=None):
        """A specification if the module belongs to one of the packages."""
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self._packages else None

    def create_module(self, spec):
        """The stand-in."""
        self.made.append(spec.name)
        return _StandIn(spec.name)

    def exec_module(self, module):
        """Nothing is run."""


@contextlib.contextmanager
def deferred(*packages):
    """Give stand-ins to whoever imports these packages meanwhile; packages that are imported already stay as they are.

    Parameters
    ----------
    *packages : str
        Names of top-level packages.
    """
    finder = _Finder([name for name in packages if name not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.made:
            del sys.modules[name]

"""Find the class of a step by alias, by ``PACKAGE::ALIAS`` or by its dotted name."""

import contextlib
import importlib
import logging
import sys
from difflib import get_close_matches

from upramp import registry
from upramp.errors import ConfigError

__all__ = ["PeerStepError", "find_class", "full_name", "import_dotted", "is_step_of_stpipe", "registered_steps"]

log = logging.getLogger(__name__)

GROUP = "stpipe.steps"


class PeerStepError(ConfigError):
    """A class is a step of stpipe, the framework of the reference pipeline; ``strun`` hands such a step over to it."""


def full_name(cls):
    """Dotted name under which a class can be imported; the registered name for our own."""
    for name, alias, _ in registry.steps():
        if alias == cls.class_alias and name.rsplit(".", 1)[-1] == cls.__name__:
            return name
    return f"{cls.__module__}.{cls.__qualname__}"


def registered_steps():
    """Read the tables of all installed packages that offer steps.

    Returns
    -------
    list of (str, str, str, bool)
        Package, full class name, alias (or None), is a pipeline.
    """
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=GROUP):
        package = entry.dist.name
        try:
            table = entry.load()()
        except Exception as error:
            # A broken package of somebody else must not stop our own steps.
            log.warning("%s plugin from package %s==%s failed to load: %s", GROUP, package, entry.dist.version, error)
            continue
        found.extend((package, *row) for row in table)
    return found


def class_name_of_alias(text):
    package, _, alias = text.rpartition("::")
    ours = {alias: name for name, alias, _ in registry.steps()}
    if alias in ours and package in ("", "upramp"):
        return ours[alias]
    choices = {
        f"{owner}::{alias}": name
        for owner, name, its_alias, _ in registered_steps()
        if its_alias == alias and package in ("", owner)
    }
    if len(choices) > 1:
        listed = "\n".join(f"  {choice}" for choice in choices)
        raise ConfigError(f"Several packages offer {alias!r}; write one of\n{listed}")
    return next(iter(choices.values()), None)


@contextlib.contextmanager
def _importable_from(folder):
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def import_dotted(name, folder=None):
    """Import ``package.module.Thing``; None when there is no such module or no such thing.

    ``folder`` is searched first. An error inside the module itself is raised as it is.
    """
    module, _, attribute = name.rpartition(".")
    if not module or not all(part.isidentifier() for part in name.split(".")):
        return None
    with _importable_from(folder):
        try:
            return getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            if error.name and f"{module}.".startswith(f"{error.name}."):
                return None
            raise


def find_class(text, folder=None):
    """Find a step class.

    Parameters
    ----------
    text : str
        Alias, ``PACKAGE::ALIAS`` or dotted class name.
    folder : Path, optional
        Searched first for the module (beside a parameter file).

    Returns
    -------
    type
        A subclass of Step.

    Raises
    ------
    PeerStepError
        It is a step of stpipe.
    ConfigError
        Nothing of that name, or it is not a Step.
    """
    from upramp.framework.step import Step

    # No alias has a dot, and asking other packages for theirs means importing these.
    name = text if "." in text else class_name_of_alias(text)
    found = import_dotted(name, folder) if name else None
    if not isinstance(found, type):
        raise ConfigError(f"{text!r} is not a path to a config file or a Python Step class{_hint(text)}")
    if is_step_of_stpipe(found):
        raise PeerStepError(f"{text!r} is a step of stpipe ({full_name_of(found)}); strun runs it, this does not")
    if not issubclass(found, Step):
        raise ConfigError(
            f"{text!r} is not a path to a config file or a Python Step class: {full_name_of(found)} is not a "
            "subclass of upramp.framework.Step"
        )
    return found


def is_step_of_stpipe(cls):
    """Whether a class is one of the steps of stpipe. Does not import it."""
    stpipe = sys.modules.get("stpipe")  # whoever defines such a class has imported it
    return stpipe is not None and issubclass(cls, stpipe.Step)


def _hint(text):
    """What may have been meant, in words to append to a message; or nothing."""
    ours = {name.rpartition(".")[2]: f"{name} ({alias})" for name, alias, _ in registry.steps()}
    module, _, name = text.rpartition(".")
    if module and name in ours:
        return f"; {text.partition('.')[0]} is not installed? Ours is {ours[name]}"
    near = get_close_matches(text, [alias for _, alias, _ in registry.steps()], n=1, cutoff=0.8)
    return f"; did you mean {near[0]!r}?" if near else ""


def full_name_of(cls):
    """Dotted name of any class."""
    return f"{cls.__module__}.{cls.__qualname__}"

"""Steps of the reference framework (stpipe) in pipelines and hooks of ours: each is run by a step of ours around it.

Packages for the reference pipeline bring such steps. They get and return models of the reference pipeline, into which
those of ours are converted and back. stpipe is imported only by whoever has such a step.
"""

import functools

from upramp.framework.classes import is_step_of_stpipe
from upramp.framework.specs import as_ours, format_spec, own_spec
from upramp.framework.step import Step

__all__ = ["GuestStep", "is_guest", "run_guest", "step_class_of"]


class GuestStep(Step):
    """A step that runs one of stpipe; `step_class_of` makes the subclasses.

    Parameters are those of the guest and those of every step: hooks, saving and skipping are the work of this step. The
    guest finds its references itself, and runs without a parent.
    """

    guest = None  # the class of stpipe

    def wanted_reference_types(self):
        """None: the guest asks for what it needs."""
        return []

    @classmethod
    def get_stpipe_loggers(cls):
        """Loggers of the package of the guest too."""
        own = cls.guest.get_stpipe_loggers() if cls.guest is not None else ()
        return list(dict.fromkeys([*super().get_stpipe_loggers(), *own]))

    def process(self, *args):
        """Run the guest on models of its own kind."""
        from upramp.models import peer

        given = {name: getattr(self, name) for name in own_spec(type(self))} | self.get_overrides()
        given = {name: peer.theirs(value) for name, value in given.items()}  # an override may be a model
        for name in ("output_dir", "input_dir"):  # what it saves besides its result goes there
            given[name] = self.search_attr(name)
        return run_guest(self.guest(name=self.name, **given), *args)


def is_guest(thing):
    """Whether something is a step of stpipe, or a class of such steps."""
    return is_step_of_stpipe(thing if isinstance(thing, type) else type(thing))


def run_guest(step, *args):
    """Run a step of stpipe on models of ours (or what else it takes); models that it returns are ours again."""
    from upramp.models import peer

    return as_ours(step.run(*peer.theirs(args)))


def step_class_of(thing):
    """The class of steps for an entry of a pipeline or a hook.

    Parameters
    ----------
    thing : type
        A class of steps, ours or of stpipe.

    Returns
    -------
    type or None
        Itself, or a `GuestStep`; None if it is none of these.
    """
    if not isinstance(thing, type):
        return None
    if issubclass(thing, Step):
        return thing
    return _host_of(thing) if is_guest(thing) else None


@functools.cache
def _host_of(guest):
    spec = guest.load_spec_file()
    for name in [*own_spec(Step), *spec.sections]:  # what every step has; parameters of steps within are its own matter
        spec.pop(name, None)
    known = {
        "__doc__": guest.__doc__,
        "guest": guest,
        "class_alias": guest.class_alias,
        "reference_file_types": tuple(guest.reference_file_types),
        "spec": format_spec(spec),
    }
    return type(guest.__name__, (GuestStep,), known)

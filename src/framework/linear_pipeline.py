"""A pipeline whose steps follow one another in a straight line: it can be stopped anywhere, and resumed."""

import logging
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from upramp.errors import ConfigError, ReferenceFileError, StateError
from upramp.framework import fingerprints
from upramp.framework.output_names import output_name
from upramp.framework.pipeline import Pipeline
from upramp.framework.saving import make_folder
from upramp.framework.specs import is_model
from upramp.framework.states import States

__all__ = ["LinearPipeline"]

log = logging.getLogger(__name__)


class LinearPipeline(Pipeline):
    """A pipeline that hands the result of each step to the next.

    A subclass defines ``pipeline_steps``, a list of pairs (name, Step class). The state after every step but the last
    is saved in the output folder, with a record of what it was made from. Another process can resume from there, also
    after this one was killed; a state that does not belong to the present input, parameters, references and
    software is never used.

    Raises
    ------
    ValueError
        When the class is made: there are no steps, or two of the same name.
    ConfigError
        When it runs: ``start_step`` or ``end_step`` is not one of the steps, or they are in the wrong order.
    StateError
        The state before ``start_step`` is missing or stale, or another run has the states.
    """

    spec = """
    start_step = string(default=None)     # Begin with this step, from the saved state of the one before
    end_step   = string(default=None)     # Stop when this step has been done
    resume     = boolean(default=False)   # Begin after the last step whose saved state is still valid
    keep_state = boolean(default=True)    # Keep the saved states when the last step has been done
    """
    pipeline_steps = ()

    def __init_subclass__(cls, **keywords):
        if not cls.pipeline_steps:
            raise ValueError(f"{cls.__name__!r} LinearPipeline subclass defines no pipeline_steps")
        names = [name for name, _ in cls.pipeline_steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{cls.__name__!r} has several pipeline_steps called {', '.join(twice)}; names are unique")
        cls.step_defs = dict(cls.pipeline_steps)
        super().__init_subclass__(**keywords)

    _stopped_after = None
    _states = None

    def chain(self):
        """Keys of the steps from ``start_step`` to ``end_step``."""
        keys = list(self.step_defs)
        first, last = (self._position(name, keys) for name in ("start_step", "end_step"))
        last = len(keys) - 1 if last is None else last
        if (first or 0) > last:
            raise ConfigError(f"start_step {self.start_step!r} comes after end_step {self.end_step!r}")
        return keys[first or 0 : last + 1]

    def _position(self, parameter, keys):
        name = getattr(self, parameter)
        if name is None:
            return None
        if name not in keys:
            near = get_close_matches(name, keys, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the steps are {', '.join(keys)}"
            raise ConfigError(f"{parameter} {name!r} not found{hint}")
        return keys.index(name)

    def run(self, *args):
        """Run the steps; the states go when everything is done, if they are not to be kept."""
        self.chain()  # before any work
        result = super().run(*args)
        if not self.keep_state and self._states is not None and self._stopped_after is None:
            self._states.remove(self.step_defs)
        return result

    def process(self, data):
        """Run the steps in their order.

        Parameters
        ----------
        data : str, Path or model
            The exposure, also when the run begins with a later step: it is what the saved state must belong to.

        Returns
        -------
        model, or what the last step returns
            Of a run that stops early, the result of ``end_step``.
        """
        keys, last = list(self.step_defs), list(self.step_defs)[-1]
        todo = self.chain()
        self._stopped_after = todo[-1] if todo[-1] != last else None
        make_folder(self.output_folder)
        base = Path(self.search_attr("_input_filename") or self.name).name
        self._states = States(self.output_folder, f"{output_name(base, suffix=None).stem}_{self.qualified_name}")
        with self._states.locked():
            description = {"input": self._described_input(data), "pipeline": self._described_self(), "steps": {}}
            done = self._done_before(keys, todo, data, description)
            result = self.prepare_output(data) if is_model(data) else data
            if done:
                result, lines = self._states.load(done[-1])
                if self.root._recorder is not None:
                    self.root.log_records[:0] = lines
                log.info("Begins after %s, from its saved state", done[-1])
            for key in keys[len(done) : keys.index(todo[-1]) + 1]:
                step = getattr(self, key)
                own = fingerprints.describe_step(step)  # before it runs, for it may set its attributes
                result = step.run(result)
                description["steps"][key] = own | {"references": self._described_references(step, data)}
                if key != last:
                    self._states.save(key, result, description, self.root.log_records)
        return result

    def _done_before(self, keys, todo, data, description):
        """Keys of the steps whose results are taken from the saved state; adds them to the description."""
        first = keys.index(todo[0])
        candidates = [first] if first else []
        if self.resume:
            candidates = range(first or keys.index(todo[-1]), 0, -1)
        reasons = {}
        for n in candidates:
            done = keys[:n]
            reasons[done[-1]] = self._states.problems(done[-1], partial(self._add_present, description, done, data))
            if not reasons[done[-1]]:
                return done
        if first and not self.resume:
            raise StateError(
                f"The run cannot begin with {keys[first]}: the state after {keys[first - 1]} is not usable:\n"
                + "\n".join(f"  {reason}" for reason in reasons[keys[first - 1]])
                + "\nBegin with an earlier step, or use resume=True, which does again what has changed."
            )
        for key, problems in reasons.items():
            log.info("The state after %s is not used: %s", key, "; ".join(problems))
        description["steps"] = {}
        return []

    def _add_present(self, description, keys, data, recorded):
        """Describe the steps that need not run as they would run now; what they used before is in the record."""
        description["steps"] = {key: self._present(key, recorded, data) for key in keys}
        return description

    def _described_input(self, data):
        if is_model(data):
            return {"name": type(data).__name__, "content": fingerprints.checksum(data)}
        if not isinstance(data, str | Path):
            raise ConfigError(f"{self.name} runs on a file or a model; got {type(data).__name__}")
        path = self.make_input_path(data)
        if not path.is_file():
            raise FileNotFoundError(f"The input file {path} of {self.name} does not exist")
        return {"name": path.name, "content": fingerprints.checksum(path)}

    def _described_self(self):
        own = {key: value for key, value in fingerprints.describe_step(self).items() if key != "steps"}
        return own | {"hooks": None}  # hooks before change the input, hooks after come after the states

    def _described_references(self, step, data):
        """The references that a step, with all below it, has used."""
        return {
            f"{place}{reftype}": self._described_reference(below, reftype, data)
            for place, below in _places(step).items()
            for reftype, _ in list(below.reference_files_used)
        }

    def _present(self, key, recorded, data):
        """Description of a step that need not run, with the references that it would use now."""
        step, now = getattr(self, key), {}
        places = _places(step)
        for name in recorded["steps"].get(key, {}).get("references", {}):
            place, dot, reftype = name.rpartition(".")
            if place + dot in places:
                now[name] = self._described_reference(places[place + dot], reftype, data)
        return fingerprints.describe_step(step) | {"references": now}

    def _described_reference(self, step, reftype, data):
        used = list(step.reference_files_used)
        try:
            found = step.get_reference_file(data, reftype)
        except ReferenceFileError as error:
            return {"name": None, "content": str(error)}
        finally:
            step.reference_files_used = used
        name = type(found).__name__ if is_model(found) else Path(found).name if found else found
        return {"name": name, "content": fingerprints.checksum(found) if found else None}

    def _save_result(self, result):
        """Save the result; that of a run that stopped early is named after the step it stopped at."""
        suffix = self.suffix
        if self._stopped_after is not None and suffix == self.name.lower():
            self.suffix = self._stopped_after.lower()
        try:
            super()._save_result(result)
        finally:
            self.suffix = suffix


def _places(step):
    """A step and all below it, by their names below the step, which end in a dot."""
    prefix = f"{step.qualified_name}."
    return {f"{below.qualified_name}.".removeprefix(prefix): below for below in step.steps_below()}

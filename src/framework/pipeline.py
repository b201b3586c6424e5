"""A pipeline: a step made of named sub-steps, whose order is the Python code of ``process``."""

from upramp.framework import specs
from upramp.framework.guest_steps import step_class_of
from upramp.framework.step import Step

__all__ = ["Pipeline"]


class Pipeline(Step):
    """A step that runs other steps.

    A subclass defines ``step_defs`` (key -> Step class) and ``process``, which calls
    ``self.<key>.run(model)``. Pipelines nest. A class of stpipe, of the reference pipeline, is taken too.
    """

    step_defs = {}  # noqa: RUF012 - the name and form that users know

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        found = {key: step_class_of(step_class) for key, step_class in cls.step_defs.items()}
        for key, step_class in found.items():
            if step_class is None:
                raise TypeError(f"Entry {key!r} in step_defs is not a Step subclass")
        if found != cls.step_defs:
            cls.step_defs = found

    def _set_parameters(self, values):
        sections = values.pop("steps", {})
        super()._set_parameters(values)
        for key, step_class in self.step_defs.items():
            section = dict(sections.get(key, {}))
            for reserved in ("name", "class", "config_file"):
                section.pop(reserved, None)
            step = step_class(
                name=key,
                parent=self,
                config_file=self.config_file,
                _validated=True,
                _origins=self.origins.get("steps", {}).get(key),
                **section,
            )
            setattr(self, key, step)

    @classmethod
    def load_spec_file(cls):
        """The merged spec, with a section ``steps`` that holds the specs of the sub-steps."""
        spec = super().load_spec_file()
        spec["steps"] = spec.get("steps", {})
        for key, step_class in cls.step_defs.items():
            specs.add_section(spec["steps"], key, step_class.load_spec_file())
            for name, comment in _SECTION_EXTRAS.items():
                spec["steps"][key][name] = "string(default=None)"
                spec["steps"][key].inline_comments[name] = comment
        return spec

    @classmethod
    def parameter_reftypes(cls, keys=()):
        types = super().parameter_reftypes(keys)
        for key, step_class in cls.step_defs.items():
            types.extend(step_class.parameter_reftypes((*keys, key)))
        return sorted(types, key=lambda item: len(item[0]))

    @classmethod
    def _empty_sections(cls):
        return {"steps": {key: step_class._empty_sections() for key, step_class in cls.step_defs.items()}}

    @property
    def sub_steps(self):
        """Key -> sub-step, in the order of ``step_defs``."""
        return {key: getattr(self, key) for key in self.step_defs}

    @property
    def steps(self):
        """Key -> parameters of the sub-step, as they are now."""
        return {key: step.get_pars() for key, step in self.sub_steps.items()}

    def steps_below(self):
        yield self
        for step in self.sub_steps.values():
            if not step.skip:
                yield from step.steps_below()

    def chain(self):
        """Keys of the sub-steps that the `exposure` goes through, in their order, skipped ones included."""
        return list(self.step_defs)

    def steps_to_run(self):
        yield self
        for key in self.chain():
            step = getattr(self, key)
            if not step.skip:
                yield from step.steps_to_run()

    def get_pars(self, full_spec=True):
        pars = super().get_pars(full_spec)
        return pars | {"steps": {key: step.get_pars(full_spec) for key, step in self.sub_steps.items()}}

    def update_pars(self, parameters):
        """Set parameters, those of sub-steps below ``steps``; unknown names are ignored."""
        super().update_pars({key: value for key, value in parameters.items() if key != "steps"})
        for key, values in parameters.get("steps", {}).items():
            if key in self.step_defs:
                getattr(self, key).update_pars(values)

    def explain_pars(self):
        own = super().explain_pars().splitlines()
        for key, step in self.sub_steps.items():
            own += [f"steps.{key}.{line}" for line in step.explain_pars().splitlines()]
        return "\n".join(own)

    def export_tree(self):
        return super().export_tree() | {"steps": [step.export_tree() for step in self.sub_steps.values()]}

    @classmethod
    def get_stpipe_loggers(cls):
        below = (name for step_class in cls.step_defs.values() for name in step_class.get_stpipe_loggers())
        return list(dict.fromkeys([*super().get_stpipe_loggers(), *below]))


_SECTION_EXTRAS = {
    "config_file": "# Parameter file of this step",
    "name": "# Ignored: the key is the name",
    "class": "# Ignored: the pipeline defines the class",
}

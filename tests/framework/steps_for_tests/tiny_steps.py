"""Small steps and pipelines that the tests of the framework run, also through the command line."""

import logging

from upramp.errors import ConfigError, StepExit
from upramp.framework import Pipeline, Step
from upramp.models import ImageModel

log = logging.getLogger(__name__)


class AddStep(Step):
    """Add a number to an image."""

    class_alias = "tiny_add"
    status_attribute = "linearity"
    spec = """
    val = float(default=4.0, min=0)             # What is added (per pixel), 50% or so
    n = integer(min=0, max=5, default=1)        # How often # it is added
    opt = option('a', 'b', default='a')
    flag = boolean(default=False)
    words = list(default=list())
    table = input_file(default=None)            # A file that exists
    """
    reference_file_types = ("gain",)
    prefetch_references = False

    def process(self, data):
        model = self.prepare_output(data, open_as=ImageModel)
        model.data[...] += self.n * self.val
        return self.record_complete(model)


class TwoResultsStep(AddStep):
    """Return two results."""

    class_alias = "tiny_two"

    def process(self, data):
        model = super().process(data)
        return model, model.copy()


class NeedsStep(AddStep):
    """Need two references."""

    class_alias = "tiny_needs"
    reference_file_types = ("gain", "readnoise")
    prefetch_references = True

    def process(self, data):
        model = self.prepare_output(data, open_as=ImageModel)
        self.found = {name: self.get_reference_file(model, name) for name in self.reference_file_types}
        if "N/A" in self.found.values():
            return self.record_skip(model, "a reference is N/A")
        return self.record_complete(model)


class GainStep(NeedsStep):
    """Need the gain only."""

    class_alias = "tiny_gain"
    reference_file_types = ("gain",)


class FailStep(Step):
    """Fail in the way that is asked for."""

    class_alias = "tiny_fail"
    spec = """
    way = option('ours', 'foreign', 'status', 'system', default='ours')
    """

    def process(self, data):
        if self.way == "status":
            raise StepExit(64, "no science data on the detector")
        if self.way == "system":
            raise SystemExit(7)
        raise {"ours": ConfigError, "foreign": ZeroDivisionError}[self.way]("it went wrong")


class TinyPipeline(Pipeline):
    """Add twice."""

    class_alias = "tiny_pipe"
    spec = """
    own = string(default='none')
    """
    step_defs = {"one": AddStep, "two": AddStep}  # noqa: RUF012

    def process(self, data):
        log.info("tiny pipeline at work")
        return self.two.run(self.one.run(data))


class OuterPipeline(Pipeline):
    """A pipeline in a pipeline."""

    class_alias = "tiny_outer"
    step_defs = {"pp": TinyPipeline, "gain": GainStep, "needs": NeedsStep}  # noqa: RUF012

    def process(self, data):
        return self.needs.run(self.gain.run(self.pp.run(data)))


def double(model):
    """A hook that changes in place."""
    model.data[...] *= 2


def replace_by_none_then_copy(model):
    """A hook that returns another model."""
    other = model.copy()
    other.data[...] = -1
    return other

"""A linear pipeline for the tests: steps that do different things, and one that can kill the process."""

import os
import signal
from pathlib import Path

from upramp.framework import LinearPipeline, Step
from upramp.models import ImageModel


class PlusStep(Step):
    """Add a number."""

    spec = """
    val = float(default=1.5)
    table = input_file(default=None)
    """

    def process(self, data):
        model = self.prepare_output(data, open_as=ImageModel)
        model.data[...] += self.val
        return model


class TimesStep(Step):
    """Multiply with a number."""

    spec = "val = float(default=3.0)"
    reference_file_types = ("gain",)
    prefetch_references = False

    def process(self, data):
        model = self.prepare_output(data, open_as=ImageModel)
        if self.override_gain:
            model.data[...] += len(self.get_reference_file(model, "gain"))
        model.data[...] *= self.val
        model.history = [*model.history, f"times {self.val}"]
        return model


class MarkStep(Step):
    """Note in a file that it ran; kill the process if the environment says so."""

    spec = "val = float(default=0.0)"

    def process(self, data):
        model = self.prepare_output(data, open_as=ImageModel)
        with Path("ran").open("a") as handle:
            handle.write(f"{self.name}\n")
        if os.environ.get("KILL_IN") == self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        model.data[...] = model.data**2 + self.val
        return model


class LinePipeline(LinearPipeline):
    """Five steps in a line."""

    class_alias = "line"
    pipeline_steps = [  # noqa: RUF012
        ("plus", PlusStep),
        ("times", TimesStep),
        ("mark", MarkStep),
        ("again", MarkStep),
        ("last", PlusStep),
    ]

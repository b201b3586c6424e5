"""Steps that take their time over rows, as kernels do."""

import time

from upramp.framework import Pipeline, Step
from upramp.kernels._jit import run_rows


class SlowStep(Step):
    """Two passes over 640 rows."""

    spec = "seconds = float(default=0.08)"

    def process(self, data):
        for _ in range(2):
            run_rows(lambda first, last: time.sleep(self.seconds), 640, threads=2)
            self.log.info("a pass is done, %s", "x" * 200)
        return self.prepare_output(data)


class SlowPipeline(Pipeline):
    """Two such steps."""

    step_defs = {"sluggish": SlowStep, "lazy": SlowStep}  # noqa: RUF012

    def process(self, data):
        return self.lazy(self.sluggish(data))

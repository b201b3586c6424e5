"""The second pipeline of the paper as it is printed, with the steps of this package: slopes, WCS, flat field.

Since the paper, `ramp_fit` has got a second result, so the pipeline that is contained here is the whole stage 1.
"""

from upramp.framework import Pipeline
from upramp.pipelines import SloperPipeline
from upramp.steps import assign_wcs as wcs_step
from upramp.steps import flat_field as flat_step


class MyPipeline(Pipeline):
    """From raw ramps to a flat-fielded image with sky coordinates."""

    step_defs = {  # noqa: RUF012
        "sloper": SloperPipeline,
        "wcs": wcs_step.AssignWcsStep,
        "flat": flat_step.FlatFieldStep,
    }

    def process(self, input):
        slope_model = self.sloper(input)
        slope_model = self.wcs(slope_model)
        result = self.flat(slope_model)
        return result

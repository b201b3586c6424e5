"""The sample pipeline of Bushouse, Droettboom & Greenfield (2015), "The James Webb Space Telescope Data Calibration
Pipeline", with the import names of this package.

Besides these names, three misprints are mended: the colon after the class, `self.save_cal` for `save_cal`, and the
logger, which is that of this module instead of the root logger.
"""

import logging

from upramp.framework import Pipeline, product_name
from upramp.steps import dq_init as dq_step
from upramp.steps import ipc as ipc_step
from upramp.steps import jump as jump_step
from upramp.steps import lastframe as frame_step
from upramp.steps import ramp_fit as ramp_step
from upramp.steps import reset as reset_step
from upramp.steps import superbias as bias_step

log = logging.getLogger(__name__)


class SloperPipeline(Pipeline):
    """From raw ramps to slopes, in the order of the paper."""

    spec = """
        save_cal = boolean(default=False)
    """

    step_defs = {  # noqa: RUF012
        "dq": dq_step.DQInitStep,
        "ipc": ipc_step.IPCStep,
        "bias": bias_step.SuperBiasStep,
        "reset": reset_step.ResetStep,
        "frame": frame_step.LastFrameStep,
        "jump": jump_step.JumpStep,
        "ramp_fit": ramp_step.RampFitStep,
    }

    def process(self, input):
        log.info("Starting calwebb_sloper …")

        input = self.dq(input)
        input = self.ipc(input)

        # don't apply superbias to MIRI data
        if input.meta.instrument.name != "MIRI":
            input = self.bias(input)

        # only apply reset and lastframe to MIRI data
        if input.meta.instrument.name == "MIRI":
            input = self.reset(input)
            input = self.frame(input)

        input = self.jump(input)

        # save the results so far
        if self.save_cal:
            input.save(product_name(self, "cal"))

        input = self.ramp_fit(input)

        log.info("… ending calwebb_sloper")
        return input

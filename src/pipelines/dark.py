"""calwebb_dark: corrected ramps of a dark exposure."""

from upramp.framework import Pipeline
from upramp.models import Level1bModel, ramp_class
from upramp.pipelines.detector1 import Detector1Pipeline
from upramp.steps.ramp_step import prepare_ramp

__all__ = ["DarkPipeline"]

STEPS = ("group_scale", "dq_init", "saturation", "ipc", "superbias", "refpix", "linearity")
MIRI_STEPS = (
    "group_scale", "dq_init", "emicorr", "saturation", "ipc", "firstframe", "lastframe", "reset", "linearity", "rscd",
)  # fmt: skip


class DarkPipeline(Pipeline):
    """Correct the ramps of a dark exposure: all that comes before the dark is subtracted, step by step."""

    class_alias = "calwebb_dark"
    step_defs = {  # noqa: RUF012 - the form of the base class
        key: Detector1Pipeline.step_defs[key]
        for key in (
            "group_scale", "dq_init", "emicorr", "saturation", "ipc", "superbias", "refpix", "reset", "rscd",
            "firstframe", "lastframe", "linearity",
        )
    }  # fmt: skip

    def process(self, data):
        """Correct one exposure: a file, or a ramp model. Returns the ramp."""
        ramp = ramp_class(data)(data) if isinstance(data, Level1bModel) else prepare_ramp(self, data)
        for key in _chain_for(ramp.meta.instrument.name):
            ramp = getattr(self, key).run(ramp)
        return ramp

    def chain(self):
        """Keys of the steps that the exposure goes through, in their order."""
        instrument = self.exposure.get("meta.instrument.name")
        return list(_chain_for(instrument)) if instrument else super().chain()


def _chain_for(instrument):
    return MIRI_STEPS if instrument == "MIRI" else STEPS

"""calwebb_guider: from the raw groups of a guide-star exposure to count rates."""

from upramp.framework import Pipeline
from upramp.models import GuiderCalModel, GuiderRawModel, Level1bModel, RampModel
from upramp.steps.dq_init import DQInitStep
from upramp.steps.flat_field import FlatFieldStep
from upramp.steps.guider_cds import GuiderCdsStep

__all__ = ["GuiderPipeline"]


class GuiderPipeline(Pipeline):
    """Calibrate a guide-star exposure: flags, count rates, flat field. The result has the suffix cal."""

    class_alias = "calwebb_guider"
    step_defs = {  # noqa: RUF012 - the form of the base class
        "dq_init": DQInitStep,
        "guider_cds": GuiderCdsStep,
        "flat_field": FlatFieldStep,
    }

    def output_suffixes(self):
        """The file that a run is going to write."""
        return ("cal",)

    def process(self, data):
        """Calibrate one exposure: raw, or count rates if both steps before the flat field are skipped."""
        self.suffix = "cal"
        if self.dq_init.skip and self.guider_cds.skip:
            model = self.prepare_output(data, open_as=GuiderCalModel)
        elif isinstance(data, Level1bModel | RampModel):
            model = GuiderRawModel(data)
        else:
            model = self.prepare_output(data, open_as=GuiderRawModel)
        for key in self.step_defs:
            model = getattr(self, key).run(model)
        return model

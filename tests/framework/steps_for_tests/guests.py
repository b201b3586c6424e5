"""Steps of the reference framework, as packages for the reference pipeline bring them."""

from jwst.stpipe import Step
from stdatamodels.jwst import datamodels

from upramp.models.peer import to_peer


class RaiseStep(Step):
    """Adds a number, to a model of its own kind only."""

    class_alias = "raise_level"
    spec = """
    amount = float(default=1.0, min=0)  # What is added [DN/s]
    details = boolean(default=False)  # Whether what was there before is saved
    """

    def process(self, image):
        if not isinstance(image, datamodels.ImageModel):
            raise TypeError(f"a {type(image)}")
        result = self.prepare_output(image)
        if self.details:
            self.save_model(result, suffix="before", force=True)
        result.data += self.amount
        result.meta.cal_step.background = "COMPLETE"
        return result


def raised(image):
    """A hook that returns a model of theirs."""
    return RaiseStep.call(to_peer(image))

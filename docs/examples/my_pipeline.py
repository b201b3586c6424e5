"""A pipeline that contains a pipeline, as in the paper of the sample pipeline, and two steps of one's own."""

import sloper_pipe

from upramp import models
from upramp.framework import Pipeline, Step


class WcsStep(Step):
    """Put the reference pixel of the sky coordinates into the middle of the image."""

    def process(self, input):
        model = self.prepare_output(input, open_as=models.ImageModel)
        ny, nx = model.data.shape
        model.meta.wcsinfo.crpix1, model.meta.wcsinfo.crpix2 = (nx + 1) / 2, (ny + 1) / 2
        return model


class FlatStep(Step):
    """Divide by a flat field, an image in a file or a number."""

    spec = """
        flat = input_file(default=None)       # Image of the sensitivity of the pixels
        level = float(default=1.0, min=1e-6)  # Divides the flat
    """

    def process(self, input):
        with models.ImageModel(input) as im:
            result = im.copy()
        flat = 1.0
        if self.flat is not None:
            with models.ImageModel(self.flat) as image:
                flat = image.data
        result.data = result.data / (flat / self.level)
        return result


class MyPipeline(Pipeline):
    """An existing pipeline, followed by two more steps."""

    step_defs = {  # noqa: RUF012
        "sloper": sloper_pipe.SloperPipeline,
        "wcs": WcsStep,
        "flat": FlatStep,
    }

    def process(self, input):
        # Since the paper, ramp_fit has got a second result: the slopes of every integration.
        slope_model, _ = self.sloper(input)
        slope_model = self.wcs(slope_model)
        result = self.flat(slope_model)
        return result

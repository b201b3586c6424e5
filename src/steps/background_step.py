"""What the steps have in common that measure something on the background, in ramps or rates."""

import numpy as np

from upramp.models import CubeModel, ImageModel, RampModel, temporary_array
from upramp.steps.draft_rate import DraftRates
from upramp.steps.reference_step import ReferenceStep

__all__ = ["BackgroundStep", "in_all_integrations", "set_aside"]


class BackgroundStep(ReferenceStep):
    """A step that takes ramps and rates, looks for their background, and changes them."""

    def open_exposure(self, data):
        """The exposure to be changed, see `prepare_output`.

        Raises
        ------
        TypeError
            It is neither a ramp nor rates.
        """
        exposure = self.prepare_output(data)
        if not isinstance(exposure, (RampModel, ImageModel, CubeModel)):
            raise TypeError(
                f"{self.name} got a {type(exposure).__name__}; it takes RampModel, ImageModel (rates) and CubeModel "
                "(rates of integrations)"
            )
        return exposure

    def save_mask_of(self, scene, mask, suffix, exposure):
        """Save the mask of the background, with the metadata of the rates in which it was found."""
        metadata = scene.metadata if isinstance(scene, DraftRates) else scene
        self.save_array(metadata, mask.astype(np.float32), suffix, exposure)

    def save_array(self, metadata, array, suffix, exposure):
        """Save an array with the metadata of a model, under the name of the exposure."""
        product = {2: ImageModel, 3: CubeModel, 4: RampModel}[array.ndim](array)
        product.update(metadata)
        self.save_model(product, suffix, output_file=exposure.meta.filename, force=True)


def in_all_integrations(mask):
    """The pixels (ny, nx) that are background in every integration of a mask (ny, nx) or (nint, ny, nx)."""
    return mask if mask.ndim == 2 else mask.all(axis=0)


def set_aside(data):
    """A copy of an exposure that lies in a file without a name, so that memory does not grow with the exposure.

    Parameters
    ----------
    data : (..., ny, nx) float32
        Ramps or rates.

    Returns
    -------
    float32, of the same shape
        It may be written to; the file goes with it.

    Raises
    ------
    OutputError
        There is no space for it in the folder for temporary files (``TMPDIR``).
    """
    copy = temporary_array(data.shape, "f4")
    values = copy.bits.view(np.float32)
    for place in np.ndindex(data.shape[:-2]):
        values[place] = data[place]
        image = copy
        for index in place:
            image = image.part(index)
        image.release(0, data.shape[-2])
    return values

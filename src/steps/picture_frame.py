"""picture_frame: subtract the thermal pattern of NIRSpec at the edges of its detectors."""

import numpy as np

from upramp.errors import UnsupportedModeError
from upramp.models import PictureFrameModel, RampModel
from upramp.steps.background_step import BackgroundStep, in_all_integrations, set_aside
from upramp.steps.draft_rate import draft_rates

__all__ = ["PictureFrameStep"]


class PictureFrameStep(BackgroundStep):
    """Scale the thermal pattern of a reference to every group, or to rates, and subtract it: full frames of NIRSpec."""

    class_alias = "picture_frame"
    reference_file_types = ("pictureframe",)
    spec = """
    mask_science_regions = boolean(default=True)   # Leave out regions with spectra
    n_sigma              = float(default=2.0)      # Limit of the background, sigma
    save_mask            = boolean(default=False)  # Save the mask of the background
    save_correction      = boolean(default=False)  # Save what is subtracted
    skip                 = boolean(default=True)   # Skip this step
    """

    def wanted_reference_types(self):
        """The pattern; gain and read noise for the draft slopes of a ramp."""
        rates = self.exposure.get("meta.model_type") in ("ImageModel", "CubeModel")
        return ["pictureframe"] if rates else ["pictureframe", "gain", "readnoise"]

    def check_supported(self, exposure):
        """Refuse what needs positions of spectra, before any work.

        Raises
        ------
        UnsupportedModeError
            Science regions are to be masked in an exposure that would be corrected.
        """
        if self.mask_science_regions and self._unsuitable(exposure) is None:
            raise UnsupportedModeError(
                f"{self.name}: mask_science_regions=True needs the places of the spectra on the detector, which are "
                "known in stage 2 only; set it to False"
            )

    @staticmethod
    def _unsuitable(exposure):
        """Why an exposure is not corrected; None if it is."""
        name, subarray = exposure.meta.instrument.name, exposure.meta.subarray.name
        if str(name).upper() != "NIRSPEC" or str(subarray).upper() != "FULL":
            return f"the exposure is {name} {subarray}; the pattern is that of full frames of NIRSpec"
        if isinstance(exposure, RampModel) and exposure.shape[1] == 1:
            return "the exposure has a single group"
        return None

    def process(self, data):
        """Correct a ramp, or rates."""
        exposure = self.open_exposure(data)
        reference = self.open_reference(exposure, "pictureframe", PictureFrameModel)
        if reference is None:
            return exposure
        reason = self._unsuitable(exposure)
        if reason:
            return self.record_skip(exposure, reason)
        self.check_supported(exposure)
        return self._correct(exposure, reference)

    def _correct(self, exposure, reference):
        from upramp.kernels.flicker_noise import background_mask
        from upramp.kernels.picture_frame import regions, subtract_picture_frame_in_place

        scene = draft_rates(self, exposure)[0] if isinstance(exposure, RampModel) else exposure
        if scene is None:
            return self.record_skip(exposure, "no slopes can be fitted to find the background")
        mask = in_all_integrations(background_mask(scene.data, n_sigma=self.n_sigma))
        if self.save_mask:
            self.save_mask_of(scene, mask, "pctfrm_mask", exposure)
        middle, edge = regions(mask)
        if not middle.any() or not edge.any():
            return self.record_skip(exposure, "there is no pixel of the background in the middle or at the edges")
        original = set_aside(exposure.data) if self.save_correction else None
        images = exposure.data if exposure.data.ndim > 2 else exposure.data[np.newaxis]
        subtract_picture_frame_in_place(images, middle, edge, reference.data)
        if self.save_correction:
            self.save_array(exposure, np.subtract(exposure.data, original, out=original), "pctfrm_correction", exposure)
        return self.record_complete(exposure)

"""Steps of stage 1 that are not implemented: their parameters are accepted, asking them to run is not.

Parameter files written for the whole pipeline name these steps, nearly always to skip them.
"""

from upramp.errors import UnsupportedModeError
from upramp.framework import Step

__all__ = [
    "CleanFlickerNoiseStep",
    "NotAvailableStep",
    "PictureFrameStep",
]


class NotAvailableStep(Step):
    """A step that is not implemented: it can only be skipped."""

    spec = """
    skip = boolean(default=True)  # Must be True: the step is not implemented
    """

    def wanted_reference_types(self):
        """None: nothing is done with them."""
        return []

    def check_supported(self):
        """Refuse to run.

        Raises
        ------
        UnsupportedModeError
            Always; only steps that are not skipped are asked.
        """
        raise UnsupportedModeError(f"{self.name}: this step is not implemented yet; set skip=True")

    def process(self, data):
        """Refuse to run, as `check_supported` does."""
        self.check_supported()


class PictureFrameStep(NotAvailableStep):
    """Subtract the thermal pattern at the edges of the detector."""

    class_alias = "picture_frame"
    reference_file_types = ("pictureframe",)
    spec = """
    mask_science_regions = boolean(default=True)   # Leave out regions with spectra
    n_sigma              = float(default=2.0)      # Limit of the background, sigma
    save_mask            = boolean(default=False)  # Save the mask of the background
    save_correction      = boolean(default=False)  # Save what is subtracted
    """


class CleanFlickerNoiseStep(NotAvailableStep):
    """Subtract 1/f noise that is measured on the background."""

    class_alias = "clean_flicker_noise"
    reference_file_types = ("flat", "pastasoss")
    spec = """
    autoparam            = boolean(default=False)  # Choose parameters after the exposure
    fit_method           = option('fft', 'median', default='median')  # How the noise is fitted
    fit_by_channel       = boolean(default=False)  # Every amplifier by itself
    background_method    = option('median', 'model', 'median_image', None, default='median')  # How the background is
    background_box_size  = int_list(min=2, max=2, default=None)  # Box of the background model, pixels
    mask_science_regions = boolean(default=False)  # Leave out regions with spectra
    apply_flat_field     = boolean(default=False)  # Divide by the flat field before the fit
    n_sigma              = float(default=2.0)      # Limit of the background, sigma
    fit_histogram        = boolean(default=False)  # Sigma from a fit to the histogram
    single_mask          = boolean(default=True)   # One mask for all integrations
    user_mask            = string(default=None)    # Mask of the user's own
    save_mask            = boolean(default=False)  # Save the mask
    save_background      = boolean(default=False)  # Save the background
    save_noise           = boolean(default=False)  # Save the noise
    """

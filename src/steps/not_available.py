"""Steps of stage 2 that are not implemented: their parameters are accepted, asking them to run is not.

Parameter files written for the whole pipeline name these steps, nearly always to skip them.
"""

from upramp.errors import UnsupportedModeError
from upramp.framework import Step

__all__ = [
    "BackgroundStep",
    "NotAvailableStep",
    "ResampleStep",
]


class NotAvailableStep(Step):
    """A step that is not implemented: it can only be skipped."""

    spec = """
    skip = boolean(default=True)  # Must be True: the step is not implemented
    """

    def wanted_reference_types(self):
        """None: nothing is done with them."""
        return []

    def check_supported(self, exposure=None):
        """Refuse to run.

        Raises
        ------
        UnsupportedModeError
            Always; only steps that are not skipped are asked.
        """
        raise UnsupportedModeError(f"{self.name}: this step is not implemented yet; set skip=True")

    def process(self, data):
        """Refuse to run, as `check_supported` does."""
        self.check_supported(data)


class BackgroundStep(NotAvailableStep):
    """Subtract exposures of the background."""

    class_alias = "bkg_subtract"
    reference_file_types = ("bkg", "wavelengthrange")
    spec = """
    bkg_list                 = force_list(default=None)   # Background exposures
    save_combined_background = boolean(default=False)     # Save their mean
    sigma                    = float(default=3.0)         # Limit of clipping, sigma
    maxiters                 = integer(default=None)      # Iterations of clipping
    soss_source_percentile   = float(default=35.0)        # Spectra: flux above which there is a source
    soss_bkg_percentile      = float_list(min=2, max=2, default=None)  # Spectra: range that is background
    wfss_mmag_extract        = float(default=None)        # Spectra: faintest source, magnitudes
    wfss_mask                = string(default=None)       # Spectra: mask of the sources
    wfss_maxiter             = integer(default=5)         # Spectra: iterations of rejection
    wfss_rms_stop            = float(default=0)           # Spectra: improvement that ends it, percent
    wfss_outlier_percent     = float(default=1)           # Spectra: rejected at a time, percent
    """


class ResampleStep(NotAvailableStep):
    """Resample images onto a grid without distortion."""

    class_alias = "resample"
    spec = """
    pixfrac           = float(min=0.0, max=1.0, default=1.0)    # Fraction to which pixels shrink
    kernel            = option('square', 'gaussian', 'point', 'turbo', 'lanczos2', 'lanczos3', default='square')  # Form
    fillval           = string(default='NAN')                   # Value of pixels without data
    weight_type       = option('ivm', 'exptime', None, default='ivm')  # How images are weighted
    output_shape      = int_list(min=2, max=2, default=None)    # Columns and rows of the result
    crpix             = float_list(min=2, max=2, default=None)  # Its reference pixel, from 0
    crval             = float_list(min=2, max=2, default=None)  # Sky coordinates of that
    rotation          = float(default=None)                     # Angle of the y axis from north
    pixel_scale_ratio = float(default=1.0)                      # Length of new pixels in units of old ones
    pixel_scale       = float(default=None)                     # Length of new pixels, arcsec
    output_wcs        = string(default='')                      # File with the WCS of the result
    single            = boolean(default=False)                  # Every input by itself
    blendheaders      = boolean(default=True)                   # Merge the metadata of the inputs
    in_memory         = boolean(default=True)                   # Keep images in memory
    enable_ctx        = boolean(default=True)                   # Say which inputs went into a pixel
    enable_err        = boolean(default=True)                   # Compute errors
    report_var        = boolean(default=True)                   # Report variances
    propagate_dq      = boolean(default=False)                  # Resample flags
    pixmap_stepsize   = float(default=1.0)                      # Step of the map of pixels
    pixmap_order      = integer(default=1)                      # Order of its interpolation
    """

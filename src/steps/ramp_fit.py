"""ramp_fit: fit a slope to every ramp."""

import numpy as np

from upramp.errors import UnsupportedModeError
from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, RampFitting
from upramp.models import CubeModel, GainModel, ImageModel, RampModel, ReadnoiseModel
from upramp.steps.ramp_step import RampStep, is_miri, plane, require

__all__ = ["RampFitStep"]

UNITS = "DN/s"


class RampFitStep(RampStep):
    """Fit the slope of each ramp, for the exposure and for each integration."""

    class_alias = "ramp_fit"
    reference_file_types = ("readnoise", "gain")
    spec = """
    algorithm          = option('OLS_C', 'LIKELY', default='OLS_C')  # Least squares or likelihood
    int_name           = string(default='')       # Accepted for compatibility, without effect
    save_opt           = boolean(default=False)   # Save the fit of every segment
    opt_name           = string(default='')       # Name of that file
    suppress_one_group = boolean(default=True)    # Give no slope to ramps with a single good group
    firstgroup         = integer(default=None)    # First group to use, from 0
    lastgroup          = integer(default=None)    # Last group to use, inclusive
    maximum_cores      = string(default='1')      # Accepted; UPRAMP_THREADS sets the threads
    """

    def check_supported(self):
        """Refuse what is not there before any work.

        Raises
        ------
        UnsupportedModeError
            The likelihood fit or the optional product is asked for.
        """
        if self.algorithm != "OLS_C":
            raise UnsupportedModeError(f"ramp_fit: algorithm={self.algorithm} is not implemented yet; use OLS_C")
        if self.save_opt:
            raise UnsupportedModeError("ramp_fit: save_opt=True is not implemented yet; set save_opt=False")

    def correction(self, ramp):
        """Gain, read noise and times; the gain reference may carry the factor for gain_scale."""
        self.check_supported()
        noise = self.open_reference(ramp, "readnoise", ReadnoiseModel)
        gain = self.open_reference(ramp, "gain", GainModel)
        if gain is None or noise is None:
            return None
        if gain.meta.exposure.gain_factor is not None:
            ramp.meta.exposure.gain_factor = gain.meta.exposure.gain_factor
        group_time, frame_time, nframes, groupgap = require(
            ramp,
            TGROUP="meta.exposure.group_time",
            TFRAME="meta.exposure.frame_time",
            NFRAMES="meta.exposure.nframes",
            GROUPGAP="meta.exposure.groupgap",
        )
        dark = ramp.mapped("average_dark_current")
        has_dark = dark is not None and np.any(ramp.average_dark_current)
        return RampFitting(
            True,
            gain=plane(gain, "data", ramp, np.float32),
            read_noise=plane(noise, "data", ramp, np.float32),
            average_dark=as_bits(dark, np.float32) if has_dark else NO_PLANE,
            group_time=float(group_time),
            frame_time=float(frame_time),
            nframes=nframes,
            groupgap=groupgap,
            suppress_one_group=self.suppress_one_group,
            miri=is_miri(ramp),
        )

    def products(self, ramp):
        """The two models of the result with the metadata of the ramp and no arrays: exposure, integrations."""
        rate, rateints = ImageModel(), CubeModel()
        for product in (rate, rateints):
            product.update(ramp)
            product.meta.bunit_data = product.meta.bunit_err = UNITS
            self.record_complete(product)
        rateints.int_times = ramp.int_times
        return rate, rateints

    def process(self, data):
        """Returns the rate image and the cube of rates per integration; (None, None) if no ramp can be fitted."""
        from upramp.kernels import stepwise

        ramp = self.prepare_output(data, open_as=RampModel)
        correction = self.correction(ramp)
        if correction is None:
            return ramp, None
        fit = stepwise.fit_ramps(correction, stepwise.Ramp.of(ramp), self.firstgroup, self.lastgroup)
        if fit is None:
            self.log.warning("No ramp can be fitted: every pixel is saturated in the first group of every integration")
            return None, None
        products = self.products(ramp)
        for product, slopes in zip(products, (fit.rate, fit.integrations), strict=True):
            product.data, product.err = slopes.slope, slopes.err
            product.dq = slopes.dq
            product.var_poisson, product.var_rnoise = slopes.var_poisson, slopes.var_rnoise
        return products

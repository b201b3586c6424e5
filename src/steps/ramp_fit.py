"""ramp_fit: fit a slope to every ramp."""

import dataclasses

import numpy as np

from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, RampFitting
from upramp.models import CubeModel, GainModel, IFUImageModel, ImageModel, RampFitOutputModel, ReadnoiseModel
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

    def read_times(self, ramp):
        """Times of the reads of every group for the likelihood fit; empty if the ramps are fitted by least squares."""
        from upramp.kernels.likelihood import MINIMUM_GROUPS
        from upramp.kernels.likelihood_model import even_read_times

        given = ramp.meta.exposure.read_times or ()
        if self.algorithm != "LIKELY" and not given:
            return ()
        ngroups = ramp.shape[1]
        if ngroups < MINIMUM_GROUPS:
            self.log.warning("%d groups are too few for the likelihood fit: using OLS_C", ngroups)
            return ()
        if self.algorithm != "LIKELY":
            self.log.warning("The groups are not evenly spaced: using LIKELY")
        if given:
            return tuple(tuple(np.atleast_1d(times)) for times in given)
        frame_time, nframes, groupgap = require(
            ramp, TFRAME="meta.exposure.frame_time", NFRAMES="meta.exposure.nframes", GROUPGAP="meta.exposure.groupgap"
        )
        return tuple(even_read_times(ngroups, frame_time, nframes, groupgap))

    def correction(self, ramp):
        """Gain, read noise and times; the gain reference may carry the factor for gain_scale."""
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
            read_times=self.read_times(ramp),
        )

    def products(self, ramp):
        """The two models of the result with the metadata of the ramp and no arrays: exposure, integrations."""
        rate, rateints = (IFUImageModel if _of_ifu(ramp) else ImageModel)(), CubeModel()
        for product in (rate, rateints):
            product.update(ramp)
            product.meta.bunit_data = product.meta.bunit_err = UNITS
            self.record_complete(product)
        rateints.int_times = ramp.int_times
        if ramp.has_array("int_times_stripe"):
            rateints.int_times_stripe = ramp.int_times_stripe
        return rate, rateints

    def own_outputs(self):
        """Rates of the exposure (0) and of each integration (1), and the details of the fit when they are saved."""
        paths = []
        if self.save_results or self.output_file is not None:
            paths = [self.make_output_path(idx=index) for index in (0, 1)]
        if self.save_opt:
            suffix = "likely_chisq" if self.algorithm == "LIKELY" else "fitopt"
            paths.append(self.make_output_path(self.opt_name or None, suffix=suffix))
        return paths

    def _save_details(self, ramp, flags, correction, fit):
        """Save the optional product: chi-squared of the likelihood fit, or the fit of every segment.

        ``flags`` are those of the groups with which the fit began, and those that it has set.
        """
        from upramp.kernels import stepwise

        if correction.read_times:
            product, suffix, arrays = ImageModel(), "likely_chisq", {"data": fit.chi2}
        else:
            drop_frames = ramp.meta.exposure.drop_frames1 or 0
            arrays = dataclasses.replace(stepwise.Ramp.of(ramp), groupdq=flags)
            details = stepwise.detail_segments(correction, arrays, fit.integrations.slope, drop_frames)
            product, suffix, arrays = RampFitOutputModel(), "fitopt", details._asdict()
        product.update(ramp)
        for name, array in arrays.items():
            setattr(product, name, array)
        self.save_model(product, suffix, output_file=self.opt_name or ramp.meta.filename)

    def process(self, data):
        """Returns the rate image and the cube of rates per integration; (None, None) if no ramp can be fitted."""
        from upramp.kernels import stepwise

        ramp = self.open_ramp(data)
        correction = self.correction(ramp)
        if correction is None:
            return ramp, None
        self.count_flags(ramp)
        before = ramp.groupdq.copy() if self.save_opt else None
        fit_ramps = stepwise.fit_likelihood if correction.read_times else stepwise.fit_ramps
        fit = fit_ramps(correction, stepwise.Ramp.of(ramp), self.firstgroup, self.lastgroup)
        if fit is None:
            self.log.warning("No ramp can be fitted: every pixel is saturated in the first group of every integration")
            return None, None
        if self.save_opt:
            self._save_details(ramp, before | ramp.groupdq, correction, fit)
        products = self.products(ramp)
        for product, slopes in zip(products, (fit.rate, fit.integrations), strict=True):
            product.data, product.err = slopes.slope, slopes.err
            product.dq = slopes.dq
            product.var_poisson, product.var_rnoise = slopes.var_poisson, slopes.var_rnoise
        return products


def _of_ifu(ramp):
    """Whether a ramp is of an integral-field unit."""
    kind = ramp.meta.exposure.type
    lamp = kind in ("NRS_AUTOWAVE", "NRS_LAMP") and ramp.meta.instrument.lamp_mode == "IFU"
    return lamp or kind in ("NRS_IFU", "MIR_MRS")

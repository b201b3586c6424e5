"""gain_scale: rescale exposures taken with a gain other than the standard one."""

from upramp.framework import Step
from upramp.models import GainModel

__all__ = ["GainScaleStep"]


class GainScaleStep(Step):
    """Multiply rates by the factor between the gain of the exposure and the standard gain."""

    class_alias = "gain_scale"
    reference_file_types = ("gain",)

    def scaling(self, model):
        """Find the factor and record on the model what is done with it.

        Returns
        -------
        float or None
            From the header, else from the GAIN reference; None (recorded as SKIPPED) if neither has it.
        """
        factor = model.meta.exposure.gain_factor
        if factor is None:
            found = self.get_reference_file(model, "gain")
            if not isinstance(found, str) or found not in ("N/A", ""):
                factor = GainModel(found).meta.exposure.gain_factor
        if factor is None:
            self.record_skip(model, "GAINFACT is neither in the header nor in the GAIN reference")
            return None
        model.meta.exposure.gain_factor = factor
        self.record_complete(model)
        return factor

    def process(self, data):
        """Scale slopes and errors by the factor, variances by its square; DQ stays."""
        from upramp.kernels.gain_scale import scale_by_gain_in_place

        model = self.prepare_output(data)
        factor = self.scaling(model)
        if factor is not None:
            scale_by_gain_in_place(model.data, model.err, model.var_poisson, model.var_rnoise, factor)
        return model

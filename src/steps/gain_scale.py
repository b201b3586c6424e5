"""gain_scale: rescale exposures taken with a gain other than the standard one."""

from upramp.framework import Step
from upramp.models import GainModel

__all__ = ["GainScaleStep"]


class GainScaleStep(Step):
    """Multiply rates by the factor between the gain of the exposure and the standard gain."""

    class_alias = "gain_scale"
    reference_file_types = ("gain",)

    def factor(self, model):
        """The factor from the header, else from the GAIN reference; None (recorded as SKIPPED) if neither has it."""
        factor = model.meta.exposure.gain_factor
        if factor is None:
            found = self.get_reference_file(model, "gain")
            if not isinstance(found, str) or found not in ("N/A", ""):
                factor = GainModel(found).meta.exposure.gain_factor
        if factor is None:
            self.record_skip(model, "GAINFACT is neither in the header nor in the GAIN reference")
        return factor

    def process(self, data):
        """Scale slopes and errors by the factor, variances by its square; DQ stays."""
        from upramp.kernels.gain_scale import scale_rates_in_place

        model = self.prepare_output(data)
        factor = self.factor(model)
        if factor is None:
            return model
        scale_rates_in_place(factor, model.data, model.err, model.var_poisson, model.var_rnoise)
        model.meta.exposure.gain_factor = factor
        return self.record_complete(model)

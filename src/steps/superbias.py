"""superbias: subtract the level of the pixels after reset."""

import numpy as np

from upramp.kernels.corrections import SuperBias
from upramp.models import SuperBiasModel
from upramp.steps.ramp_step import RampStep, plane

__all__ = ["SuperBiasStep"]


class SuperBiasStep(RampStep):
    """Subtract the superbias from every group."""

    class_alias = "superbias"
    takes_superstripes = True
    reference_file_types = ("superbias",)

    def correction(self, ramp):
        """NaN in the superbias counts as zero."""
        reference = self.open_reference(ramp, "superbias", SuperBiasModel)
        if reference is None:
            return None
        return SuperBias(True, plane(reference, "data", ramp, np.float32), plane(reference, "dq", ramp, np.uint32))

"""linearity: correct the response of the pixels by a polynomial."""

import numpy as np

from upramp.errors import UnsupportedModeError
from upramp.kernels.corrections import Linearity
from upramp.models import LinearityModel
from upramp.steps.ramp_step import RampStep, plane

__all__ = ["LinearityStep"]


class LinearityStep(RampStep):
    """Apply the polynomial linearity correction to unsaturated samples."""

    class_alias = "linearity"
    reference_file_types = ("linearity",)

    def correction(self, ramp):
        """Coefficients of the powers of the counts in DN."""
        reference = self.open_reference(ramp, "linearity", LinearityModel)
        if reference is None:
            return None
        if reference.mapped("inv_coeffs") is not None and (ramp.meta.exposure.nframes or 1) > 1:
            raise UnsupportedModeError(
                f"LINEARITY reference {reference.meta.filename} has inverse coefficients, with which groups of several "
                "frames are corrected read by read; that is not implemented. Give a reference without INV_COEFFS "
                "with override_linearity, or skip the step"
            )
        return Linearity(True, plane(reference, "coeffs", ramp, np.float32), plane(reference, "dq", ramp, np.uint32))

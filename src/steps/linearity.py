"""linearity: correct the response of the pixels by a polynomial."""

import numpy as np

from upramp.kernels.corrections import NO_PLANE, Linearity
from upramp.models import LinearityModel
from upramp.steps.ramp_step import RampStep, is_gathered, plane

__all__ = ["LinearityStep"]


class LinearityStep(RampStep):
    """Apply the polynomial linearity correction to unsaturated samples.

    With inverse coefficients in the reference (INV_COEFFS) the reads of averaged groups are corrected one by one.
    """

    class_alias = "linearity"
    reference_file_types = ("linearity",)

    def correction(self, ramp):
        """Coefficients of the powers of the counts in DN."""
        reference = self.open_reference(ramp, "linearity", LinearityModel)
        if reference is None:
            return None
        nframes = ramp.meta.exposure.nframes or 1
        # Reads at times of their own are not told by NFRAMES, and stripes get no inverse coefficients (as the peer).
        by_reads = nframes > 1 and not ramp.meta.exposure.read_times and not is_gathered(reference, ramp)
        inverse = plane(reference, "inv_coeffs", ramp, np.float32) if by_reads else NO_PLANE
        if len(inverse.bits) and ramp.shape[1] < 2:
            self.log.warning("The group is corrected as a whole: its reads cannot be told from a single group")
            inverse = NO_PLANE
        return Linearity(
            True,
            plane(reference, "coeffs", ramp, np.float32),
            plane(reference, "dq", ramp, np.uint32),
            inverse,
            nframes,
        )

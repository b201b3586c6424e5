"""saturation: flag saturated groups and the floor of the converter."""

import numpy as np

from upramp.kernels.corrections import NO_PLANE, Saturation
from upramp.models import SaturationModel, SuperBiasModel
from upramp.steps.ramp_step import RampStep, irs2_detector, plane, refuse_interleaved_zeroframe, require

__all__ = ["SaturationStep"]


class SaturationStep(RampStep):
    """Flag saturated groups, their neighbours, and groups in which saturation began."""

    class_alias = "saturation"
    takes_superstripes = True
    reference_file_types = ("saturation", "superbias")
    spec = """
    n_pix_grow_sat = integer(default=1, min=0)  # Pixels around a saturated one that count as saturated too
    use_readpatt   = boolean(default=True)      # Look for saturation inside the first saturated group
    """

    def correction(self, ramp):
        """Thresholds in DN; the superbias serves the test for saturation in the second group."""
        refuse_interleaved_zeroframe(ramp)
        reference = self.open_reference(ramp, "saturation", SaturationModel)
        bias = self.find_reference(ramp, "superbias", SuperBiasModel)  # in the header of a skipped step, too
        if reference is None:
            return None
        (nframes,) = require(ramp, NFRAMES="meta.exposure.nframes")
        return Saturation(
            True,
            threshold=plane(reference, "data", ramp, np.float32),
            flags=plane(reference, "dq", ramp, np.uint32),
            bias=NO_PLANE if bias is None else plane(bias, "data", ramp, np.float32),
            has_bias=bias is not None,
            grow=self.n_pix_grow_sat,
            nframes=nframes,
            use_read_pattern=self.use_readpatt,
            irs2_detector=irs2_detector(ramp),
        )

    def process(self, data):
        """Flag saturation, and count the flagged samples."""
        ramp = super().process(data)
        self.count_flags(ramp, "saturated_samples")
        return ramp

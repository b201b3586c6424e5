"""dq_init: bring the static bad-pixel mask into the data-quality arrays."""

import numpy as np

from upramp.errors import ReferenceFileError
from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, StaticMask
from upramp.models import MaskModel
from upramp.steps.ramp_step import RampStep, plane

__all__ = ["DQInitStep"]

# Exposures of the guiders, whose own models have flags of another kind than a ramp.
GUIDE_STAR_TYPES = ("FGS_ID-IMAGE", "FGS_ID-STACK", "FGS_ACQ1", "FGS_ACQ2", "FGS_TRACK", "FGS_FINEGUIDE")


class DQInitStep(RampStep):
    """Initialise the data quality from the MASK reference, and from a file of the user's own."""

    class_alias = "dq_init"
    reference_file_types = ("mask",)
    spec = """
    user_supplied_dq = string(default=None)  # Image of flags to add, a FITS file of the shape of the exposure
    """

    def correction(self, ramp):
        """Pixel flags of the mask, except for guide stars; DO_NOT_USE pixels have no good group."""
        reference = self.open_reference(ramp, "mask", MaskModel)
        if reference is None:
            return None
        mask = plane(reference, "dq", ramp, np.uint32)
        if ramp.meta.exposure.type in GUIDE_STAR_TYPES:
            self.log.warning(
                "EXP_TYPE is %s: the ramp of a guide-star exposure gets no flags from the mask (reference behaviour)",
                ramp.meta.exposure.type,
            )
            return StaticMask(True, NO_PLANE)
        if self.user_supplied_dq is None:
            return StaticMask(True, mask)
        return StaticMask(True, self._with_user_flags(mask, ramp.shape[-2:]))

    def _with_user_flags(self, mask, shape):
        from astropy.io import fits

        from upramp.kernels.stepwise import native_plane

        path = self.make_input_path(self.user_supplied_dq)
        with fits.open(path) as hdus:
            user = next((hdu.data for hdu in hdus if hdu.data is not None), None)
        if user is None or user.shape != shape:
            raise ReferenceFileError(
                f"user_supplied_dq {path} has {'no image' if user is None else f'shape {user.shape}'}; expected {shape}"
            )
        return as_bits(native_plane(mask, np.uint32, shape) | user.astype(np.uint32), np.uint32)

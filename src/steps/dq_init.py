"""dq_init: bring the static bad-pixel mask into the data-quality arrays."""

from pathlib import Path

import numpy as np

from upramp import models
from upramp.errors import ReferenceFileError
from upramp.kernels._bits import as_bits
from upramp.kernels.corrections import NO_PLANE, StaticMask
from upramp.models import GuiderRawModel, MaskModel
from upramp.steps.guider_cds import GUIDE_STAR_TYPES
from upramp.steps.ramp_step import RampStep, plane, set_missing_flags

__all__ = ["DQInitStep"]


class DQInitStep(RampStep):
    """Initialise the data quality from the MASK reference, and from a file of the user's own."""

    class_alias = "dq_init"
    takes_superstripes = True
    reference_file_types = ("mask",)
    spec = """
    user_supplied_dq = string(default=None)  # Image of flags to add, a FITS file of the shape of the exposure
    """

    def process(self, data):
        """Flag a ramp, or a guide-star exposure, which has one set of flags for all groups."""
        raw = self._guide_star(data)
        if raw is None:
            return super().process(data)
        from upramp.kernels.stepwise import native_plane

        reference = self.open_reference(raw, "mask", MaskModel)
        if reference is None:
            return raw
        mask = self._user_flags_added(plane(reference, "dq", raw, np.uint32), raw.shape[-2:])
        raw.dq = raw.dq | native_plane(mask, np.uint32, raw.shape[-2:])
        return self.record_complete(raw)

    def _guide_star(self, data):
        """The model of a guide-star exposure; None if the input is another exposure."""
        if isinstance(data, str | Path):
            path = self.make_input_path(data)
            if not path.exists() or models.open(path).meta.exposure.type not in GUIDE_STAR_TYPES:
                return None
        elif not isinstance(data, GuiderRawModel):
            return None
        raw = self.prepare_output(data, open_as=GuiderRawModel)
        set_missing_flags(self, raw, replace=True, dq="DQ")
        return raw

    def correction(self, ramp):
        """Pixel flags of the mask, except for guide stars; DO_NOT_USE pixels have no good group."""
        set_missing_flags(self, ramp, replace=True, pixeldq="pixel DQ", groupdq="group DQ")
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
        return StaticMask(True, self._user_flags_added(mask, self._shape(ramp)))

    @staticmethod
    def _shape(ramp):
        """Shape of the mask: one for each position of a superstripe readout."""
        positions = ramp.meta.subarray.num_superstripe or 0
        return (positions, *ramp.shape[-2:]) if positions > 0 else ramp.shape[-2:]

    def _user_flags_added(self, mask, shape):
        if self.user_supplied_dq is None:
            return mask
        from astropy.io import fits

        from upramp.kernels.stepwise import native_plane

        path = self.make_input_path(self.user_supplied_dq)
        with fits.open(path) as hdus:
            user = next((hdu.data for hdu in hdus if hdu.data is not None), None)
        if user is None or user.shape != shape:
            raise ReferenceFileError(
                f"user_supplied_dq {path} has {'no image' if user is None else f'shape {user.shape}'}; expected {shape}"
            )
        flags = user.astype(np.uint32)
        for p, one in enumerate(flags.reshape(-1, *shape[-2:])):
            one |= native_plane(mask._replace(bits=mask.bits[p : p + 1]), np.uint32, one.shape)
        return as_bits(flags, np.uint32)

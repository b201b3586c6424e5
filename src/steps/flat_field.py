"""flat_field: divide the count rates of guide-star exposures by the flat field."""

import numpy as np

from upramp.models import FlatModel, GuiderCalModel
from upramp.steps.ramp_step import plane
from upramp.steps.reference_step import ReferenceStep

__all__ = ["FlatFieldStep"]


class FlatFieldStep(ReferenceStep):
    """Divide by the flat field. Only guide-star exposures are flat-fielded in stage 1, and only they are taken here."""

    class_alias = "flat_field"
    reference_file_types = ("flat",)
    spec = """
    save_interpolated_flat = boolean(default=False)  # Accepted for compatibility; only NIRSpec has such flats
    user_supplied_flat     = string(default=None)    # Flat field of the user's own, a FITS file
    inverse                = boolean(default=False)  # Multiply, to undo an earlier division
    """

    def wanted_reference_types(self):
        """None if the user gives the flat field."""
        return [] if self.user_supplied_flat is not None else super().wanted_reference_types()

    def process(self, data):
        """Divide rates; flags of the flat are added to those of the pixels."""
        from upramp.kernels.flat_field import divide_by_flat_in_place
        from upramp.kernels.stepwise import native_plane

        rates = self.prepare_output(data, open_as=GuiderCalModel)
        flat = self._flat(rates)
        if flat is None:
            return rates
        frame = rates.shape[-2:]
        arrays = []
        for name, dtype in (("data", np.float32), ("err", np.float32), ("dq", np.uint32)):
            arrays.append(native_plane(plane(flat, name, rates, dtype), dtype, frame))
        divide_by_flat_in_place(rates.data, rates.err, rates.dq, *arrays, inverse=self.inverse)
        return self.record_complete(rates)

    def _flat(self, rates):
        """The flat of the user, else that of CRDS; None (recorded as SKIPPED) without one that is large enough."""
        if self.user_supplied_flat is not None:
            flat = FlatModel(self.make_input_path(self.user_supplied_flat))
            self.reference_files_used.append(("flat", flat.meta.filename))
            self.log.info("Using the flat field %s", flat.meta.filename)
        else:
            flat = self.open_reference(rates, "flat", FlatModel)
        if flat is not None and np.any(np.array(flat.shape) < rates.shape[-2:]):
            self.record_skip(rates, f"the flat {flat.meta.filename} {flat.shape} is smaller than the exposure")
            return None
        return flat

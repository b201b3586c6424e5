"""flat_field: divide images, or the count rates of guide stars, by the flat field."""

import numpy as np

from upramp.errors import UnsupportedModeError
from upramp.models import CubeModel, FlatModel, GuiderCalModel, ImageModel
from upramp.steps.image_step import ImageStep
from upramp.steps.ramp_step import plane

__all__ = ["FlatFieldStep"]

_NIRSPEC_IMAGING = (
    "NRS_CONFIRM", "NRS_FOCUS", "NRS_IMAGE", "NRS_MIMF", "NRS_MSATA", "NRS_TACONFIRM", "NRS_TACQ", "NRS_TASLIT",
    "NRS_WATA",
)  # fmt: skip


class FlatFieldStep(ImageStep):
    """Divide by the flat field; its error goes into the variance VAR_FLAT, its flags into those of the pixels."""

    class_alias = "flat_field"
    # Those of NIRSpec's spectra have no use here; parameter files for the reference pipeline name them.
    reference_file_types = ("flat", "fflat", "sflat", "dflat")
    spec = """
    save_interpolated_flat = boolean(default=False)  # Save the flat that was used, suffix interpolatedflat
    user_supplied_flat     = string(default=None)    # Flat field of the user's own, a FITS file
    inverse                = boolean(default=False)  # Multiply, to undo an earlier division
    """

    def wanted_reference_types(self):
        """The flat field, unless the user gives it."""
        return [name for name in super().wanted_reference_types() if name == "flat" and self.user_supplied_flat is None]

    def process(self, data):
        """Divide rates; flags of the flat are added to those of the pixels."""
        from upramp.kernels.flat_field import divide_by_flat_in_place, divide_images_by_flat_in_place
        from upramp.kernels.stepwise import native_plane

        rates = self.prepare_output(data)
        if not isinstance(rates, ImageModel | CubeModel | GuiderCalModel):
            raise TypeError(
                f"Input data model is not compatible: {self.name} got a {type(rates).__name__}. Expected an "
                "ImageModel, CubeModel or GuiderCalModel: count rates of an image, its integrations, or guide stars."
            )
        flat = self._flat(rates)
        if flat is None:
            return rates
        frame = rates.shape[-2:]
        arrays = []
        for name, dtype in (("data", np.float32), ("err", np.float32), ("dq", np.uint32)):
            arrays.append(native_plane(plane(flat, name, rates, dtype), dtype, frame))
        if isinstance(rates, GuiderCalModel):
            divide_by_flat_in_place(rates.data, rates.err, rates.dq, *arrays, inverse=self.inverse)
        else:
            for name in ("err", "var_flat"):
                rates.new_array(name, rates.shape)
            divide_images_by_flat_in_place(*self._images(rates), *arrays, inverse=self.inverse)
        if self.save_interpolated_flat:
            self.save_model(flat, suffix="interpolatedflat", force=True)
        return self.record_complete(rates)

    def _images(self, rates):
        names = ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat")
        images = dict(zip(names, self.planes(rates, *names), strict=True))
        self.require_arrays(rates, **images)
        return images.values()

    def _flat(self, rates):
        """The flat of the user, else that of CRDS; None (recorded as SKIPPED) without one that is large enough."""
        exposure_type = rates.meta.exposure.type
        if exposure_type == "NRS_AUTOFLAT":
            self.record_skip(rates, f"EXP_TYPE is {exposure_type}: exposures of the lamp are not flat-fielded")
            return None
        if rates.meta.instrument.name == "NIRSPEC" and exposure_type not in _NIRSPEC_IMAGING:
            raise UnsupportedModeError(f"EXP_TYPE is {exposure_type}; of NIRSpec only images are flat-fielded here")
        if rates.meta.cal_step.extract_2d == "COMPLETE":
            self.record_skip(rates, f"extract_2d has been done, which does not go with {exposure_type}")
            return None
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

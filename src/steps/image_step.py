"""What the steps of stage 2 have in common: which models they take, and their arrays as kernels want them."""

from upramp.errors import FileFormatError, ShapeError, UnsupportedModeError
from upramp.models import CubeModel, ImageModel
from upramp.steps.reference_step import ReferenceStep

__all__ = ["ACQUISITION_TYPES", "IMAGING_TYPES", "ImageStep"]

ACQUISITION_TYPES = frozenset(
    {
        "MIR_TACQ", "MIR_TACONFIRM", "NIS_TACQ", "NIS_TACONFIRM", "NRC_TACQ", "NRC_TACONFIRM", "NRS_CONFIRM",
        "NRS_MSATA", "NRS_TACONFIRM", "NRS_TACQ", "NRS_TASLIT", "NRS_VERIFY", "NRS_WATA",
    }
)  # fmt: skip
IMAGING_TYPES = ACQUISITION_TYPES | {
    "FGS_IMAGE", "FGS_FOCUS", "MIR_4QPM", "MIR_IMAGE", "MIR_LYOT", "MIR_CORONCAL", "NIS_AMI", "NIS_IMAGE", "NIS_FOCUS",
    "NRC_CORON", "NRC_IMAGE", "NRC_TSIMAGE", "NRC_FOCUS", "NRS_MIMF", "NRS_FOCUS", "NRS_IMAGE",
}  # fmt: skip
_SPECTRAL = ("WFSS", "GRISM", "SOSS", "LRS", "MRS", "SPEC", "SLIT", "IFU", "LAMP", "BRIGHTOBJ", "AUTO")


class ImageStep(ReferenceStep):
    """A step that works on images of count rates, of an exposure or of every integration."""

    def is_image(self, model):
        """Whether a model is one of images; if not, that is recorded as SKIPPED."""
        if isinstance(model, ImageModel | CubeModel):
            return True
        self.record_skip(model, f"it takes an ImageModel or a CubeModel, not a {type(model).__name__}")
        return False

    def require_imaging(self, model):
        """Refuse spectra by name.

        Raises
        ------
        UnsupportedModeError
            EXP_TYPE is that of a spectroscopic mode.
        """
        exposure_type = (model.meta.exposure.type or "").upper()
        if exposure_type not in IMAGING_TYPES and any(word in exposure_type for word in _SPECTRAL):
            raise UnsupportedModeError(
                f"{model.meta.filename or 'the exposure'} has EXP_TYPE {exposure_type}; {self.name} is there for "
                "images, not for spectra"
            )

    @staticmethod
    def planes(model, *names):
        """Arrays of a model as (n, ny, nx) views; None for one that is absent.

        Raises
        ------
        ShapeError
            An array has not the shape of the data.
        """
        shape = model.shape
        found = []
        for name in names:
            array = getattr(model, name)
            if array is not None and array.shape != shape:
                raise ShapeError(f"{model!r}: {name} has shape {array.shape}; the data have {shape}")
            found.append(None if array is None else array.reshape(-1, *shape[-2:]))
        return found

    @staticmethod
    def require_arrays(model, **arrays):
        """Raise FileFormatError naming the arrays that are None."""
        missing = [name for name, array in arrays.items() if array is None]
        if missing:
            raise FileFormatError(
                f"{model!r} has no {', '.join(missing)}; expected the count rates of stage 1 (_rate or _rateints)"
            )

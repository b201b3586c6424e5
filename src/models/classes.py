"""The data models. What each holds is in the schema of its name."""

from upramp.errors import MissingKeywordError, ShapeError
from upramp.models.model import DataModel

__all__ = [
    "CubeModel",
    "DarkMIRIModel",
    "DarkModel",
    "DarkNirspecModel",
    "DistortionModel",
    "FgsImgPhotomModel",
    "FilteroffsetModel",
    "FlatModel",
    "GainModel",
    "GuiderCalModel",
    "GuiderRawModel",
    "IFUImageModel",
    "IPCModel",
    "IRS2Model",
    "ImageModel",
    "LastFrameModel",
    "Level1bModel",
    "LinearityModel",
    "MaskModel",
    "MirImgPhotomModel",
    "NisImgPhotomModel",
    "NrcImgPhotomModel",
    "PersistenceSatModel",
    "PictureFrameModel",
    "PixelAreaModel",
    "QuadModel",
    "RSCDModel",
    "RampFitOutputModel",
    "RampModel",
    "ReadnoiseModel",
    "ReferenceCubeModel",
    "ReferenceImageModel",
    "ReferenceModel",
    "ReferenceQuadModel",
    "ResetModel",
    "SaturationModel",
    "SuperBiasModel",
    "SuperstripeRampModel",
    "TrapDensityModel",
    "TrapParsModel",
    "TrapsFilledModel",
]

IRS2_ROWS = 3200  # rows of an IRS2 readout, which the keywords call 2048


class _Exposure(DataModel):
    """A model of ramps: (integration, group, row, column)."""

    def check_consistency(self):
        """Check that the keywords of the exposure describe the array.

        Raises
        ------
        MissingKeywordError
            NINTS or NGROUPS is absent, or there is no array.
        ShapeError
            NINTS (INTSTART to INTEND of a segment), NGROUPS, SUBSIZE1 or SUBSIZE2 differ from the array.
        """
        if self.shape is None:
            raise MissingKeywordError(f"{self!r} has no array {self._schema.primary} (HDU SCI)")
        exposure, subarray = self.meta.exposure, self.meta.subarray
        nints = exposure.nints
        if exposure.integration_start is not None and exposure.integration_end is not None:
            nints = exposure.integration_end - exposure.integration_start + 1
        rows = self.shape[2]
        if rows == IRS2_ROWS and (exposure.readpatt or "").startswith("NRSIRS2"):
            rows = subarray.ysize
        found = (*self.shape[:2], rows, self.shape[3])
        stated = (nints, exposure.ngroups, subarray.ysize, subarray.xsize)
        names = ("NINTS (or INTSTART, INTEND)", "NGROUPS", "SUBSIZE2", "SUBSIZE1")
        for name, value, length, required in zip(names, stated, found, (True, True, False, False), strict=True):
            if value is None and required:
                raise MissingKeywordError(f"{self!r} lacks the keyword {name}; the array has {length}")
            if value is not None and value != length:
                raise ShapeError(
                    f"{self!r}: {name} says {value}, but the array {self.shape} has {length}. The file is damaged or "
                    "was cut; correct the keyword if the array is right."
                )


class Level1bModel(_Exposure):
    """A raw exposure (``_uncal``): uint16 counts."""

    schema_name = "level1b"


class RampModel(_Exposure):
    """Ramps on their way through stage 1 (``_ramp``); also made from a raw exposure."""

    schema_name = "ramp"


class SuperstripeRampModel(RampModel):
    """Ramps of a superstripe readout before refpix puts the stripes together: integrations take the positions in turn.

    Pixel flags are (stripe, row, column).
    """

    schema_name = "superstripe_ramp"

    def get_default(self, name):
        """As for other models; None for what is by stripe as long as SSTR_NST does not say how many there are."""
        by_stripe = self._array_spec(name).axes[:1] == ("stripe",)
        return None if by_stripe and not self.meta.subarray.num_superstripe else super().get_default(name)

    def _default_shape(self, spec):
        if spec.axes and spec.axes[0] == "stripe" and self.shape is not None:
            return (self.meta.subarray.num_superstripe or 1, *self.shape[-2:])
        return super()._default_shape(spec)


class ImageModel(DataModel):
    """An image of count rates (``_rate``)."""

    schema_name = "image"


class IFUImageModel(DataModel):
    """An image of count rates of an integral-field unit (``_rate`` of NIRSpec IFU and MIRI MRS)."""

    schema_name = "ifuimage"


class CubeModel(DataModel):
    """Count rates of every integration (``_rateints``)."""

    schema_name = "cube"


class RampFitOutputModel(DataModel):
    """Details of a ramp fit, segment by segment (``_fitopt``)."""

    schema_name = "rampfitoutput"


class GuiderRawModel(DataModel):
    """Raw groups of a guide-star exposure (``_uncal``), with one set of flags for all."""

    schema_name = "guider_raw"


class GuiderCalModel(DataModel):
    """Count rates of a guide-star exposure (``_cal``)."""

    schema_name = "guider_cal"


class ReferenceModel(DataModel):
    """A reference; written without ASDF extension."""

    schema_name = "reference"
    writes_asdf = False

    def __init__(self, init=None, **options):
        super().__init__(init, **options)
        self._values["meta.telescope"] = "JWST"

    def _note_source(self, source):
        # A wrong reference should not survive its opening: days go by before its results look wrong.
        super()._note_source(source)
        try:
            self.check_shapes({})
        except ShapeError as error:
            raise ShapeError(
                f"{source.path} cannot be used: {error}. Make the arrays fit, or use another file."
            ) from error


class MaskModel(ReferenceModel):
    """Bad pixels."""

    schema_name = "mask"


class SaturationModel(ReferenceModel):
    """Saturation threshold of every pixel."""

    schema_name = "saturation"


class SuperBiasModel(ReferenceModel):
    """Bias of every pixel."""

    schema_name = "superbias"


class LinearityModel(ReferenceModel):
    """Polynomial of every pixel that makes its response linear."""

    schema_name = "linearity"


class DarkModel(ReferenceModel):
    """Dark ramps of the near-infrared detectors."""

    schema_name = "dark"


class DarkMIRIModel(ReferenceModel):
    """Dark ramps of MIRI, one for each of the first integrations."""

    schema_name = "darkmiri"


class ResetModel(ReferenceModel):
    """Transient after a reset of MIRI, for each of the first integrations."""

    schema_name = "reset"


class RSCDModel(ReferenceModel):
    """Groups to leave out by subarray and readout pattern of MIRI."""

    schema_name = "rscd"


class FlatModel(ReferenceModel):
    """Flat field: response of every pixel relative to the others."""

    schema_name = "flat"


class PictureFrameModel(ReferenceModel):
    """Thermal pattern of NIRSpec, brightest at the edges of the detector."""

    schema_name = "pictureframe"


class GainModel(ReferenceModel):
    """Gain of every pixel."""

    schema_name = "gain"


class ReadnoiseModel(ReferenceModel):
    """Noise of every pixel."""

    schema_name = "readnoise"


class IPCModel(ReferenceModel):
    """Interpixel capacitance."""

    schema_name = "ipc"


class IRS2Model(ReferenceModel):
    """Coefficients of the IRS2 correction (reference type refpix)."""

    schema_name = "irs2"


class QuadModel(DataModel):
    """Values with four dimensions."""

    schema_name = "quad"


class TrapsFilledModel(DataModel):
    """Charge traps that were filled at the end of an exposure."""

    schema_name = "trapsfilled"


class ReferenceImageModel(ReferenceModel):
    """A reference of an unknown type with two dimensions."""

    schema_name = "referenceimage"


class ReferenceCubeModel(ReferenceModel):
    """A reference of an unknown type with three dimensions."""

    schema_name = "referencecube"


class ReferenceQuadModel(ReferenceModel):
    """A reference of an unknown type with four dimensions."""

    schema_name = "referencequad"


class DarkNirspecModel(DarkModel):
    """Dark ramps of NIRSpec, with the dark rate."""

    schema_name = "dark_nirspec"


class LastFrameModel(ReferenceModel):
    """Effect of the last frame of MIRI."""

    schema_name = "lastframe"


class TrapDensityModel(ReferenceModel):
    """Density of charge traps."""

    schema_name = "trapdensity"


class TrapParsModel(ReferenceModel):
    """Capture and decay of charge traps."""

    schema_name = "trappars"


class PersistenceSatModel(ReferenceModel):
    """Level above which pixels have persistence."""

    schema_name = "persat"


class PixelAreaModel(ReferenceModel):
    """Areas of the pixels relative to the nominal one."""

    schema_name = "pixelarea"


class NrcImgPhotomModel(ReferenceModel):
    """Flux calibration of NIRCam imaging."""

    schema_name = "nrcimg_photom"


class NisImgPhotomModel(ReferenceModel):
    """Flux calibration of NIRISS imaging."""

    schema_name = "nisimg_photom"


class MirImgPhotomModel(ReferenceModel):
    """Flux calibration of MIRI imaging."""

    schema_name = "mirimg_photom"


class FgsImgPhotomModel(ReferenceModel):
    """Flux calibration of FGS imaging."""

    schema_name = "fgsimg_photom"


class DistortionModel(ReferenceModel):
    """Geometric distortion: ``model`` is an astropy transform. An ASDF file.

    Parameters
    ----------
    init : optional
        As of every model.
    model : astropy.modeling.Model, optional
    input_units, output_units : astropy.units.Unit or str, optional
        Of the transform, into ``meta``.
    """

    schema_name = "distortion"

    def __init__(self, init=None, model=None, input_units=None, output_units=None, **options):
        super().__init__(init, **options)
        if model is not None:
            self.model = model
        if input_units is not None:
            self.meta.input_units = input_units
        if output_units is not None:
            self.meta.output_units = output_units

    def on_save(self, path=None):
        super().on_save(path)
        self.meta.reftype = "distortion"


class FilteroffsetModel(ReferenceModel):
    """Shifts of the image by the filters. An ASDF file.

    Parameters
    ----------
    init : optional
        As of every model.
    filters : list of dict, optional
        Of each filter its offsets in columns and rows [pixel]; together with ``instrument``.
    instrument : str, optional
        MIRI, NIRCAM or NIRISS.

    Raises
    ------
    ValueError
        There are filters, but none of these instruments.
    """

    schema_name = "filteroffset"

    def __init__(self, init=None, filters=None, instrument=None, **options):
        super().__init__(init, **options)
        if filters is not None:
            if instrument not in ("MIRI", "NIRCAM", "NIRISS"):
                raise ValueError(
                    f"Please specify the instrument: it is {instrument!r}; expected MIRI, NIRCAM or NIRISS"
                )
            self.filters = filters
            self.meta.instrument.name = instrument

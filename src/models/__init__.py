"""Data models: metadata and arrays of exposures and references, as schemas describe them, in FITS files.

>>> from upramp import models
>>> model = models.open("x_uncal.fits")  # doctest: +SKIP
>>> model.meta.exposure.ngroups, model.data.shape  # doctest: +SKIP

`open` picks the class; `RampModel("x_uncal.fits")` opens a file as a class of your choice. Opening reads headers
only: ``model.data`` makes a native array when it is asked for, ``model.mapped("data")`` gives the bits in the file.
`create_product` lays a product out on disk for kernels to fill.
"""

from upramp.models import dqflags
from upramp.models._asdf_file import read_asdf_tree, write_asdf_tree
from upramp.models._atomic import replacing
from upramp.models._mapped import MappedArray, in_file, temporary_array
from upramp.models._metadata import ValidationWarning
from upramp.models.classes import (
    CubeModel,
    DarkMIRIModel,
    DarkModel,
    DarkNirspecModel,
    DistortionModel,
    FgsImgPhotomModel,
    FilteroffsetModel,
    FlatModel,
    GainModel,
    GuiderCalModel,
    GuiderRawModel,
    IFUImageModel,
    ImageModel,
    IPCModel,
    IRS2Model,
    LastFrameModel,
    Level1bModel,
    LinearityModel,
    MaskModel,
    MirImgPhotomModel,
    NisImgPhotomModel,
    NrcImgPhotomModel,
    PersistenceSatModel,
    PictureFrameModel,
    PixelAreaModel,
    QuadModel,
    RampFitOutputModel,
    RampModel,
    ReadnoiseModel,
    ReferenceCubeModel,
    ReferenceImageModel,
    ReferenceModel,
    ReferenceQuadModel,
    ResetModel,
    RSCDModel,
    SaturationModel,
    SuperBiasModel,
    SuperstripeRampModel,
    TrapDensityModel,
    TrapParsModel,
    TrapsFilledModel,
)
from upramp.models.emi import EmiModel
from upramp.models.model import DataModel
from upramp.models.opening import NoTypeWarning, open, ramp_class, read_metadata
from upramp.models.product import create_product
from upramp.models.sirskernel import SIRSKernelModel
from upramp.models.subarray import cutout

# Their names in code that was written for the reference pipeline.
JwstDataModel = DataModel
ReferenceFileModel = ReferenceModel

__all__ = [
    "CubeModel",
    "DarkMIRIModel",
    "DarkModel",
    "DarkNirspecModel",
    "DataModel",
    "DistortionModel",
    "EmiModel",
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
    "JwstDataModel",
    "LastFrameModel",
    "Level1bModel",
    "LinearityModel",
    "MappedArray",
    "MaskModel",
    "MirImgPhotomModel",
    "NisImgPhotomModel",
    "NoTypeWarning",
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
    "ReferenceFileModel",
    "ReferenceImageModel",
    "ReferenceModel",
    "ReferenceQuadModel",
    "ResetModel",
    "SIRSKernelModel",
    "SaturationModel",
    "SuperBiasModel",
    "SuperstripeRampModel",
    "TrapDensityModel",
    "TrapParsModel",
    "TrapsFilledModel",
    "ValidationWarning",
    "create_product",
    "cutout",
    "dqflags",
    "in_file",
    "open",
    "ramp_class",
    "read_asdf_tree",
    "read_metadata",
    "replacing",
    "temporary_array",
    "write_asdf_tree",
]

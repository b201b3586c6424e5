"""Open a file as the model that it is."""

import logging
import sys
import warnings
from pathlib import Path

from upramp.models import classes
from upramp.models._asdf_file import AsdfSource
from upramp.models.model import OTHER_NAMES, DataModel, source_of

__all__ = ["NoTypeWarning", "open", "ramp_class"]

log = logging.getLogger(__name__)

_BY_OTHER_NAME = {OTHER_NAMES.get(cls.__name__): cls for cls in (DataModel, classes.ReferenceModel)} | {
    "DataModel": DataModel
}
_BY_REFTYPE = {
    "MASK": classes.MaskModel,
    "SATURATION": classes.SaturationModel,
    "SUPERBIAS": classes.SuperBiasModel,
    "LINEARITY": classes.LinearityModel,
    "DARK": classes.DarkModel,
    "GAIN": classes.GainModel,
    "READNOISE": classes.ReadnoiseModel,
    "IPC": classes.IPCModel,
    "FLAT": classes.FlatModel,
}

_REFERENCE_BY_DIMENSIONS = {
    2: classes.ReferenceImageModel,
    3: classes.ReferenceCubeModel,
    4: classes.ReferenceQuadModel,
}


class NoTypeWarning(UserWarning):
    """A file does not say which model it is; one was chosen by what it holds."""


def open(init, guess=True):
    """Open a file as the data model that it is.

    Parameters
    ----------
    init : str, Path or DataModel
        ``.fits``, ``.fits.gz`` or ``.asdf``. A model is returned as another model of its class that shares its
        contents.
    guess : bool
        Whether to choose by contents when DATAMODL is absent or names a model that is not known here.

    Returns
    -------
    DataModel
        Of the class that DATAMODL names (one of a user's own among them, once it is defined); else by contents: 4-D
        SCI without DQ is a `RampModel`, a REFTYPE that reference (if it is another: by dimensions), no SCI a
        `DataModel`, 2-D SCI an `ImageModel`, 3-D a `CubeModel`, 4-D a `QuadModel`.

    Raises
    ------
    FileNotFoundError, FileFormatError
        There is no such file; it is not FITS, or damaged.
    ValueError
        The name has no extension, or another one.
    TypeError
        `init` is something else; the class cannot be determined.
    """
    if isinstance(init, DataModel):
        return type(init)(init)
    if "stdatamodels" in sys.modules:
        from upramp.models.peer import from_peer, is_peer

        if is_peer(init):
            return from_peer(init)
    if not isinstance(init, (str, Path)):
        raise TypeError(f"cannot open a {type(init).__name__}; expected a file name or a model")
    file = source_of(init)
    return _class_of(file, guess)(file)


def ramp_class(init):
    """The class of the ramps of an exposure: `RampModel`, or `SuperstripeRampModel` if it is a superstripe readout.

    Parameters
    ----------
    init : str, Path or DataModel
        A file that does not exist, or anything else, is taken for an ordinary exposure.
    """
    positions = 0
    if isinstance(init, DataModel):
        positions = init.meta.subarray.num_superstripe
    elif isinstance(init, (str, Path)) and Path(init).exists():
        source = source_of(init)
        positions = 0 if isinstance(source, AsdfSource) else source.hdus[0].header.get("SSTR_NST")
    return classes.SuperstripeRampModel if (positions or 0) > 0 else classes.RampModel


def _class_of(file, guess):
    if isinstance(file, AsdfSource):
        return _class_named(file.model_type) or DataModel
    header = file.hdus[0].header
    name = header.get("DATAMODL")
    known = _class_named(name)
    if known is not None:
        return known
    if not guess:
        raise TypeError(f"{file.path}: DATAMODL is {name!r}, which names no model, and guessing was not allowed")
    chosen = _class_by_contents(file, header)
    warnings.warn(
        f"{file.path.name}: DATAMODL is {name!r}; opened as {chosen.__name__} by what it holds",
        NoTypeWarning,
        stacklevel=3,
    )
    return chosen


def _class_named(name):
    return DataModel.classes.get(name) or _BY_OTHER_NAME.get(name)


def _class_by_contents(file, header):
    science = file.find("SCI")
    dimensions = len(science.shape) if science is not None else 0
    if dimensions == 4 and file.find("DQ") is None and "REFTYPE" not in header:
        return classes.RampModel
    if "REFTYPE" in header:
        known = _BY_REFTYPE.get(str(header["REFTYPE"]).strip().upper())
        return known or _REFERENCE_BY_DIMENSIONS.get(dimensions, classes.ReferenceModel)
    by_dimensions = {0: DataModel, 2: classes.ImageModel, 3: classes.CubeModel, 4: classes.QuadModel}
    if dimensions not in by_dimensions:
        raise TypeError(
            f"{file.path}: no model is known for an SCI array of {dimensions} dimensions. Open it with the class that "
            "you want."
        )
    return by_dimensions[dimensions]

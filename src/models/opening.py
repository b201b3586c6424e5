"""Open a file as the model that it is."""

import logging
import sys
import warnings
from pathlib import Path

import numpy as np

from upramp.models import classes
from upramp.models._asdf_document import TaggedValue
from upramp.models._asdf_file import AsdfSource
from upramp.models._metadata import flattened, nested
from upramp.models.model import OTHER_NAMES, DataModel, source_of

__all__ = ["NoTypeWarning", "open", "ramp_class", "read_metadata"]

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


def open(init, guess=True, **options):
    """Open a file as the data model that it is.

    Parameters
    ----------
    init : str, Path or DataModel
        ``.fits``, ``.fits.gz`` or ``.asdf``. A model is returned as another model of its class that shares its
        contents.
    guess : bool
        Whether to choose by contents when DATAMODL is absent or names a model that is not known here.
    **options
        For the class: ``strict_validation`` and the like.

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
        return type(init)(init, **options)
    if "stdatamodels" in sys.modules:
        from upramp.models.peer import from_peer, is_peer

        if is_peer(init):
            return from_peer(init)
    if not isinstance(init, (str, Path)):
        raise TypeError(
            f"Unsupported type for init argument to open: {type(init).__name__}; expected a file name or a model"
        )
    file = source_of(init)
    return _class_of(file, guess)(file, **options)


def read_metadata(fname, model_type=None, flatten=True):
    """The metadata of a file: what the cards and the ASDF document hold, without arrays and objects (a WCS).

    Parameters
    ----------
    fname : str or Path
    model_type : str, optional
        Name of the model whose schema tells what the cards mean. Default: DATAMODL, else by contents.
    flatten : bool
        ``{"meta.instrument.name": "MIRI"}``, with elements of lists one by one; otherwise nested dictionaries.

    Returns
    -------
    dict
        The logs of the steps are one text, ``cal_logs``.

    Raises
    ------
    TypeError
        `fname` is not the name of a file.
    ValueError
        There is no model of that name; or as for `open`.
    """
    if not isinstance(fname, (str, Path)):
        raise TypeError(f"Input must be a file fname, not a {type(fname).__name__}")
    if model_type is not None and _class_named(model_type) is None:
        raise ValueError(f"Model type {model_type} not found. There are {names()}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoTypeWarning)
        model = (_class_named(model_type) or open)(fname)
    values, lines = {}, []
    for name, value in model._values.items():
        if name.startswith("cal_logs."):
            lines += value if isinstance(value, list) else [value]
        elif not isinstance(value, (TaggedValue, np.ndarray)):
            values[name] = value
    if lines:
        values["cal_logs"] = "".join(f"{line}\n" for line in lines)
    return dict(item for pair in values.items() for item in flattened(*pair)) if flatten else nested(values)


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
    is_asdf = isinstance(file, AsdfSource)
    name = file.model_type if is_asdf else file.hdus[0].header.get("DATAMODL")
    # What a class of several packages is called names none of theirs.
    known = None if name == "DataModel" else _class_named(name)
    if known is not None:
        return known
    if not guess:
        raise TypeError(f"{file.path}: DATAMODL is {name!r}, which names no model, and guessing was not allowed")
    chosen = DataModel if is_asdf else _class_by_contents(file, file.hdus[0].header)
    warnings.warn(
        # Programs that expect this warning know it by its first words.
        f"model_type not found: {file.path.name}: DATAMODL is {name!r}; opened as {chosen.__name__} by what it holds",
        NoTypeWarning,
        stacklevel=3,
    )
    return chosen


def names():
    """Names of all models, as a text."""
    return ", ".join(sorted(name for name in DataModel.classes if not name.startswith("_")))


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

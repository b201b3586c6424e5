"""The references of stage 2 for images: flat, distortion, filteroffset, photom, area."""

from dataclasses import replace
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits

from upramp.errors import ConfigError
from upramp.simulate.detector_maps import DQ
from upramp.simulate.detectors import DETECTORS
from upramp.simulate.files import refuse_to_overwrite
from upramp.simulate.optics import Optics
from upramp.simulate.references import AUTHOR, NO_DEFECTS, USE_AFTER, ReferenceWriter

__all__ = ["IMAGE_INSTRUMENTS", "make_image_references"]

IMAGE_INSTRUMENTS = ("NIRCAM", "NIRISS", "FGS")
FLAT_ERROR = 1e-3
FACTOR_ERROR = 0.02
ARCSEC2 = (np.pi / (180 * 3600)) ** 2  # sr
_OFFSETS = {  # pixel, by filter and pupil
    ("F115W", "CLEAR"): (0.31, -0.12), ("F200W", "CLEAR"): (-0.22, 0.17), ("F444W", "CLEAR"): (0.14, 0.08),
    ("CLEAR", "F150W"): (-0.05, 0.21), ("CLEAR", "F115W"): (0.12, -0.02),
}  # fmt: skip


def make_image_references(config, folder, *, full_frame=False, defects=NO_DEFECTS, overwrite=False):
    """Write the references that ``calwebb_image2`` needs for an exposure.

    Parameters
    ----------
    config : SimulationConfig
    folder : path-like
        Made if it does not exist.
    full_frame : bool
        Let the flat cover the whole detector. The areas of the pixels always do.
    defects : ReferenceDefects
    overwrite : bool

    Returns
    -------
    dict of str to Path
        By reference type; the guiders have no ``filteroffset``.

    Raises
    ------
    FileExistsError
        A file exists and ``overwrite`` is False.
    ConfigError
        There are no such references for the instrument.
    """
    instrument = DETECTORS[config.detector].instrument
    if instrument not in IMAGE_INSTRUMENTS:
        raise ConfigError(f"images of {instrument} have no simulated references; {', '.join(IMAGE_INSTRUMENTS)} have")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = replace(config, subarray="FULL", window=None, noutputs=None)
    writer = ReferenceWriter(whole if full_frame else config, folder, defects, overwrite)
    paths = {"flat": _write_flat(writer)}
    writer.use(whole)
    paths["area"] = _write_area(writer)
    paths["photom"] = _write_photom(writer)
    paths["distortion"] = _write_transform(writer, "distortion", {"model": Optics(config.detector).distortion()})
    if instrument != "FGS":
        offsets = [
            {"filter": band, "pupil": pupil, "column_offset": column, "row_offset": row}
            for (band, pupil), (column, row) in _OFFSETS.items()
        ]
        paths["filteroffset"] = _write_transform(writer, "filteroffset", {"filters": offsets})
    return paths


def _write_flat(writer):
    """Response, its error, and flags: dead and reference pixels have no flat field."""
    maps = writer.maps
    flat, dq = maps.response.copy(), writer.empty_dq()
    flat[writer.chosen("nan_flat")], flat[writer.chosen("zero_flat")] = np.nan, 0
    dq[~maps.responsive] = DQ["NO_FLAT_FIELD"]
    dq[writer.chosen("unreliable_flat")] |= DQ["UNRELIABLE_FLAT"]
    error = np.full_like(flat, FLAT_ERROR)
    error[writer.chosen("nan_flat_error")] = np.nan
    keywords = [card for card in _optical_elements(writer) if card[1] is not None]
    hdus = [fits.ImageHDU(flat, name="SCI", ver=1), fits.ImageHDU(error, name="ERR", ver=1)]
    return writer.write("flat", "FlatModel", [*hdus, *writer.dq_hdus(dq)], keywords, "Response of the pixels")


def _optical_elements(writer):
    detector = DETECTORS[writer.config.detector]
    return [
        ("FILTER", detector.filter, "Name of the filter element used"),
        ("PUPIL", detector.pupil, "Name of the pupil element used"),
    ]


def _pixel_area(writer):
    area = Optics(writer.config.detector).place[2] ** 2
    return [
        ("PIXAR_SR", area * ARCSEC2, "[sr] Nominal pixel area"),
        ("PIXAR_A2", area, "[arcsec2] Nominal pixel area"),
    ]


def _write_area(writer):
    area = Optics(writer.config.detector).area(writer.config.geometry)
    return writer.write(
        "area", "PixelAreaModel", [fits.ImageHDU(area, name="SCI", ver=1)], _pixel_area(writer), "Areas of the pixels"
    )


def _write_photom(writer):
    detector = DETECTORS[writer.config.detector]
    model = {"NIRCAM": "NrcImgPhotomModel", "NIRISS": "NisImgPhotomModel", "FGS": "FgsImgPhotomModel"}
    selectors = [] if detector.filter is None else [("filter", "S12"), ("pupil", "S12")]
    factors = Optics(detector.name).factors
    table = np.zeros(len(factors), [*selectors, ("photmjsr", ">f4"), ("uncertainty", ">f4")])
    for row, (elements, factor) in zip(table, factors.items(), strict=True):
        for (name, _), element in zip(selectors, elements, strict=False):
            row[name] = element
        row["photmjsr"], row["uncertainty"] = factor, factor * FACTOR_ERROR
    hdu = fits.BinTableHDU(table, name="PHOTOM", ver=1)
    return writer.write("photom", model[detector.instrument], [hdu], _pixel_area(writer), "Flux calibration")


def _write_transform(writer, reftype, contents):
    """An ASDF file with the metadata of a reference."""
    detector = DETECTORS[writer.config.detector]
    path = writer.path(reftype, ".asdf")
    refuse_to_overwrite(path, writer.overwrite)
    instrument = {"name": detector.instrument, "detector": detector.name}
    for name, value in (("channel", detector.channel), ("module", detector.module)):
        if value is not None:
            instrument[name] = value
    if detector.pupil is not None:
        instrument["p_pupil"] = f"{detector.pupil}|"
    meta = {
        "author": AUTHOR,
        "date": f"{USE_AFTER}.000",
        "description": f"Simulated {reftype}",
        "exposure": {"type": writer.config.exposure_type},
        "filename": path.name,
        "instrument": instrument,
        "model_type": f"{reftype.capitalize()}Model",
        "origin": "UPRAMP",
        "pedigree": "SIMULATION",
        "reftype": reftype,
        "telescope": "JWST",
        "useafter": USE_AFTER,
    }
    if reftype == "distortion":
        meta |= {"input_units": "pixel", "output_units": "arcsec"}
    asdf.AsdfFile({"meta": meta, **contents}).write_to(path)
    return path

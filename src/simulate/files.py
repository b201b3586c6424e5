"""Writing the exposure and its truth as FITS files."""

import json
import os
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits

from upramp.simulate.headers import (
    BARYCENTRIC_CORRECTION,
    PRIMARY_SECTIONS,
    SCI_CARDS,
    exposure_values,
    metadata_tree,
    mjd,
)

__all__ = ["refuse_to_overwrite", "write_exposure", "write_hdus", "write_truth"]

_GROUP_DTYPE = np.dtype(
    [
        ("integration_number", ">i4"),
        ("group_number", ">i2"),
        ("end_day", ">i2"),
        ("end_milliseconds", ">i4"),
        ("end_submilliseconds", ">i2"),
        ("group_end_time", "S26"),
        ("number_of_columns", ">i2"),
        ("number_of_rows", ">i2"),
        ("number_of_gaps", ">i2"),
        ("completion_code_number", ">i2"),
        ("completion_code_text", "S36"),
        ("bary_end_time", ">f8"),
        ("helio_end_time", ">f8"),
    ]
)
_INT_TIMES_DTYPE = np.dtype(
    [("integration_number", ">i4")]
    + [(f"int_{point}_{scale}", ">f8") for scale in ("MJD_UTC", "BJD_TDB") for point in ("start", "mid", "end")]
)
_ASDF_HEAD = """#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
"""
_SPACECRAFT_DAY_ZERO = datetime(2000, 1, 1)
_DAY = 86400.0


def refuse_to_overwrite(path, overwrite):
    """Raise FileExistsError if the file exists and may not be overwritten."""
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; remove it, choose another folder, or ask to overwrite it")


def write_hdus(path, hdus, overwrite=False):
    """Write HDUs to a file that appears under its name when it is complete.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is False.
    """
    path = Path(path)
    refuse_to_overwrite(path, overwrite)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fits.HDUList(hdus).writeto(part, overwrite=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def write_exposure(exposure, path, overwrite=False):
    """Write an exposure as a raw product (``_uncal.fits``).

    Parameters
    ----------
    exposure : Exposure
    path : path-like
        The keyword FILENAME is the last part of it.
    overwrite : bool

    Returns
    -------
    Path

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is False.

    Notes
    -----
    HDUs: PRIMARY, SCI (uint16), GROUP, INT_TIMES, ZEROFRAME (uint16, only with zero_frame), ASDF.
    """
    path = Path(path)
    values = exposure_values(exposure.config) | {"FILENAME": path.name}
    science = fits.ImageHDU(exposure.data, name="SCI", ver=1)
    science.header.extend((keyword, values[keyword], comment) for keyword, _, comment in SCI_CARDS)
    arrays = [("data", science)]
    arrays.append(("group", _table(_group_table(exposure), "GROUP")))
    arrays.append(("int_times", _table(_int_times_table(exposure), "INT_TIMES")))
    if exposure.zeroframe is not None:
        arrays.append(("zeroframe", fits.ImageHDU(exposure.zeroframe, name="ZEROFRAME", ver=1)))
    hdus = [fits.PrimaryHDU(header=_primary_header(values)), *(hdu for _, hdu in arrays)]
    hdus.append(_asdf_extension(arrays, values))
    return write_hdus(path, hdus, overwrite)


def _primary_header(values):
    header = fits.Header()
    for title, cards in PRIMARY_SECTIONS:
        if title is not None:
            header.extend([("", ""), ("", f"        {title}"), ("", "")], bottom=True)
        present = ((keyword, values[keyword], comment) for keyword, _, comment in cards)
        header.extend((card for card in present if card[1] is not None), bottom=True)
    return header


def _table(rows, name):
    return fits.BinTableHDU(rows, name=name, ver=1)


def _moments(exposure):
    """Start of the exposure as a datetime, and the seconds from there to the start of every integration."""
    return datetime.fromisoformat(exposure.config.start), exposure.integration_starts


def _group_table(exposure):
    config = exposure.config
    start, integration_starts = _moments(exposure)
    rows = np.zeros(config.nints * config.ngroups, _GROUP_DTYPE)
    rows["integration_number"] = np.repeat(np.arange(1, config.nints + 1), config.ngroups)
    rows["group_number"] = np.tile(np.arange(1, config.ngroups + 1), config.nints)
    rows["number_of_columns"], rows["number_of_rows"] = config.geometry.xsize, config.geometry.ysize
    rows["completion_code_text"] = b"COMPLETE"
    group_ends = np.arange(config.ngroups) * config.group_time + config.frames_per_group * config.frame_time
    for row, seconds in zip(rows, (integration_starts[:, None] + group_ends).ravel(), strict=True):
        end = start + timedelta(seconds=float(seconds))
        since = end - _SPACECRAFT_DAY_ZERO
        row["end_day"] = since.days
        row["end_milliseconds"] = since.seconds * 1000 + since.microseconds // 1000
        row["end_submilliseconds"] = since.microseconds % 1000
        row["group_end_time"] = end.isoformat(timespec="milliseconds").encode()
        row["bary_end_time"] = row["helio_end_time"] = mjd(end) + BARYCENTRIC_CORRECTION / _DAY
    return rows


def _int_times_table(exposure):
    config = exposure.config
    start, integration_starts = _moments(exposure)
    rows = np.zeros(config.nints, _INT_TIMES_DTYPE)
    rows["integration_number"] = np.arange(1, config.nints + 1)
    length = config.frames_per_integration * config.frame_time
    for point, part in (("start", 0.0), ("mid", 0.5), ("end", 1.0)):
        moment = mjd(start) + (integration_starts + part * length) / _DAY
        rows[f"int_{point}_MJD_UTC"] = moment
        rows[f"int_{point}_BJD_TDB"] = moment + BARYCENTRIC_CORRECTION / _DAY
    return rows


def _asdf_extension(arrays, values):
    """The ASDF extension: the metadata tree, and for every image where its array lies."""
    tree = [_ASDF_HEAD]
    for attribute, hdu in arrays:
        if isinstance(hdu, fits.ImageHDU):
            shape = list(hdu.shape)
            source = f"{{source: 'fits:{hdu.name},1', datatype: uint16, byteorder: big, shape: {shape}}}"
            tree.append(f"{attribute}: !core/ndarray-1.0.0 {source}\n")
    tree.append(yaml.safe_dump({"meta": metadata_tree(values)}, allow_unicode=False))
    tree.append("...\n")
    content = np.frombuffer("".join(tree).encode("ascii"), np.uint8)
    column = fits.Column("ASDF_METADATA", f"{content.size}B", array=content[None, :])
    return fits.BinTableHDU.from_columns([column], name="ASDF")


def write_truth(exposure, path, overwrite=False):
    """Write what a perfect pipeline would find (``_truth.fits``).

    HDUs: PRIMARY (a card CONFIG with the configuration as JSON), RATE [DN/s], DARK_RATE [DN/s], BIAS [DN], GAIN
    [e-/DN], READ_NOISE [DN, one read] (ny, nx) float32; DQ (ny, nx) uint32; SAT_GROUP (nint, ny, nx) int16;
    tables COSMIC_RAYS and SNOWBALLS with the columns of `COSMIC_RAY_DTYPE` and `SNOWBALL_DTYPE`.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is False.
    """
    truth = exposure.truth
    primary = fits.PrimaryHDU()
    configuration = asdict(exposure.config)
    configuration = {key: None if value == float("inf") else value for key, value in configuration.items()}
    primary.header["CONFIG"] = json.dumps(configuration)
    images = (
        ("RATE", truth.rate, "DN/s"),
        ("DARK_RATE", truth.maps.dark_rate, "DN/s"),
        ("BIAS", truth.maps.bias, "DN"),
        ("GAIN", truth.maps.gain, "electron/DN"),
        ("READ_NOISE", truth.maps.read_noise, "DN"),
        ("DQ", truth.maps.dq, ""),
        ("SAT_GROUP", truth.saturation_group, ""),
    )
    hdus = [primary]
    for name, array, unit in images:
        hdus.append(fits.ImageHDU(array, name=name))
        if unit:
            hdus[-1].header["BUNIT"] = unit
    hdus.append(_table(truth.cosmic_rays, "COSMIC_RAYS"))
    hdus.append(_table(truth.snowballs, "SNOWBALLS"))
    return write_hdus(path, hdus, overwrite)

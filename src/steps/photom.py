"""photom: convert count rates to surface brightness."""

import numpy as np

from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.models import (
    CubeModel,
    FgsImgPhotomModel,
    MirImgPhotomModel,
    NisImgPhotomModel,
    NrcImgPhotomModel,
    PixelAreaModel,
)
from upramp.steps.image_step import ImageStep

__all__ = ["PhotomStep"]

# What selects a row of the table, and how the table is called, by instrument.
_TABLES = {
    "NIRCAM": (NrcImgPhotomModel, ("filter", "pupil")),
    "NIRISS": (NisImgPhotomModel, ("filter", "pupil")),
    "MIRI": (MirImgPhotomModel, ("filter", "subarray")),
    "FGS": (FgsImgPhotomModel, ()),
}
_MICROJANSKY_PER_ARCSEC2 = 1e12 / (180 * 3600 / np.pi) ** 2
"""Of 1 MJy/sr."""

_DAYS_PER_YEAR = 365.0


class PhotomStep(ImageStep):
    """Multiply by the factor of the filter (PHOTMJSR), from DN/s to MJy/sr; attach the areas of the pixels."""

    class_alias = "photom"
    reference_file_types = ("photom", "area")
    spec = """
    inverse               = boolean(default=False)  # Divide, to undo an earlier conversion
    source_type           = string(default=None)    # Accepted for compatibility; only for spectra
    apply_time_correction = boolean(default=True)   # Correct for the loss of throughput since launch
    """

    def process(self, data):
        """Convert rates, errors and variances; NaN and DO_NOT_USE are made to agree."""
        image = self.prepare_output(data)
        if not self.is_image(image):
            return image
        self.require_imaging(image)
        instrument = image.meta.instrument.name
        if instrument not in _TABLES:
            raise UnsupportedModeError(f"{image!r} is from {instrument}; {self.name} knows {', '.join(_TABLES)}")
        model_class, selectors = _TABLES[instrument]
        photom = self.open_reference(image, "photom", model_class)
        area = self.find_reference(image, "area", PixelAreaModel)
        if photom is None:
            return image
        _check_tables(photom)
        self._attach_area(image, area, photom)
        if instrument == "NIRISS" and isinstance(image, CubeModel):
            return self.record_skip(image, "rates of single integrations of NIRISS are not converted")
        row = self._row(image, photom, selectors)
        if row is None:
            return image
        factor = photom.phot_table["photmjsr"][row]
        if self.apply_time_correction:
            correction = _time_correction(photom, image.meta.exposure.mid_time)[row]
            if correction != 1:
                self.log.info("Throughput relative to that of the reference: %.6g", correction)
                factor = factor / correction
        self._convert(image, factor)
        return self.record_complete(image)

    def _row(self, image, photom, selectors):
        """Row of the table for the filter of the exposure; None, recorded as SKIPPED, if there is none."""
        table = photom.phot_table
        if not selectors:
            return 0
        if "subarray" in table.dtype.names and "subarray" not in selectors:
            selectors = (*selectors, "subarray")
        wanted = {name: (image.meta.instrument[name] or "").upper() for name in selectors if name != "subarray"}
        if "subarray" in selectors:
            wanted["subarray"] = (image.meta.subarray.name or "").upper()
        rows = _matching(table, wanted)
        if not rows.size and image.meta.instrument.name == "MIRI":
            rows = _matching(table, wanted | {"subarray": "GENERIC"})  # older references
        if rows.size > 1:
            raise ReferenceFileError(f"{photom.meta.filename} has {rows.size} rows for {wanted}; expected one")
        if not rows.size:
            self.record_skip(image, f"{photom.meta.filename} has no factor for {wanted}; the unit stays DN/s")
            return None
        return rows[0]

    def _attach_area(self, image, area, photom):
        """Areas of the pixels (HDU AREA), and their nominal one, from the one reference or the other."""
        if area is not None:
            subarray = image.meta.subarray
            x, y = subarray.xstart - 1, subarray.ystart - 1
            part = area.data[y : y + subarray.ysize, x : x + subarray.xsize]
            if part.shape != image.shape[-2:]:
                raise ReferenceFileError(
                    f"the AREA reference {area.meta.filename} {area.shape} does not cover the pixels of {image!r}, "
                    f"which begin at ({x + 1}, {y + 1}); give another with override_area, or N/A to do without"
                )
            image.area = part
        source = photom if area is None else area
        for name, keyword in (("pixelarea_steradians", "PIXAR_SR"), ("pixelarea_arcsecsq", "PIXAR_A2")):
            value = source.meta.photometry[name]
            if value is None:
                self.log.warning("%s has no keyword %s", source.meta.filename, keyword)
            image.meta.photometry[name] = value

    def _convert(self, image, factor):
        from upramp.kernels.photom import convert_images_in_place

        self.log.info("Conversion factor: %.6g MJy/sr per DN/s", factor)
        image.meta.photometry.conversion_megajanskys = factor
        image.meta.photometry.conversion_microjanskys = factor * _MICROJANSKY_PER_ARCSEC2
        rate, err, dq, *variances = self.planes(image, "data", "err", "dq", "var_poisson", "var_rnoise", "var_flat")
        self.require_arrays(image, data=rate, err=err, dq=dq)
        convert_images_in_place(rate, err, dq, variances, factor, self.inverse)
        image.meta.bunit_data = image.meta.bunit_err = "DN/s" if self.inverse else "MJy/sr"


def _matching(table, wanted):
    rows = np.ones(len(table), bool)
    for name, value in wanted.items():
        rows &= np.char.upper(table[name].astype(str)) == value
    return np.flatnonzero(rows)


def _check_tables(photom):
    """Raise ReferenceFileError if tables of throughput with time do not go with that of factors, row by row."""
    table = photom.phot_table
    if table is None:
        raise ReferenceFileError(f"the PHOTOM reference {photom.meta.filename} has no table PHOTOM")
    for name in ("timecoeff_linear", "timecoeff_exponential", "timecoeff_powerlaw"):
        other = getattr(photom, name)
        if other is None:
            continue
        shared = [column for column in table.dtype.names if column in other.dtype.names]
        if len(other) != len(table) or any((other[column] != table[column]).any() for column in shared):
            raise ReferenceFileError(f"{photom.meta.filename}: the rows of {name} are not those of phot_table")


def _time_correction(photom, moment):
    """Throughput at a time [MJD] relative to that for which the factors hold, of every row.

    In float32, as the columns of the tables are: so does the reference pipeline.
    """
    correction = np.ones(len(photom.phot_table))
    linear, exponential, power = photom.timecoeff_linear, photom.timecoeff_exponential, photom.timecoeff_powerlaw
    if moment is None and any(table is not None for table in (linear, exponential, power)):
        raise ReferenceFileError(
            f"{photom.meta.filename} has factors that depend on time, and the exposure has no EXPMID; set it, or "
            "apply_time_correction=False"
        )
    if linear is not None:
        correction *= 1.0 - linear["lossperyear"] * (moment - linear["t0"]) / _DAYS_PER_YEAR
    if exponential is not None:
        days = moment - exponential["t0"]
        correction *= exponential["amplitude"] * np.exp(-days / exponential["tau"]) + exponential["const"]
    if power is not None:
        norm = (_DAYS_PER_YEAR + power["tsoft"]) ** power["alpha"] / power["year1value"]
        correction *= (moment - power["t0"] + power["tsoft"]) ** power["alpha"] / norm
    return correction

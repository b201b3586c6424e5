"""assign_wcs: give images their world coordinates."""

from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.models import DistortionModel, FilteroffsetModel
from upramp.steps.image_step import ImageStep
from upramp.steps.ramp_step import require
from upramp.wcs import Pointing, footprint_region, imaging_wcs, sip_keywords
from upramp.wcs.keywords import SIP_KEYS

__all__ = ["AssignWcsStep"]

_TYPES = {
    "NIRCAM": {"NRC_IMAGE", "NRC_TACQ", "NRC_TACONFIRM", "NRC_CORON", "NRC_FOCUS", "NRC_TSIMAGE"},
    "NIRISS": {"NIS_IMAGE", "NIS_AMI", "NIS_TACQ", "NIS_TACONFIRM", "NIS_FOCUS"},
    "FGS": {"FGS_IMAGE", "FGS_FOCUS"},
}
_WITHOUT_SKY = {
    "NRC_LED", "NRC_DARK", "NRC_FLAT", "NRC_GRISM", "NIS_DARK", "NIS_LAMP", "FGS_SKYFLAT", "FGS_INTFLAT", "FGS_DARK",
}  # fmt: skip


class AssignWcsStep(ImageStep):
    """Make a gwcs object from the distortion and the pointing (``meta.wcs``), its footprint and FITS keywords."""

    class_alias = "assign_wcs"
    reference_file_types = ("distortion", "filteroffset")
    spec = """
    sip_approx            = boolean(default=True)         # Approximate the distortion by FITS keywords (SIP)
    sip_max_pix_error     = float(default=0.01)           # Largest error of the approximation, pixel
    sip_degree            = integer(max=6, default=None)  # Its degree; default is the lowest that is good enough
    sip_max_inv_pix_error = float(default=0.01)           # Largest error of the inverse, pixel
    sip_inv_degree        = integer(max=6, default=None)  # Degree of the inverse
    sip_npoints           = integer(default=12)           # Points along each axis at which it is fitted
    slit_y_low            = float(default=-.55)           # Accepted for compatibility; only for NIRSpec
    slit_y_high           = float(default=.55)            # Accepted for compatibility; only for NIRSpec
    nrs_ifu_slice_wcs     = boolean(default=False)        # Accepted for compatibility; only for NIRSpec
    """

    def wanted_reference_types(self):
        """The guiders have no filters."""
        fgs = self.exposure.get("meta.instrument.name") == "FGS"
        return ["distortion"] if fgs else super().wanted_reference_types()

    def process(self, data):
        """Add world coordinates; pixels are left as they are."""
        image = self.prepare_output(data)
        if not self.is_image(image):
            return image
        instrument, exposure_type = image.meta.instrument.name, (image.meta.exposure.type or "").upper()
        if exposure_type in _WITHOUT_SKY:
            return self.record_skip(image, f"an exposure of type {exposure_type} does not see the sky")
        if exposure_type not in _TYPES.get(instrument, ()):
            raise UnsupportedModeError(
                f"{image.meta.filename or 'the exposure'} is {instrument} with EXP_TYPE {exposure_type}; {self.name} "
                "is there for images of NIRCam, NIRISS and FGS"
            )
        image.meta.wcs = self._wcs(image)
        self._describe(image)
        return self.record_complete(image)

    def _wcs(self, image):
        subarray = image.meta.subarray
        return imaging_wcs(
            self._distortion(image),
            self._pointing(image),
            image.shape,
            corner=(subarray.xstart or 1, subarray.ystart or 1),
            size=(subarray.xsize, subarray.ysize),
            filter_offset=None if image.meta.instrument.name == "FGS" else self._filter_offset(image),
        )

    def _distortion(self, image):
        reference = self.find_reference(image, "distortion", DistortionModel)
        if reference is None or reference.model is None:
            found = "is N/A" if reference is None else f"{reference.meta.filename} holds no transform (model)"
            raise ReferenceFileError(
                f"world coordinates need a DISTORTION reference, and it {found}; give one with override_distortion"
            )
        return reference.model

    def _filter_offset(self, image):
        """Shift along columns and rows; None without a reference or for a filter that it does not know."""
        reference = self.find_reference(image, "filteroffset", FilteroffsetModel)
        if reference is None:
            return None
        wanted = (image.meta.instrument.filter, image.meta.instrument.pupil)
        rows = [row for row in reference.filters or [] if (row.get("filter"), row.get("pupil")) == wanted]
        if len(rows) > 1:
            raise ReferenceFileError(f"{reference.meta.filename} has {len(rows)} offsets for {wanted}; expected one")
        offset = tuple(rows[0].get(f"{axis}_offset") for axis in ("column", "row")) if rows else (None, None)
        if None in offset or "N/A" in offset:
            self.log.warning("%s has no offset for filter and pupil %s", reference.meta.filename, wanted)
            return None
        return offset

    @staticmethod
    def _pointing(image):
        names = ("v2_ref", "v3_ref", "ra_ref", "dec_ref", "roll_ref")
        values = require(image, **{name.upper(): f"meta.wcsinfo.{name}" for name in names})
        return Pointing(*values, va_scale=image.meta.velocity_aberration.scale_factor)

    def _describe(self, image):
        """Footprint and approximation in the header."""
        region = footprint_region(image.meta.wcs, image.shape)
        if region is None:
            self.log.warning("S_REGION is left as it was: a corner of the image has no sky coordinates")
        else:
            image.meta.wcsinfo.s_region = region
        if not self.sip_approx:
            return
        information = image.meta.wcsinfo
        crpix = (information.crpix1, information.crpix2)
        try:
            keywords = sip_keywords(
                image.meta.wcs,
                None if None in crpix else crpix,
                max_pix_error=self.sip_max_pix_error,
                degree=self.sip_degree,
                max_inv_pix_error=self.sip_max_inv_pix_error,
                inv_degree=self.sip_inv_degree,
                npoints=self.sip_npoints,
            )
        except (ValueError, RuntimeError) as error:
            self.log.warning("The header has no SIP approximation of the distortion: %s", error)
            return
        for name in SIP_KEYS:
            if information.hasattr(name):
                delattr(information, name)
        for name, value in keywords.items():
            information[name] = value

"""refpix: subtract amplifier offsets and row drifts seen by the reference pixels."""

from upramp.errors import ReferenceFileError, UnsupportedModeError
from upramp.kernels._irs2_layout import LINES, SLOTS, is_interleaved
from upramp.kernels.corrections import InterleavedReference, ReferenceMeasurement, SideMeasurement
from upramp.kernels.refpix import BORDER, EDGELESS_SUBARRAYS, ORIENTATION, SIZE
from upramp.kernels.sirs import side_kernels
from upramp.models import IRS2Model, SIRSKernelModel, SuperstripeRampModel
from upramp.models.stripes import is_striped
from upramp.models.subarray import is_full_frame
from upramp.steps._reassembly import reassembled
from upramp.steps.ramp_step import RampStep, irs2_detector, is_miri, require

__all__ = ["RefPixStep"]

IRS2_FREQUENCIES = SLOTS * LINES


class RefPixStep(RampStep):
    """Measure the drift of the electronics on the reference pixels of every group and subtract it."""

    class_alias = "refpix"
    takes_superstripes = True
    reference_file_types = ("refpix", "sirskernel")
    spec = """
    odd_even_columns        = boolean(default=True)    # Even and odd columns have offsets of their own
    use_side_ref_pixels     = boolean(default=True)    # Subtract the drift from row to row
    side_smoothing_length   = integer(default=11, min=1, max=2047)  # Rows in the running median of the side pixels
    side_gain               = float(default=1.0)       # Factor of the drift from row to row
    odd_even_rows           = boolean(default=True)    # MIRI: even and odd rows have offsets of their own
    ovr_corr_mitigation_ftr = float(default=3.0)       # IRS2: limit for bad reference pixels, sigma
    preserve_irs2_refpix    = boolean(default=False)   # IRS2: keep the reference pixels in the product
    irs2_mean_subtraction   = boolean(default=False)   # IRS2: subtract the offsets of the sectors first
    refpix_algorithm        = option('median', 'sirs', default='median')  # How the side pixels are used
    sigreject               = float(default=4.0)       # SIRS: limit for bad side pixels, sigma
    gaussmooth              = float(default=1.0)       # SIRS: width of the smoothing kernel, pixels
    halfwidth               = integer(default=30)      # SIRS: half width of the convolution kernel, pixels
    siglimit                = float(default=3.0)       # Limit of the clipped means, sigma
    """

    def wanted_reference_types(self):
        """IRS2 readouts need one, and SIRS another for other full frames of the near infrared."""
        if "IRS2" in str(self.exposure.get("meta.exposure.readpatt")):
            return ["refpix"]
        full = "FULL" in str(self.exposure.get("meta.subarray.name"))
        miri = self.exposure.get("meta.instrument.name") == "MIRI"
        return ["sirskernel"] if self.refpix_algorithm == "sirs" and full and not miri else []

    def correction(self, ramp):
        """Amplifiers and side pixels follow from the detector and from the place of the exposure on it."""
        if is_miri(ramp):
            return self._miri_correction(ramp)
        if is_interleaved(ramp.shape):
            return self._interleaved(ramp)
        detector, xstart, ystart = require(
            ramp,
            DETECTOR="meta.instrument.detector",
            SUBSTRT1="meta.subarray.xstart",
            SUBSTRT2="meta.subarray.ystart",
        )
        if detector not in ORIENTATION:
            raise UnsupportedModeError(f"DETECTOR is {detector}; refpix knows {', '.join(ORIENTATION)}")
        striped = is_striped(ramp)
        last_row, last_column = ystart - 1 + ramp.shape[-2], xstart - 1 + ramp.shape[-1]
        if not striped and (min(xstart, ystart) < 1 or max(last_row, last_column) > SIZE):
            self.record_skip(
                ramp,
                f"the subarray does not fit on the detector: it covers columns {xstart} to {last_column} and rows "
                f"{ystart} to {last_row}, of {SIZE}",
            )
            return None
        at_edge = min(xstart, ystart) <= BORDER or max(last_row, last_column) > SIZE - BORDER
        if not (striped or at_edge or ramp.meta.subarray.name in EDGELESS_SUBARRAYS):
            self.log.info(
                "The subarray has none of the reference pixels at the edge of the detector: unless the mask flags "
                "others, refpix changes nothing"
            )
        return ReferenceMeasurement(
            detector=detector,
            row0=ystart - 1,
            column0=xstart - 1,
            # The guiders do not say; like every other subarray that is not read by four outputs they have one.
            noutputs=ramp.meta.exposure.noutputs or 1,
            subarray=ramp.meta.subarray.name,
            parameters={
                "odd_even_columns": self.odd_even_columns,
                "use_side_ref_pixels": self.use_side_ref_pixels,
                "side_smoothing_length": self.side_smoothing_length,
                "side_gain": self.side_gain,
                "siglimit": self.siglimit,
            },
            striped=striped,
            side_kernels=None if striped else self._side_kernels(ramp),
            sigreject=self.sigreject,
        )

    def _side_kernels(self, ramp):
        """Kernels of SIRS for the detector; None where side pixels go through the running median."""
        if self.refpix_algorithm != "sirs":
            return None
        if "FULL" not in (ramp.meta.subarray.name or "") or not is_full_frame(ramp):
            self.log.info("SIRS is for full frames: subarrays go through the running median")
            return None
        reference = self.find_reference(ramp, "sirskernel", SIRSKernelModel)
        if reference is None:
            self.log.warning("There is no SIRSKERNEL reference for this exposure: side pixels get the running median")
            return None
        detector = ramp.meta.instrument.detector
        found = reference.coefficients.get(detector.lower())
        if found is None:
            self.log.warning(
                "SIRSKERNEL reference %s has no kernels for %s: side pixels get the running median",
                reference.meta.filename, detector,
            )  # fmt: skip
            return None
        if not self.use_side_ref_pixels:
            return None
        return side_kernels(found["gamma"], found["zeta"], self.gaussmooth, self.halfwidth)

    def process(self, data):
        """Correct a ramp; the stripes of a superstripe readout are then put together to an ordinary one."""
        ramp = super().process(data)
        if not isinstance(ramp, SuperstripeRampModel):
            return ramp
        self.log.info("Putting the stripes of %d positions together", ramp.meta.subarray.num_superstripe)
        return reassembled(ramp)

    def _miri_correction(self, ramp):
        """The reference columns of full frames."""
        if self.refpix_algorithm == "sirs":
            self.log.warning("SIRS is for the near infrared and not applied to MIRI: reference columns are averaged")
        if not is_full_frame(ramp):
            self.record_skip(ramp, f"{ramp.meta.subarray.name} is a subarray, for which MIRI has no such correction")
            return None
        return SideMeasurement(odd_even_rows=self.odd_even_rows, siglimit=self.siglimit)

    def _interleaved(self, ramp):
        """IRS2: the coefficients and bad reference pixels of the reference."""
        irs2_detector(ramp)
        if self.preserve_irs2_refpix:
            raise UnsupportedModeError(
                "refpix: preserve_irs2_refpix=True is not implemented; set preserve_irs2_refpix=False"
            )
        require(ramp, NRS_NORM="meta.exposure.nrs_normal", NRS_REF="meta.exposure.nrs_reference")
        reference = self.open_reference(ramp, "refpix", IRS2Model)
        if reference is None:
            return None
        name, table = reference.meta.filename, reference.mapped("irs2_table")
        if len(table.bits) != 2 * IRS2_FREQUENCIES:
            raise ReferenceFileError(
                f"REFPIX reference {name} has {len(table.bits)} rows of coefficients; expected {2 * IRS2_FREQUENCIES}"
            )
        if not reference.has_array("dq_table"):
            self.log.warning("REFPIX reference %s has no table of bad reference pixels (HDU DQ)", name)
        pairs = tuple(tuple(int(value) for value in row) for row in reference.dq_table)
        wrong = [pair for pair in pairs if pair[0] not in (1, 2, 3, 4) or pair[1] not in (1, 2)]
        if wrong:
            raise ReferenceFileError(
                f"REFPIX reference {name}, HDU DQ: OUTPUT and ODD_EVEN are {wrong[0][:2]}; expected 1 to 4, and 1 or 2"
            )
        return InterleavedReference(
            ramp.meta.instrument.detector,
            table,
            pairs,
            self.ovr_corr_mitigation_ftr,
            self.irs2_mean_subtraction,
            self.odd_even_columns,
            self.siglimit,
        )

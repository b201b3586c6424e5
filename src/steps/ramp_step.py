"""What all steps that correct a ramp have in common: open, describe the correction, do it, record it."""

from upramp.errors import MissingKeywordError, ReferenceFileError, UnsupportedModeError
from upramp.kernels._bits import as_bits
from upramp.kernels._irs2_layout import DETECTORS, LINES, is_interleaved
from upramp.models import RampModel, cutout
from upramp.steps.reference_step import ReferenceStep

__all__ = ["MiriStep", "RampStep", "irs2_detector", "is_miri", "plane", "require", "science_frame"]


class RampStep(ReferenceStep):
    """A step that changes a ramp.

    A subclass defines ``correction(ramp)``: it looks at the metadata of the ramp, finds its references, adds
    its flags to the header, and returns one of `upramp.kernels.corrections`, or None (recorded as SKIPPED) when there
    is nothing to do. The same description serves the stepwise schedule (`process`) and the fused one.
    """

    def correction(self, ramp):
        """Describe what is to be done to this ramp, or record why nothing is."""
        raise NotImplementedError(f"{type(self).__name__} does not define correction()")

    def count_flags(self, ramp, *which):
        """Count the samples of a ramp that are flagged, for the record; ``which`` are names of counts, else all."""
        from upramp.kernels.flag_counts import count_flags

        counts = dict(zip(("saturated_samples", "jump_samples"), count_flags(ramp.groupdq), strict=True))
        self.note_counts(**{name: counts[name] for name in which or counts})

    def process(self, data):
        """Correct a ramp: a new model when the step is run by itself, the same one inside a pipeline."""
        from upramp.kernels import stepwise

        ramp = self.prepare_output(data, open_as=RampModel)
        correction = self.correction(ramp)
        if correction is not None:
            arrays = stepwise.Ramp.of(ramp)
            stepwise.apply(correction, arrays)
            if arrays.data.shape != ramp.shape:
                # Refpix leaves the science pixels of an IRS2 readout only.
                ramp.data, ramp.groupdq, ramp.pixeldq = arrays.data, arrays.groupdq, arrays.pixeldq
            self.record_complete(ramp)
        return ramp


class MiriStep(RampStep):
    """A step of the MIRI chain; on an exposure of another instrument it is recorded as SKIPPED.

    A subclass defines ``miri_correction(ramp)`` in the place of ``correction``.
    """

    def correction(self, ramp):
        """Describe what is to be done to this ramp, or record why nothing is."""
        if not is_miri(ramp):
            self.record_skip(ramp, f"the exposure is from {ramp.meta.instrument.name}; this step is for MIRI")
            return None
        return self.miri_correction(ramp)

    def wanted_reference_types(self):
        """Those of the step for an exposure of MIRI; none before that is known."""
        return super().wanted_reference_types() if self.exposure.get("meta.instrument.name") == "MIRI" else []

    def miri_correction(self, ramp):
        """The same for an exposure of MIRI."""
        raise NotImplementedError(f"{type(self).__name__} does not define miri_correction()")


def is_miri(ramp):
    """Whether a ramp comes from MIRI."""
    return ramp.meta.instrument.name == "MIRI"


def plane(reference, name, ramp, dtype):
    """An array of a reference as it lies, placed on the pixels of the exposure; no plane where it has none.

    For an IRS2 readout before refpix some references cover all samples and others the science pixels.
    """
    from upramp.kernels.corrections import NO_PLANE

    array = reference.mapped(name)
    if array is None:
        return NO_PLANE
    if is_interleaved(ramp.shape) and array.bits.shape[-2:] == science_frame(ramp):
        return as_bits(array, dtype)
    rows, columns = cutout(reference, ramp)
    ny, nx = ramp.shape[-2:]
    found = (rows.stop - rows.start, columns.stop - columns.start)
    if found != (ny, nx) or rows.stop > array.bits.shape[-2] or columns.stop > array.bits.shape[-1]:
        raise ReferenceFileError(
            f"{name} of the reference {reference.meta.filename} has shape {array.bits.shape}; "
            f"the exposure has {ny} rows and {nx} columns"
        )
    return as_bits(array, dtype, first_row=rows.start, first_column=columns.start)


def science_frame(ramp):
    """Rows and columns of the science pixels of a ramp: all, except in an IRS2 readout before refpix."""
    return (LINES, LINES) if is_interleaved(ramp.shape) else tuple(ramp.shape[-2:])


def irs2_detector(ramp):
    """1 or 2 for an IRS2 readout of NRS1 or NRS2, 0 for another readout.

    Raises
    ------
    UnsupportedModeError
        It is from another detector, or has another rhythm than 16 science and 4 reference pixels.
    """
    if not is_interleaved(ramp.shape):
        return 0
    detector, exposure = ramp.meta.instrument.detector, ramp.meta.exposure
    if detector not in DETECTORS:
        raise UnsupportedModeError(f"DETECTOR is {detector}; {ramp.shape[-2]} rows are an IRS2 readout of NRS1 or NRS2")
    rhythm = (exposure.nrs_normal, exposure.nrs_reference)
    if rhythm not in ((16, 4), (None, None)):
        raise UnsupportedModeError(f"NRS_NORM and NRS_REF are {rhythm[0]} and {rhythm[1]}; IRS2 is known with 16 and 4")
    return 1 + DETECTORS.index(detector)


def require(ramp, **keywords):
    """Values of metadata that a step needs, given as ``KEYWORD="meta.path"``, in that order.

    Raises
    ------
    MissingKeywordError
        Names every keyword that is absent.
    """
    values = {keyword: ramp[path] for keyword, path in keywords.items()}
    missing = [f"{keyword} ({keywords[keyword]})" for keyword, value in values.items() if value is None]
    if missing:
        raise MissingKeywordError(
            f"{ramp.meta.filename or 'the exposure'} lacks {', '.join(missing)}; expected in the primary header"
        )
    return tuple(values.values())

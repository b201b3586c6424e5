"""What all steps that correct a ramp have in common: open, describe the correction, do it, record it."""

from upramp.errors import MissingKeywordError, ReferenceFileError
from upramp.framework import Step
from upramp.kernels._bits import as_bits
from upramp.models import RampModel, cutout

__all__ = ["MiriStep", "RampStep", "is_miri", "plane", "require"]

_ANY = (None, "ANY", "N/A", "")


class RampStep(Step):
    """A step that changes a ramp.

    A subclass defines ``correction(ramp)``: it looks at the metadata of the ramp, finds its references, adds
    its flags to the header, and returns one of `upramp.kernels.corrections`, or None (recorded as SKIPPED) when there
    is nothing to do. The same description serves the stepwise schedule (`process`) and the fused one.
    """

    def correction(self, ramp):
        """Describe what is to be done to this ramp, or record why nothing is."""
        raise NotImplementedError(f"{type(self).__name__} does not define correction()")

    def process(self, data):
        """Correct a ramp: a new model when the step is run by itself, the same one inside a pipeline."""
        from upramp.kernels import stepwise

        ramp = self.prepare_output(data, open_as=RampModel)
        correction = self.correction(ramp)
        if correction is not None:
            stepwise.apply(correction, stepwise.Ramp.of(ramp))
            self.record_complete(ramp)
        return ramp

    def open_reference(self, ramp, reftype, model_class):
        """Open a reference of this exposure; None when there is none (recorded as SKIPPED).

        Raises
        ------
        ReferenceFileError
            It cannot be had, or belongs to another instrument.
        """
        reference = self.find_reference(ramp, reftype, model_class)
        if reference is None:
            self.record_skip(ramp, f"there is no {reftype.upper()} reference for this exposure (N/A)")
        return reference

    def find_reference(self, ramp, reftype, model_class):
        """Like `open_reference`, for a reference that the step can do without: nothing is recorded."""
        found = self.get_reference_file(ramp, reftype)
        if isinstance(found, str) and found in ("N/A", ""):
            return None
        self.log.info("Using %s reference file %s", reftype.upper(), found)
        reference = model_class(found)
        wanted, name = ramp.meta.instrument.name, reference.meta.instrument.name
        if name not in _ANY and wanted not in _ANY and name.upper() != wanted.upper():
            raise ReferenceFileError(
                f"{reftype.upper()} reference {reference.meta.filename or found} is for the instrument {name}; "
                f"the exposure is from {wanted}: give the right file with override_{reftype}"
            )
        detector = reference.meta.instrument.detector
        if detector not in (*_ANY, "MULTIPLE", ramp.meta.instrument.detector):
            self.log.warning(
                "%s reference %s is for the detector %s, the exposure is from %s",
                reftype.upper(), reference.meta.filename or found, detector, ramp.meta.instrument.detector,
            )  # fmt: skip
        return reference


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

    def miri_correction(self, ramp):
        """The same for an exposure of MIRI."""
        raise NotImplementedError(f"{type(self).__name__} does not define miri_correction()")


def is_miri(ramp):
    """Whether a ramp comes from MIRI."""
    return ramp.meta.instrument.name == "MIRI"


def plane(reference, name, ramp, dtype):
    """An array of a reference as it lies, placed on the pixels of the exposure; no plane where it has none."""
    from upramp.kernels.corrections import NO_PLANE

    array = reference.mapped(name)
    if array is None:
        return NO_PLANE
    rows, columns = cutout(reference, ramp)
    ny, nx = ramp.shape[-2:]
    found = (rows.stop - rows.start, columns.stop - columns.start)
    if found != (ny, nx) or rows.stop > array.bits.shape[-2] or columns.stop > array.bits.shape[-1]:
        raise ReferenceFileError(
            f"{name} of the reference {reference.meta.filename} has shape {array.bits.shape}; "
            f"the exposure has {ny} rows and {nx} columns"
        )
    return as_bits(array, dtype, first_row=rows.start, first_column=columns.start)


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

"""Open the references of an exposure, and see that they are for it."""

from upramp.errors import ReferenceFileError
from upramp.framework import Step

__all__ = ["ReferenceStep"]

_ANY = (None, "ANY", "N/A", "")


class ReferenceStep(Step):
    """A step that needs references as models; ``found_message`` is what the log says when it has one."""

    found_message = "Using %s reference file %s"

    def open_reference(self, ramp, reftype, model_class):
        """Open a reference of this exposure; None when there is none (recorded as SKIPPED).

        Raises
        ------
        ReferenceFileError
            It cannot be had, or belongs to another instrument.
        """
        reference = self.find_reference(ramp, reftype, model_class)
        if reference is None:
            self.record_skip(ramp, f"No {reftype.upper()} reference file found for this exposure (N/A)")
        return reference

    def find_reference(self, ramp, reftype, model_class):
        """Like `open_reference`, for a reference that the step can do without: nothing is recorded."""
        found = self.get_reference_file(ramp, reftype)
        if isinstance(found, str) and found in ("N/A", ""):
            return None
        self.log.info(self.found_message, reftype.upper(), found)
        reference = model_class(found)
        self._check_contents(reference, reftype, found)
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

    @staticmethod
    def _check_contents(reference, reftype, found):
        """Refuse a reference without its primary array: the default of that would be used instead, in silence."""
        array = reference.get_primary_array_name()
        if array and not reference.has_array(array):
            raise ReferenceFileError(
                f"{reftype.upper()} reference {reference.meta.filename or found} has no array {array}: give a file "
                f"that has one with override_{reftype}"
            )

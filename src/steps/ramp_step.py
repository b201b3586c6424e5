"""What all steps that correct a ramp have in common: open, describe the correction, do it, record it."""

import dataclasses
from pathlib import Path

import numpy as np

from upramp.errors import MissingKeywordError, ReferenceFileError, UnsupportedModeError
from upramp.kernels._bits import as_bits
from upramp.kernels._irs2_layout import DETECTORS, LINES, is_interleaved
from upramp.models import SuperstripeRampModel, cutout, ramp_class
from upramp.models.stripes import is_superstripe
from upramp.steps.reference_step import ReferenceStep

__all__ = [
    "MiriStep",
    "RampStep",
    "irs2_detector",
    "is_gathered",
    "is_miri",
    "plane",
    "prepare_ramp",
    "require",
    "science_frame",
    "set_missing_flags",
]

_ABOVE_ZERO = {"NFRAMES", "TGROUP"}


class RampStep(ReferenceStep):
    """A step that changes a ramp.

    A subclass defines ``correction(ramp)``: it looks at the metadata of the ramp, finds its references, adds
    its flags to the header, and returns one of `upramp.kernels.corrections`, or None (recorded as SKIPPED) when there
    is nothing to do. The same description serves the stepwise schedule (`process`) and the fused one.

    Steps up to refpix also take ramps of superstripe readouts (`takes_superstripes`), whose stripes refpix then puts
    together.
    """

    takes_superstripes = False

    def correction(self, ramp):
        """Describe what is to be done to this ramp, or record why nothing is."""
        raise NotImplementedError(f"{type(self).__name__} does not define correction()")

    def count_flags(self, ramp, *which):
        """Count the samples of a ramp that are flagged, for the record; ``which`` are names of counts, else all."""
        from upramp.kernels.flag_counts import count_flags

        counts = dict(zip(("saturated_samples", "jump_samples"), count_flags(ramp.groupdq), strict=True))
        self.note_counts(**{name: counts[name] for name in which or counts})

    def open_ramp(self, data):
        """The ramp to be changed, see `prepare_output`.

        Raises
        ------
        UnsupportedModeError
            The stripes of a superstripe readout have not been put together yet, and the step needs that.
        """
        ramp = prepare_ramp(self, data)
        if is_superstripe(ramp) and not self.takes_superstripes:
            raise UnsupportedModeError(
                f"{ramp!r} is a superstripe readout (SSTR_NST {ramp.meta.subarray.num_superstripe}) whose stripes are "
                f"still apart; {self.name} comes after refpix, which puts them together"
            )
        return ramp

    def process(self, data):
        """Correct a ramp: a new model when the step is run by itself, the same one inside a pipeline."""
        from upramp.kernels import stepwise

        ramp = self.open_ramp(data)
        correction = self.correction(ramp)
        if correction is not None:
            arrays = stepwise.Ramp.of(ramp)
            if not ramp.meta.exposure.zero_frame:
                # Without the keyword a ZEROFRAME stays as it is; only ramp_fit uses it all the same (as the peer).
                arrays.zeroframe = None
            apply = stepwise.apply_by_position if isinstance(ramp, SuperstripeRampModel) else stepwise.apply
            apply(correction, arrays)
            if arrays.data.shape != ramp.shape:
                # Refpix leaves the science pixels of an IRS2 readout only.
                ramp.data, ramp.groupdq, ramp.pixeldq = arrays.data, arrays.groupdq, arrays.pixeldq
            self.record_complete(ramp)
        return ramp


def prepare_ramp(step, data):
    """`prepare_output` of a step or pipeline for a ramp, which is of another class for a superstripe readout."""
    if isinstance(data, list | tuple):
        raise TypeError(
            f"Input must be a file path or a model; {step.name} got a {type(data).__name__}: give them one by one"
        )
    source = step.make_input_path(data) if isinstance(data, str | Path) else data
    ramp = step.prepare_output(data, open_as=ramp_class(source))
    set_missing_flags(step, ramp, pixeldq="pixel DQ", groupdq="group DQ")
    return ramp


def set_missing_flags(step, model, *, replace=False, **arrays):
    """Give a model the default of flags that it does not have, given by name and what to call them.

    With ``replace`` also of flags whose shape is not that of the model.
    """
    for name, shown in arrays.items():
        found = model.array_shape(name)
        wrong = replace and found is not None and found != model.default_shape(name)
        if wrong:
            step.log.warning("%s of %r has shape %s and is not used", name, model, found)
        if wrong or name not in model:
            step.log.info("Setting input %s to default array", shown)
            setattr(model, name, model.get_default(name))


class MiriStep(RampStep):
    """A step of the MIRI chain; on an exposure of another instrument it is recorded as SKIPPED.

    A subclass defines ``miri_correction(ramp)`` in the place of ``correction``.
    """

    def correction(self, ramp):
        """Describe what is to be done to this ramp, or record why nothing is."""
        detector = ramp.meta.instrument.detector or "MIR"
        if not (is_miri(ramp) and detector.startswith("MIR")):
            origin = f"{ramp.meta.instrument.name}, DETECTOR {ramp.meta.instrument.detector}"
            self.record_skip(ramp, f"the exposure is from {origin}; this step is only for MIRI data")
            return None
        return self.miri_correction(ramp)

    def wanted_reference_types(self):
        """Those of the step for an exposure of MIRI; none before that is known."""
        return super().wanted_reference_types() if self.exposure.get("meta.instrument.name") == "MIRI" else []

    def miri_correction(self, ramp):
        """The same for an exposure of MIRI."""
        raise NotImplementedError(f"{type(self).__name__} does not define miri_correction()")


def refuse_interleaved_zeroframe(ramp):
    """Raise UnsupportedModeError for an IRS2 readout with a ZEROFRAME."""
    if is_interleaved(ramp.shape) and ramp.has_array("zeroframe"):
        name = ramp.meta.filename or "the exposure"
        raise UnsupportedModeError(f"{name} is an IRS2 readout with a ZEROFRAME; that is not implemented")


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
    if not (isinstance(rows, slice) and isinstance(columns, slice)):
        return as_bits(_gathered(array, name, reference, rows, columns), dtype)
    found = (rows.stop - rows.start, columns.stop - columns.start)
    if found != (ny, nx) or rows.stop > array.bits.shape[-2] or columns.stop > array.bits.shape[-1]:
        raise ReferenceFileError(
            f"{name} of the reference {reference.meta.filename} has shape {array.bits.shape}; "
            f"the exposure has {ny} rows and {nx} columns"
        )
    return as_bits(array, dtype, first_row=rows.start, first_column=columns.start)


def _gathered(array, name, reference, rows, columns):
    """The lines of a striped exposure from a mapped array, as they lie: a small copy; positions before the rows."""
    bits, by_row = array.bits, isinstance(columns, slice)
    lines, fast = (rows, columns) if by_row else (columns, rows)
    if bits.shape[-2:] != reference.shape[-2:]:
        raise ReferenceFileError(
            f"{name} of the reference {reference.meta.filename} has shape {bits.shape}, unlike its main array, "
            f"{reference.shape}"
        )
    if lines.ndim == 2 and bits.ndim != 2:
        raise ReferenceFileError(
            f"{name} of the reference {reference.meta.filename} has shape {bits.shape}; a superstripe exposure takes "
            "its stripes from images (rows, columns)"
        )
    bits = bits[..., lines, fast] if by_row else bits[..., fast, lines]
    if lines.ndim == 2 and not by_row:
        bits = bits.swapaxes(0, 1)  # (rows, positions, columns) before
    return dataclasses.replace(array, bits=np.ascontiguousarray(bits), source=None, start=0)


def is_gathered(reference, ramp):
    """Whether the lines of a striped exposure have to be gathered from a larger reference."""
    if is_interleaved(ramp.shape):
        return False  # its references have science pixels only, or all lines
    return not all(isinstance(part, slice) for part in cutout(reference, ramp))


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
    ValueError
        NFRAMES or TGROUP is there, but not above zero.
    """
    values = {keyword: ramp[path] for keyword, path in keywords.items()}
    missing = [f"{keyword} ({keywords[keyword]})" for keyword, value in values.items() if value is None]
    if missing:
        raise MissingKeywordError(
            f"{ramp.meta.filename or 'the exposure'} lacks {', '.join(missing)}; expected in the primary header"
        )
    for keyword in _ABOVE_ZERO & values.keys():
        if not values[keyword] > 0:
            raise ValueError(
                f"{ramp.meta.filename or 'the exposure'}: {keyword} is {values[keyword]}; expected more than 0"
            )
    return tuple(values.values())

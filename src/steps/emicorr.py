"""emicorr: subtract electromagnetic interference (MIRI)."""

import datetime
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from upramp.errors import ReferenceFileError
from upramp.models import EmiModel
from upramp.steps.ramp_step import MiriStep, require

__all__ = ["EmiCorrStep"]

READ_PATTERNS = ("FAST", "FASTR1", "SLOW", "SLOWR1")
MINIMUM_GROUPS = 3
GROUPS_FOR_SEQUENTIAL = 10
DEFAULT_CYCLES = 3
# The quarter of the rows of a full frame ends with this column; there the reference pixels have a time of their own.
LAST_QUARTER = 258

# Clocks of a row, and of a frame, for frequencies that come without a reference.
CLOCKS = {
    "SLITLESSPRISM": (28, 15904),
    "MASKLYOT": (90, 32400),
    "SUB64": (28, 8512),
    "SUB128": (44, 11904),
    "MASK1140": (82, 23968),
    "MASK1550": (82, 23968),
    "MASK1065": (82, 23968),
    "FULL_FAST": (271, 277504),
    "FULL_SLOW": (2333, 2388992),
    "BRIGHTSKY": (162, 86528),
    "SUB256": (96, 29952),
}


@dataclass(frozen=True)
class Case:
    """What is to be subtracted from an exposure: clocks of its readout, frequencies [Hz] by name, waves if known."""

    row_clocks: int
    frame_clocks: int
    frequencies: dict[str, float]
    waves: list = field(default_factory=list)


class EmiCorrStep(MiriStep):
    """Fit and subtract periodic interference, whose phase follows from the times of the samples."""

    class_alias = "emicorr"
    reference_file_types = ("emicorr",)
    found_message = "Using %s reference file: %s"
    spec = """
    algorithm                 = option('sequential', 'joint', default='joint')  # Fit the wave after, or with, the ramps
    nints_to_phase            = integer(default=None)     # sequential: integrations on which the wave is measured
    nbins                     = integer(default=None)     # sequential: bins of phase
    scale_reference           = boolean(default=True)     # sequential: scale the reference wave to the data
    onthefly_corr_freq        = float_list(default=None)  # Frequencies to measure without a reference, Hz
    use_n_cycles              = integer(default=3)        # sequential: cycles to measure; None for all integrations
    fit_ints_separately       = boolean(default=False)    # joint: fit every integration by itself
    user_supplied_reffile     = string(default=None)      # Deprecated, use override_emicorr
    save_intermediate_results = boolean(default=False)    # Save the waves that are measured without a reference
    skip                      = boolean(default=True)     # Skip this step
    """

    def wanted_reference_types(self):
        """None if the frequencies, or the file, are given."""
        given = self.onthefly_corr_freq is not None or self.user_supplied_reffile is not None
        return [] if given else super().wanted_reference_types()

    def miri_correction(self, ramp):
        """Frequencies and timing of the subarray: a `Case`."""
        (readpatt,) = require(ramp, READPATT="meta.exposure.readpatt")
        if readpatt.upper() not in READ_PATTERNS:
            self.record_skip(ramp, f"READPATT is {readpatt}; interference is known for {', '.join(READ_PATTERNS)}")
            return None
        reference = None
        if self.onthefly_corr_freq is None:
            reference = self._reference(ramp)
            if reference is None:
                return None
            reference.check()
        if ramp.shape[1] < MINIMUM_GROUPS:
            self.record_skip(ramp, f"the exposure has {ramp.shape[1]} groups; {MINIMUM_GROUPS} are needed")
            return None
        subarray = ramp.meta.subarray.name
        case = self._case_without_reference(ramp) if reference is None else self._case_of(reference, ramp)
        if case is None or not case.frequencies:
            origin = (
                "the table of this step" if reference is None else f"the EMICORR reference {reference.meta.filename}"
            )
            self.record_skip(ramp, f"{origin} has no frequencies for {subarray} read in {readpatt}")
            return None
        self.log.info("Interference to subtract: %s", ", ".join(case.frequencies))
        return case

    def _reference(self, ramp):
        """The reference model; None, recorded as SKIPPED, without one."""
        if self.user_supplied_reffile is None:
            return self.open_reference(ramp, "emicorr", EmiModel)
        message = (
            "The 'user_supplied_reffile' parameter is deprecated and will be removed in a future release. "
            "Use 'override_emicorr' instead."
        )
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        self.log.warning(message)
        if self.user_supplied_reffile == "N/A":
            self.record_skip(ramp, "No EMICORR reference file found for this exposure (N/A)")
            return None
        self.log.info(self.found_message, "EMICORR", self.user_supplied_reffile)
        return EmiModel(self.user_supplied_reffile)

    @staticmethod
    def _speed(ramp):
        return "SLOW" if "SLOW" in ramp.meta.exposure.readpatt.upper() else "FAST"

    def _case_of(self, reference, ramp):
        """What the reference says about the subarray; None if nothing."""
        speed, name = self._speed(ramp), ramp.meta.subarray.name or ""
        entry = reference.subarray_cases.get(f"{name}_{speed}" if "FULL" in name else name)
        if entry is None:
            return None
        names = entry.get("freqs", {}).get(speed)
        if speed == "SLOW" and names is not None:
            names = names.get(ramp.meta.instrument.detector)
        if names is None:
            return None
        missing = [one for one in names if one not in reference.frequencies]
        if missing:
            raise ReferenceFileError(
                f"EMICORR reference {reference.meta.filename} lists {', '.join(missing)} for {name}, but has only the "
                f"frequencies {', '.join(reference.frequencies)}"
            )
        waves = {one: reference.frequencies[one] for one in names}
        return Case(
            int(entry["rowclocks"]),
            int(entry["frameclocks"]),
            {one: float(wave["frequency"]) for one, wave in waves.items()},
            [wave["phase_amplitudes"] for wave in waves.values()],
        )

    def _case_without_reference(self, ramp):
        """Timing by the table of this step, and the frequencies of the parameter; None if the subarray is not in it."""
        name = ramp.meta.subarray.name
        clocks = CLOCKS.get(f"{name}_{self._speed(ramp)}" if name == "FULL" else name)
        return clocks and Case(*clocks, {repr(one): one for one in self.onthefly_corr_freq})

    def process(self, data):
        """Subtract the interference from all integrations."""
        ramp = self.open_ramp(data)
        case = self.correction(ramp)
        if case is not None:
            self.subtract(ramp, case)
            self.record_complete(ramp)
        return ramp

    def subtract(self, ramp, case):
        """Subtract what `correction` has found from the samples of a ramp."""
        from upramp.kernels.emicorr import Readout, Wave, subtract_emi_in_place

        (samples,) = require(ramp, NSAMPLES="meta.exposure.nsamples")
        reset = case.frame_clocks if ramp.meta.exposure.readpatt.upper().endswith("R1") else 0
        readout = Readout(case.row_clocks, samples, reset)
        if self.algorithm == "joint" and not case.waves:
            self.log.warning(
                "The joint fit needs a reference; frequencies without one are fitted by algorithm=sequential"
            )
        if self.algorithm == "sequential" or not case.waves:
            self._subtract_sequentially(ramp, case, readout)
            return
        waves = [Wave(*one) for one in zip(case.frequencies.values(), case.waves, strict=True)]
        fits = subtract_emi_in_place(ramp.data, ramp.pixeldq, waves, readout, separately=self.fit_ints_separately)
        for name, fit in zip(case.frequencies, fits, strict=True):
            self.log.info("%s: amplitude %s times the reference wave", name, ", ".join(_shown(fit.amplitudes)))

    def _subtract_sequentially(self, ramp, case, readout):
        from upramp.kernels.emicorr_sequential import integrations_of_cycles, measure_and_subtract_emi_in_place

        if ramp.shape[1] < GROUPS_FOR_SEQUENTIAL:
            self.log.warning(
                "The exposure has %d groups; with fewer than %d algorithm=joint is better",
                ramp.shape[1], GROUPS_FOR_SEQUENTIAL,
            )  # fmt: skip
        n_phased = self.nints_to_phase
        if n_phased is None and self.use_n_cycles is not None:
            # As in the reference the first frequency decides for all of them.
            first = next(iter(case.frequencies.values()))
            n_phased = integrations_of_cycles(self.use_n_cycles, first, case.frame_clocks, ramp.shape[1])
        xsize, xstart = require(ramp, SUBSIZE1="meta.subarray.xsize", SUBSTRT1="meta.subarray.xstart")
        waves = measure_and_subtract_emi_in_place(
            ramp.data,
            list(case.frequencies.values()),
            readout,
            references=case.waves or None,
            n_phased=n_phased,
            n_bins=self.nbins,
            scale_reference=self.scale_reference,
            full_width=int(xsize / 4 + xstart - 1) == LAST_QUARTER,
        )
        for name, wave in zip(case.frequencies, waves, strict=True):
            if not (wave.means == wave.means).all():
                self.log.warning("%s is left: a bin of phase has no samples; use fewer bins (nbins)", name)
        if self.save_intermediate_results and self.onthefly_corr_freq is not None:
            self._save_waves(ramp, case, waves)

    def _save_waves(self, ramp, case, waves):
        """Write what was measured as a reference for the subarray."""
        readpatt, detector = ramp.meta.exposure.readpatt, ramp.meta.instrument.detector
        names = list(case.frequencies)
        model = EmiModel()
        model.frequencies = {
            name: {"frequency": wave.frequency, "phase_amplitudes": wave.means}
            for name, wave in zip(names, waves, strict=True)
        }
        model.subarray_cases = {
            ramp.meta.subarray.name: {
                "rowclocks": case.row_clocks,
                "frameclocks": case.frame_clocks,
                "freqs": {readpatt: names if "FAST" in readpatt else {detector: names}},
            }
        }
        model.meta.author, model.meta.pedigree = "upramp", "GROUND"
        model.meta.description = "Interference measured on the exposure itself"
        model.meta.useafter = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        path = Path(self.make_output_path(suffix="emi_ref_waves")).with_suffix(".asdf")
        self.log.info("Saved the waves that were measured in %s", model.save(path))


def _shown(amplitudes):
    """Numbers for the log; one if they are all the same."""
    distinct = amplitudes[:1] if (amplitudes == amplitudes[0]).all() else amplitudes
    return [f"{one:.4g}" for one in distinct]

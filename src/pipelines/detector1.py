"""calwebb_detector1: from raw ramps to slopes."""

import contextlib
import dataclasses
import time

from upramp.errors import UnsupportedModeError
from upramp.framework import Pipeline, executor
from upramp.models import Level1bModel, RampModel, ramp_class
from upramp.models.stripes import is_striped, is_superstripe, stripes_of
from upramp.steps.charge_migration import ChargeMigrationStep
from upramp.steps.clean_flicker_noise import CleanFlickerNoiseStep
from upramp.steps.dark_current import DarkCurrentStep
from upramp.steps.dq_init import DQInitStep
from upramp.steps.emicorr import EmiCorrStep
from upramp.steps.firstframe import FirstFrameStep
from upramp.steps.gain_scale import GainScaleStep
from upramp.steps.group_scale import GroupScaleStep
from upramp.steps.ipc import IPCStep
from upramp.steps.jump import JumpStep
from upramp.steps.lastframe import LastFrameStep
from upramp.steps.linearity import LinearityStep
from upramp.steps.persistence import PersistenceStep
from upramp.steps.picture_frame import PictureFrameStep
from upramp.steps.ramp_fit import RampFitStep
from upramp.steps.ramp_step import prepare_ramp, refuse_interleaved_zeroframe, science_frame
from upramp.steps.refpix import RefPixStep
from upramp.steps.reset import ResetStep
from upramp.steps.rscd import RscdStep
from upramp.steps.saturation import SaturationStep
from upramp.steps.superbias import SuperBiasStep

__all__ = ["Detector1Pipeline", "SloperPipeline"]

# Steps that correct the ramp, in their order, and what `upramp.kernels.chain.Chain` calls their corrections; None for
# those that look at whole frames, which have no place in the fused schedule.
RAMP_STEPS = {
    "group_scale": "scale",
    "dq_init": "mask",
    "saturation": "saturation",
    "ipc": "ipc",
    "superbias": "superbias",
    "refpix": "refpix",
    "linearity": "linearity",
    "dark_current": "dark",
    "charge_migration": "charge_migration",
    "jump": "jump",
    "picture_frame": None,
    "clean_flicker_noise": None,
    "persistence": "persistence",
}

# The same for MIRI: no superbias, the transients of its resets, and the reference pixels last.
MIRI_RAMP_STEPS = {
    "group_scale": "scale",
    "dq_init": "mask",
    "emicorr": None,
    "saturation": "saturation",
    "ipc": "ipc",
    "firstframe": "first_group",
    "lastframe": "last_group",
    "reset": "reset",
    "linearity": "linearity",
    "rscd": "rscd",
    "dark_current": "dark",
    "refpix": "refpix",
    "charge_migration": "charge_migration",
    "jump": "jump",
    "picture_frame": None,
    "clean_flicker_noise": None,
    "persistence": "persistence",
}


def _chain_for(instrument):
    return MIRI_RAMP_STEPS if instrument == "MIRI" else RAMP_STEPS


class Detector1Pipeline(Pipeline):
    """Calibrate the ramps of an exposure and fit their slopes.

    Results are the rate image (suffix rate) and the rates of every integration (suffix rateints).
    """

    class_alias = "calwebb_detector1"
    spec = """
    save_calibrated_ramp = boolean(default=False)  # Save the ramp before the fit, suffix ramp
    schedule = option('auto', 'fused', 'stepwise', default='auto')  # One pass through the data, or step by step
    """
    step_defs = {  # noqa: RUF012 - the form of the base class
        "group_scale": GroupScaleStep,
        "dq_init": DQInitStep,
        "emicorr": EmiCorrStep,
        "saturation": SaturationStep,
        "ipc": IPCStep,
        "superbias": SuperBiasStep,
        "refpix": RefPixStep,
        "rscd": RscdStep,
        "firstframe": FirstFrameStep,
        "lastframe": LastFrameStep,
        "linearity": LinearityStep,
        "dark_current": DarkCurrentStep,
        "reset": ResetStep,
        "persistence": PersistenceStep,
        "charge_migration": ChargeMigrationStep,
        "jump": JumpStep,
        "picture_frame": PictureFrameStep,
        "clean_flicker_noise": CleanFlickerNoiseStep,
        "ramp_fit": RampFitStep,
        "gain_scale": GainScaleStep,
    }

    _streamed = ()

    def output_suffixes(self):
        """Files that a run is going to write."""
        return ("rate", "rateints", "ramp") if self.save_calibrated_ramp else ("rate", "rateints")

    def run(self, *args):
        """Run the pipeline; the products of the fused schedule appear when everything is done."""
        with contextlib.ExitStack() as self._pending:
            return super().run(*args)

    def save_model(self, model, *args, **keywords):
        """Save a result, unless it is a product that is being filled: those appear at the end of the run."""
        if any(model is pending for pending in self._streamed):
            return None
        return super().save_model(model, *args, **keywords)

    def process(self, data):
        """Calibrate one exposure: a file, or a ramp model. Returns the rate image."""
        self._streamed = ()
        ramp = self._open(data)
        self.check_supported(ramp)
        obstacle = self._obstacle(ramp)
        if self.schedule == "fused" and obstacle:
            raise UnsupportedModeError(f"schedule=fused is not possible: {obstacle}")
        if obstacle is None and self.schedule != "stepwise":
            from upramp.kernels.chain import WholeFrameRule

            try:
                return self._run_fused(ramp)
            except WholeFrameRule as rule:
                self.log.info("Starting again step by step: %s", rule)
                ramp = self._open(data)
        else:
            self.log.info("Schedule: stepwise (%s)", obstacle or "as asked for")
        return self._run_stepwise(ramp)

    def _open(self, data):
        if isinstance(data, Level1bModel):
            return ramp_class(data)(data)
        return prepare_ramp(self, data)

    def check_input(self, data):
        """Refuse what has no chain here, see `check_supported`."""
        self.check_supported(self._open(data))

    def check_supported(self, ramp):
        """Refuse what has no chain here, before any work.

        Raises
        ------
        UnsupportedModeError
            Names the instrument or mode.
        """
        name = ramp.meta.filename or "the exposure"
        refuse_interleaved_zeroframe(ramp)
        if is_striped(ramp):
            stripes_of(ramp)  # keywords that contradict each other are an error now
        if is_superstripe(ramp) and self.refpix.skip:
            raise UnsupportedModeError(
                f"{name} is a superstripe readout ({ramp.meta.subarray.name}), whose stripes refpix puts together; "
                "refpix cannot be skipped"
            )
        for key in (*self._chain_of(ramp), "ramp_fit", "gain_scale"):
            step = getattr(self, key)
            if not step.skip and hasattr(step, "check_supported"):
                step.check_supported(ramp)

    @staticmethod
    def _chain_of(ramp):
        """Steps that correct this ramp, in their order: those of its instrument."""
        return _chain_for(ramp.meta.instrument.name)

    def chain(self):
        """Keys of the steps that the exposure goes through, in their order."""
        instrument = self.exposure.get("meta.instrument.name")
        return [*_chain_for(instrument), "ramp_fit", "gain_scale"] if instrument else super().chain()

    def _obstacle(self, ramp):
        """Why the exposure cannot take the fused schedule; None if it can."""
        if is_superstripe(ramp):
            return "the stripes of a superstripe readout are put together by refpix"
        raw = ramp.mapped("data")
        if raw is None or raw.kind != "u2":
            return "the input is not a raw exposure on disk"
        wanted = executor.intermediates_wanted(self.sub_steps)
        if wanted is not None:  # looked at first: a step of somebody else need not have the parameters of ours
            return wanted
        if self.ramp_fit.firstgroup is not None or self.ramp_fit.lastgroup is not None:
            return "ramp_fit uses part of the groups"
        if self.save_calibrated_ramp and ramp.extra_hdus:
            return "the ramp keeps HDUs of the exposure that are not known here"
        if self.ramp_fit.skip:
            return "ramp_fit is skipped"
        if self.jump.find_showers and not self.jump.skip:
            return "jump looks for showers"
        if self.ramp_fit.save_opt:
            return "details of the fit are to be saved"
        if ramp.has_array("zeroframe") and self._needs_zeroframe(ramp):
            return "the ZEROFRAME is needed"
        for key, field in self._chain_of(ramp).items():
            if field is None and not getattr(self, key).skip:
                return f"{key} looks at whole frames"
        return None

    def _needs_zeroframe(self, ramp):
        """Whether the ZEROFRAME is saved with the ramp, or fitted: in place of saturated groups, or by likelihood."""
        from upramp.kernels.ramp_fit import suppresses_one_group

        fit = self.ramp_fit
        if self.save_calibrated_ramp or not suppresses_one_group(fit.suppress_one_group, ramp.shape[1]):
            return True
        return ramp.meta.exposure.nframes != 1 and bool(fit.read_times(ramp))

    def _describe(self, ramp):
        """Chain of all corrections; what is done and what is skipped is recorded on the ramp."""
        from upramp.kernels.chain import Chain, WholeFrameRule
        from upramp.kernels.corrections import PixelCapacitance

        found = {}
        for key, field in self._chain_of(ramp).items():
            step = getattr(self, key)
            step.reference_files_used = []
            if step.skip:
                step.run(ramp)
                continue
            found[field] = step.correction(ramp)
            if isinstance(found[field], PixelCapacitance):
                raise WholeFrameRule("every pixel has an IPC kernel of its own")
            if found[field] is not None:
                step.record_complete(ramp)
        self.ramp_fit.reference_files_used, self.gain_scale.reference_files_used = [], []
        found["fit"] = self.ramp_fit.correction(ramp)
        if found["fit"] is None:
            raise WholeFrameRule("ramp_fit has no references")
        return Chain(**found)

    def _run_fused(self, ramp):
        """One pass through the raw file; the products are filled in place and appear at the end of the run."""
        self.log.info("Schedule: fused (one pass from the raw samples to the slopes)")
        started = time.perf_counter()
        raw = ramp.mapped("data")
        gain_factor = ramp.meta.exposure.gain_factor
        chain = self._describe(ramp)
        if chain.jump is not None:
            self.jump.record_counts(ramp, 0, 0, 0)
        rate, rateints = self.ramp_fit.products(ramp)
        factor = None
        for product in (rate, rateints):
            if self.gain_scale.skip:
                self.gain_scale.run(product)
            else:
                factor = self.gain_scale.scaling(product)
        chain = dataclasses.replace(chain, gain_factor=factor)
        shape = (*ramp.shape[:2], *science_frame(ramp))
        ni, _, ny, nx = shape
        models = {"rate": rate, "rateints": rateints}
        shapes = {
            "rate": dict.fromkeys(executor.RATE_ARRAYS.values(), (ny, nx)),
            "rateints": dict.fromkeys(executor.RATE_ARRAYS.values(), (ni, ny, nx)),
        }
        if self.save_calibrated_ramp:
            models["ramp"] = self._ramp_product(ramp)
            models["ramp"].meta.exposure.gain_factor = gain_factor  # ramp_fit finds it, after the ramp
            shapes["ramp"] = {"data": shape, "groupdq": shape, "pixeldq": (ny, nx)}
        to_disk = self.save_results and not self.post_hooks and self.output_ext.lstrip(".") == "fits"
        stages = {
            name: executor.Stage(model, shapes[name], self.make_output_path(suffix=name) if to_disk else None)
            for name, model in models.items()
        }
        products = executor.Products(stages, self.note_product)
        with contextlib.ExitStack() as undo:
            # Products that are complete stay open until the end of the run, for their headers are not final yet.
            undo.enter_context(products)
            result = executor.run_fused(chain, raw, products)
            self._pending.push(undo.pop_all())
        if chain.persistence is not None:
            self.persistence.save_times(ramp, chain.persistence.until)
        self.ramp_fit.note_counts(saturated_samples=result.n_saturated, jump_samples=result.n_jumps)
        for name, model in models.items():
            # The ramp is what it was before the fit, which has references of its own.
            steps = self._chain_of(ramp) if name == "ramp" else self.sub_steps
            references = [one for key in steps for one in self.sub_steps[key].reference_files_used]
            if chain.jump is not None:
                self.jump.record_counts(model, result.n_primary, result.n_unused, result.n_events, shape)
            if result.rscd is not None:
                self.rscd.record_counts(model, result.rscd)
            self.finalize_result(model, list(dict.fromkeys(references)))
        if to_disk:
            self._streamed = list(models.values())
        else:
            for name in [name for name in models if name != "rate"]:
                self.save_model(models[name], name)
        self.note_time("fused pass", time.perf_counter() - started)
        self.suffix = "rate"
        return rate

    @staticmethod
    def _ramp_product(ramp):
        """A ramp model with the metadata and tables of the exposure, and no arrays."""
        product = RampModel()
        for name in ("average_dark_current", "group", "int_times", "msa_targ_acq_table"):
            if ramp.has_array(name):
                setattr(product, name, getattr(ramp, name))
        # Now that the tables are there, which have keywords of their own.
        product.update(ramp, extra_fits=True)
        return product

    def _run_stepwise(self, ramp):
        for key in self._chain_of(ramp):
            ramp = getattr(self, key).run(ramp)
        if self.save_calibrated_ramp:
            self.save_model(ramp, "ramp")
        rate, rateints = (self.ramp_fit.run(ramp), None) if self.ramp_fit.skip else self.ramp_fit.run(ramp)
        if rateints is None:
            self.suffix = "ramp"
            return None if rate is None else self.gain_scale.record_skip(rate, "there are no slopes")
        self.gain_scale.suffix = "gain_scale"
        rate = self.gain_scale.run(rate)
        self.gain_scale.suffix = "gain_scaleints"
        rateints = self.gain_scale.run(rateints)
        self.save_model(rateints, "rateints")
        self.suffix = "rate"
        return rate


# What it was called before there were pipelines for stages 2 and 3.
SloperPipeline = Detector1Pipeline

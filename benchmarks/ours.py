"""What is measured of upramp: the chain and every kernel on arrays, the pipeline on files, the command."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from upramp.kernels import stepwise
from upramp.kernels._irs2_filter import FREQUENCIES
from upramp.kernels._irs2_layout import LINES, SLOTS
from upramp.kernels.casertano import fit_ramps_casertano
from upramp.kernels.chain import Chain, calibrate
from upramp.kernels.dark import subtract_dark_in_place
from upramp.kernels.dq_init import init_dq_in_place
from upramp.kernels.jump import detect_jumps_in_place
from upramp.kernels.linearity import correct_linearity_in_place
from upramp.kernels.ramp_fit import RatePlanes, fit_ramps_into
from upramp.kernels.refpix import correct_reference_pixels_in_place
from upramp.kernels.saturation import flag_saturation_in_place
from upramp.kernels.stepwise import native_dark, native_plane
from upramp.kernels.superbias import subtract_superbias_in_place
from upramp.models import RampModel
from upramp.pipelines import Detector1Pipeline

# In the order of the chain, with the arrays of the ramp that each reads, and those that it changes.
KERNELS = {
    "dq_init": (["pdq"], ["gdq", "pdq"]),
    "saturation": (["data", "gdq", "pdq"], ["gdq", "pdq"]),
    "superbias": (["data", "pdq"], ["data", "pdq"]),
    "refpix": (["data", "pdq"], ["data"]),
    "linearity": (["data", "gdq", "pdq"], ["data", "pdq"]),
    "dark": (["data", "pdq"], ["data", "pdq"]),
    "jump": (["data", "gdq", "pdq"], ["gdq", "pdq"]),
    "ramp_fit": (["data", "gdq", "pdq"], ["gdq"]),
}


@contextlib.contextmanager
def environment(**values):
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@dataclass
class InMemory:
    """An exposure in memory, and its chain of corrections with their references."""

    raw: np.ndarray  # (nint, ngroup, ny, nx) uint16 [DN]
    chain: Chain
    order: tuple = ()  # what the chain calls the corrections of the ramp, as the stepwise schedule makes them

    @classmethod
    def of(cls, case):
        """Read a case of `benchmarks.shapes`."""
        with environment(**case.environment):
            ramp = RampModel(str(case.raw))
            pipeline = Detector1Pipeline(steps=case.steps)
            chain = pipeline._describe(ramp)
        return cls(ramp.data.astype(np.uint16), chain, tuple(filter(None, pipeline._chain_of(ramp).values())))


class ChainCall:
    """The whole chain, arrays to arrays; the results of the first call are overwritten by later ones."""

    def __init__(self, case, **options):
        self.exposure, self.options = InMemory.of(case), options
        self.fit = calibrate(self.exposure.raw, self.exposure.chain, **options).fit

    def __call__(self):
        calibrate(self.exposure.raw, self.exposure.chain, out=self.fit, **self.options)

    @property
    def written(self):
        """The arrays of the result."""
        return [array for planes in self.fit for array in planes]


@dataclass(frozen=True)
class KernelCall:
    """One kernel on the arrays that it meets in the chain; ``restore`` gives them back what the kernel changed."""

    name: str
    run: Callable
    restore: Callable
    reads: list
    writes: list


def kernel_calls(case):
    """The kernels of a chain in their order, each on what the one before has left.

    Yields
    ------
    KernelCall
        ``writes`` may be overwritten: the arrays are set right before the next kernel.
    """
    exposure = InMemory.of(case)
    arrays = {"data": exposure.raw.astype(np.float32)}
    arrays["gdq"] = np.zeros(arrays["data"].shape, np.uint8)
    arrays["pdq"] = np.zeros(arrays["data"].shape[-2:], np.uint32)
    for name, (read, changed) in KERNELS.items():
        references = _references(name, exposure.chain, arrays["data"].shape)
        results = _rate_planes(arrays["data"].shape) if name == "ramp_fit" else ()
        run = partial(_BIND[name], getattr(exposure.chain, _FIELDS[name]), *references, *results, **arrays)
        saved = {key: arrays[key].copy() for key in changed}

        def restore(saved=saved):
            for key, array in saved.items():
                arrays[key][...] = array

        reads = [arrays[key] for key in read] + references
        writes = [plane for planes in results for plane in planes] or [arrays[key] for key in changed]
        yield KernelCall(name, run, restore, reads, writes)
        restore()
        run()


# What a chain calls the corrections, and the planes of each: those named here, in the order of the kernel's arguments.
_FIELDS = {name: name for name in KERNELS} | {"dq_init": "mask", "ramp_fit": "fit"}
_PLANES = {
    "dq_init": ["mask"],
    "saturation": ["threshold", "flags", "bias"],
    "superbias": ["bias", "flags"],
    "refpix": [],
    "linearity": ["coefficients", "flags"],
    "dark": ["frames", "flags"],
    "jump": ["gain", "read_noise"],
    "ramp_fit": ["gain", "read_noise"],
}


def _references(name, chain, shape):
    """Native arrays of the references of a kernel."""
    op, frame, arrays = getattr(chain, _FIELDS[name]), shape[-2:], []
    for plane in _PLANES[name]:
        source = getattr(op, plane)
        if plane == "frames":
            arrays.append(native_dark(op, shape))
        elif plane == "coefficients":
            arrays.append(native_plane(source, np.float32, (len(source.bits), *frame)))
        else:
            arrays.append(native_plane(source, np.uint32 if plane in ("mask", "flags") else np.float32, frame))
    return arrays


def _saturation(op, *references, data, gdq, pdq):
    rules = {"n_pix_grow": op.grow, "nframes": op.nframes, "use_read_pattern": op.use_read_pattern}
    flag_saturation_in_place(gdq, pdq, data, *references, **rules)


def _refpix(op, data, gdq, pdq):
    place = (op.detector, op.column0 + 1, op.row0 + 1, op.noutputs, op.subarray)
    correct_reference_pixels_in_place(data, pdq, *place, **op.parameters)


def _jump(op, *references, data, gdq, pdq):
    rules = {"nframes": op.nframes, "group_time": op.group_time, "parameters": op.parameters}
    detect_jumps_in_place(data, gdq, pdq, *references, **rules)


def _ramp_fit(op, gain, read_noise, rate, integrations, data, gdq, pdq):
    times = {key: getattr(op, key) for key in ("group_time", "frame_time", "nframes", "suppress_one_group")}
    fit_ramps_into(rate, integrations, data, gdq, pdq, gain, read_noise, **times)


# Every kernel as a function of its correction, the arrays of its references, and the ramp.
_BIND = {
    "dq_init": lambda op, mask, data, gdq, pdq: init_dq_in_place(gdq, pdq, mask),
    "saturation": _saturation,
    "superbias": lambda op, *planes, data, gdq, pdq: subtract_superbias_in_place(data, pdq, *planes),
    "refpix": _refpix,
    "linearity": lambda op, *planes, data, gdq, pdq: correct_linearity_in_place(data, gdq, pdq, *planes),
    "dark": lambda op, *planes, data, gdq, pdq: subtract_dark_in_place(data, pdq, *planes),
    "jump": _jump,
    "ramp_fit": _ramp_fit,
}


def _rate_planes(shape):
    """Room for the slopes of an exposure and of its integrations."""
    return [
        RatePlanes(*(np.zeros(one, np.float32) for _ in range(4)), np.zeros(one, np.uint32))
        for one in (shape[-2:], (shape[0], *shape[-2:]))
    ]


def corrected_ramp(case, stop):
    """The native ramp of a case as it meets the correction ``stop`` of its chain in the stepwise schedule; both."""
    exposure = InMemory.of(case)
    shape = exposure.raw.shape
    data, flags = exposure.raw.astype(np.float32), np.zeros(shape, np.uint8)
    ramp = stepwise.Ramp(data, flags, np.zeros(shape[-2:], np.uint32))
    for field in exposure.order:
        if field == stop:
            break
        op = getattr(exposure.chain, field)
        if op is not None:
            _APPLY.get(field, stepwise.apply)(op, ramp)
    return ramp, getattr(exposure.chain, stop)


_APPLY = {"jump": stepwise.detect_jumps, "fit": stepwise.fit_likelihood}


def stepwise_call(case, field):
    """One correction of the chain as the stepwise schedule makes it: with the decoding of its references.

    Parameters
    ----------
    case : Case
    field : str
        What `upramp.kernels.chain.Chain` calls the correction: "jump" with all events that the case asks for, "fit"
        for the likelihood, "persistence", or one of those before.

    Returns
    -------
    KernelCall
        What it reads is data and flags of the ramp; what it writes has the size of the flags of groups and pixels, of
        the slopes, or of the ramp.
    """
    ramp, op = corrected_ramp(case, field)
    names = ("data", "groupdq", "pixeldq")
    saved = {name: getattr(ramp, name).copy() for name in names}
    remembered = op.until.copy() if field == "persistence" else None

    def restore():
        for name, array in saved.items():
            setattr(ramp, name, array.copy())
        if remembered is not None:
            op.until[...] = remembered

    if field in ("charge_migration", "persistence"):
        writes = [np.empty_like(ramp.groupdq)]
    elif field == "jump":
        writes = [np.empty_like(ramp.groupdq), np.empty_like(ramp.pixeldq)]
    elif field == "fit":
        writes = [array for planes in _rate_planes(ramp.data.shape) for array in planes]
    else:
        writes = [np.empty_like(array) for array in saved.values()]
    run = partial(_APPLY.get(field, stepwise.apply), op, ramp)
    return KernelCall(field, run, restore, list(saved.values()), writes)


def emicorr_call(case):
    """Interference, as the step subtracts it from a native ramp with the flags of the mask."""
    with environment(**case.environment):
        pipeline = Detector1Pipeline(steps=case.steps)
        ramp = pipeline.dq_init.run(RampModel(str(case.raw)))
        wanted = pipeline.emicorr.correction(ramp)
    saved = ramp.data.copy()

    def restore():
        ramp.data[...] = saved

    run = partial(pipeline.emicorr.subtract, ramp, wanted)
    return KernelCall("emicorr", run, restore, [saved, ramp.pixeldq], [np.empty_like(saved)])


def noise_call(case, key):
    """A step that takes noise from the frames of a ramp, with its draft slopes and the references that it reads."""
    with environment(**case.environment):
        pipeline = Detector1Pipeline(steps=case.steps)
        ramp = RampModel(str(case.raw))
        for before in pipeline._chain_of(ramp):
            if before == key:
                break
            ramp = getattr(pipeline, before).run(ramp)
    saved = ramp.data.copy()

    def run():
        with environment(**case.environment):
            getattr(pipeline, key).process(ramp)

    def restore():
        ramp.data[...] = saved

    return KernelCall(key, run, restore, [saved, ramp.groupdq, ramp.pixeldq], [np.empty_like(saved)])


def resultants(case):
    """The corrected ramp of a case as the Casertano fit takes it: the arguments in their order and by name.

    Returns
    -------
    dict
        ``resultants`` (ngroup, nint, ny, nx) float32 [e-], ``dq`` of the same shape, ``read_noise`` of one read
        (nint, ny, nx) float32 [e-], ``read_time`` [s] and ``read_pattern``: one read for each group.
    """
    ramp, op = corrected_ramp(case, "fit")
    gain, noise = (stepwise.native_plane(source, np.float32, ramp.frame) for source in (op.gain, op.read_noise))
    # The fit has no pixel flags: what cannot be used is flagged in every resultant.
    unusable = ((ramp.pixeldq & 1) != 0) | ~(gain > 0)
    return {
        "resultants": np.ascontiguousarray(np.moveaxis(ramp.data, 1, 0) * gain),
        "dq": np.ascontiguousarray(np.moveaxis(ramp.groupdq | unusable, 1, 0)).astype(np.uint32),
        "read_noise": np.tile(noise * gain / np.float32(np.sqrt(2)), (len(ramp.data), 1, 1)),
        "read_time": op.group_time,
        "read_pattern": [[1 + group] for group in range(ramp.data.shape[1])],
    }


def casertano_call(arrays, detect_jumps):
    """The Casertano fit of what `resultants` gives."""
    run = partial(fit_ramps_casertano, **arrays, detect_jumps=detect_jumps)
    reads = [array for array in arrays.values() if isinstance(array, np.ndarray)]
    results = [np.empty_like(arrays["read_noise"]) for _ in range(4)]
    return KernelCall("casertano", run, lambda: None, reads, [*results, np.empty_like(arrays["dq"])])


def transform_groups(count):
    """The Fourier transforms of the IRS2 method with numpy, in one thread: docs/kernels.md says which and why."""
    lines = np.ones((1224, LINES), np.float32)
    slots = np.ones((FREQUENCIES, SLOTS), np.complex64)
    spectra = np.ones((LINES, FREQUENCIES), np.complex64)
    for _ in range(count):
        np.fft.rfft(lines)
        for _ in range(15):
            np.fft.fft(slots)
        np.fft.irfft(spectra)


def run_pipeline(case):
    """File to files in this process."""
    with environment(**case.environment):
        Detector1Pipeline.call(str(case.raw), save_results=True, output_dir=str(case.products), steps=case.steps)


def remove_products(case):
    """Remove the products of an earlier run: to replace a file takes as long as the disk needs for the old one."""
    for path in product_sizes(case):
        path.unlink()


def product_sizes(case):
    """Files that the pipeline has written for a case, with their sizes [bytes]."""
    return {path: path.stat().st_size for path in sorted(case.products.glob("*_rate*.fits"))}


def strun_command(case):
    """The command line as a user gives it."""
    arguments = ["calwebb_detector1", str(case.raw), f"--output_dir={case.products}"]
    arguments += [f"--steps.{step}.{name}={value}" for step, pars in case.steps.items() for name, value in pars.items()]
    return [sys.executable, "-m", "upramp.framework.strun", *arguments]

"""What is measured of upramp: the chain and every kernel on arrays, the pipeline on files, the command."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

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

    @classmethod
    def of(cls, case):
        """Read a case of `benchmarks.shapes`."""
        with environment(**case.environment):
            ramp = RampModel(str(case.raw))
            chain = Detector1Pipeline()._describe(ramp)
        return cls(ramp.data.astype(np.uint16), chain)


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


def run_pipeline(case):
    """File to files in this process."""
    with environment(**case.environment):
        Detector1Pipeline.call(str(case.raw), save_results=True, output_dir=str(case.products))


def product_sizes(case):
    """Files that the pipeline has written for a case, with their sizes [bytes]."""
    return {path: path.stat().st_size for path in sorted(case.products.glob("*_rate*.fits"))}


def strun_command(case):
    """The command line as a user gives it."""
    arguments = ["calwebb_detector1", str(case.raw), f"--output_dir={case.products}"]
    return [sys.executable, "-m", "upramp.framework.strun", *arguments]

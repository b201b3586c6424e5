"""The command ``upramp warmup``: compile all kernels ahead, so that the first real run need not wait.

Tiny exposures go through the pipeline in both schedules. So every kernel is compiled with the types that it has in real
runs, and its code is left in the cache on disk.
"""

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console

__all__ = ["main", "warm_up"]

# What decides which kernels run: where reference pixels are and how they are read; frames in a group; coupling.
_EXPOSURES = (
    {"window": (1, 1, 2048, 16), "noutputs": 4, "readpatt": "SHALLOW4", "frame_divisor": 2},
    {"window": (1, 1, 32, 32), "noutputs": 1, "ipc": 0.005},
    {"window": (1, 1, 32, 32), "detector": "MIRIMAGE"},
)
_GROUPS = 5


def warm_up(listener=None):
    """Compile every kernel of the pipeline that is not in the cache.

    Parameters
    ----------
    listener : callable, optional
        Called with the name of each kernel before it is compiled.

    Returns
    -------
    int
        Number of kernels that were compiled.
    """
    from upramp.framework import logs
    from upramp.kernels._jit import set_compile_listener
    from upramp.kernels.warmup import compile_kernels

    late = []  # compiled when the pipeline came to them

    def announce(name):
        late.append(name)
        if listener is not None:
            listener(name)

    before = set_compile_listener(listener)
    try:
        count = compile_kernels()
        set_compile_listener(announce)
        with (
            tempfile.TemporaryDirectory(prefix="upramp-warmup-") as folder,
            logs.configured(logs.LogOptions(level="ERROR")),
        ):
            for number, mode in enumerate(_EXPOSURES):
                _calibrate(mode, Path(folder, str(number)))
            _measure_side_pixels()
            _correct_interleaved()
            _subtract_interference()
    finally:
        set_compile_listener(before)
    return count + len(late)


def _calibrate(mode, folder):
    """Simulate a tiny exposure and calibrate it in both schedules, without CRDS."""
    from upramp.pipelines import Detector1Pipeline
    from upramp.simulate import SimulationConfig, Window, make_references, simulate_exposure, write_exposure

    values = mode | {"subarray": "GENERIC", "window": Window(*mode["window"])}
    config = SimulationConfig(nints=2, ngroups=_GROUPS, **values)
    references = make_references(config, folder / "references")
    raw = write_exposure(simulate_exposure(config), folder / "tiny_uncal.fits")
    for schedule in ("fused", "stepwise"):
        steps = {}
        for key, step in Detector1Pipeline.step_defs.items():
            kinds = [kind for kind in step.reference_file_types if kind in references]
            steps[key] = {f"override_{kind}": str(references[kind]) for kind in kinds}
        steps["ipc"]["skip"] = "ipc" not in references
        steps["saturation"].setdefault("override_superbias", "N/A")
        large = "detector" not in mode  # MIRI with large events is never fused
        steps["jump"] |= {"expand_large_events": large, "find_showers": schedule == "stepwise"}
        Detector1Pipeline(schedule=schedule, steps=steps).run(str(raw))


def _measure_side_pixels():
    """What only full frames of MIRI need, which are not tiny."""
    import numpy as np

    from upramp.kernels.side_pixels import AMPLIFIERS, drifts_of_sides

    sides = np.zeros((1, 2, 2, 2 * AMPLIFIERS), np.float32)
    drifts_of_sides(sides, np.zeros(sides.shape[2:], np.uint32))


def _correct_interleaved():
    """Correct an empty IRS2 readout, of which there is no tiny one."""
    import numpy as np

    from upramp.kernels.irs2 import correct_interleaved, prepare_coefficients

    coefficients = prepare_coefficients(np.zeros((712 * 2048, 2, 8), np.float32))
    flags = np.zeros((3200, 2048), np.uint32)
    correct_interleaved(np.zeros((1, 1, *flags.shape), np.float32), flags, "NRS1", coefficients, subtract_means=True)


def _subtract_interference():
    """Subtract interference, which is off by default, in both ways."""
    import numpy as np

    from upramp.kernels.emicorr import Readout, Wave, subtract_emi
    from upramp.kernels.emicorr_sequential import measure_and_subtract_emi

    ramps = np.random.default_rng(0).normal(0, 1, (1, 4, 8, 16)).astype(np.float32)
    subtract_emi(ramps, np.zeros(ramps.shape[2:], np.uint32), [Wave(390.625, np.array([1.0, -1.0]))], Readout(28, 1))
    measure_and_subtract_emi(ramps, [390.625], Readout(28, 1), n_bins=4)


def main(argv):
    """Run the command.

    Parameters
    ----------
    argv : list of str
        Arguments after ``upramp warmup``.

    Returns
    -------
    int
        Exit status: 1 if compiled kernels cannot be kept, because no folder is writable.
    """
    argparse.ArgumentParser(
        prog="upramp warmup",
        description="Compile all kernels ahead and keep them on disk, so that the first real run need not wait. "
        "The environment variable UPRAMP_CACHE_DIR sets the folder.",
    ).parse_args(argv)
    console = Console()
    with console.status("Loading") as status:
        from upramp.kernels._jit import CACHE_VARIABLE, cache_folder

        if cache_folder() is None:
            console.print(f"No folder for compiled kernels is writable; set {CACHE_VARIABLE}.", highlight=False)
            return 1
        console.print(f"Kernels are kept in {cache_folder()}", soft_wrap=True, highlight=False)
        started = time.perf_counter()
        count = warm_up(lambda name: status.update(f"Compiling {name}"))
    if count:
        console.print(f"Compiled {count} kernels in {time.perf_counter() - started:.0f} s.", highlight=False)
    else:
        console.print("All kernels were compiled already.", highlight=False)
    return 0

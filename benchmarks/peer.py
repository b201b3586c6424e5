"""The peer in a process of its own: its pipeline, with a clock around each of its functions on arrays, or one function.

``python -m benchmarks.peer pipeline RAW OUTPUT_FOLDER STEPS REPEATS RESULT`` and
``python -m benchmarks.peer casertano ARRAYS REPEATS RESULT`` write the figures to a JSON file.
"""

import importlib
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import peak_growth, run_process, times

# Where the peer's steps look up the functions that work on arrays in memory.
FUNCTIONS = {
    "dq_init": ("jwst.dq_init.dq_initialization", "do_dqinit"),
    "saturation": ("jwst.saturation.saturation", "flag_saturated_pixels"),
    "superbias": ("jwst.superbias.bias_sub", "subtract_bias"),
    "refpix": ("jwst.refpix.reference_pixels", "correct_model"),
    "linearity": ("jwst.linearity.linearity", "linearity_correction"),
    "dark": ("stcal.dark_current.dark_sub", "do_correction_data"),
    "jump": ("jwst.jump.jump_step", "detect_jumps_data"),
    "ramp_fit": ("stcal.ramp_fitting.ramp_fit", "ramp_fit_data"),
    "emicorr": ("jwst.emicorr.emicorr", "apply_emicorr"),
    "charge_migration": ("jwst.charge_migration.charge_migration", "charge_migration"),
    "persistence": ("jwst.persistence.persistence", "DataSet.do_all"),
    "clean_flicker_noise": ("jwst.clean_flicker_noise.clean_flicker_noise", "do_correction"),
    "picture_frame": ("jwst.picture_frame.picture_frame_step", "correct_picture_frame"),
    "refpix, IRS2": ("jwst.refpix.irs2_subtract_reference", "correct_model"),
}
_STRUN = "import sys; from stpipe._cli.strun import main; sys.exit(main())"


def run_pipeline(case, repeats):
    """Run the peer's pipeline on a case of `benchmarks.shapes` in another process.

    Returns
    -------
    dict
        ``pipeline``: seconds of every run; ``peak``: largest resident memory of the process [bytes]; ``kernels``: by
        name, ``seconds`` of every run and ``peak``, the growth of resident memory [bytes].
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [case.raw, folder, json.dumps(case.steps), repeats]
        return _run("pipeline", arguments, case.environment)


def run_casertano(arrays, repeats):
    """Run the peer's fit on what `benchmarks.ours.resultants` gives, in another process.

    Returns
    -------
    dict
        By "without jumps" and "with jumps": ``seconds`` of every run and ``peak``, the growth of resident memory
        [bytes]; ``peak`` of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        np.savez(path, **arrays)
        return _run("casertano", [path, repeats], {})


def _run(what, arguments, environment):
    """Run this module with a file for its figures; returns them."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.peer", what, *map(str, arguments), str(result)]
        finished = run_process(command, environment)
        return json.loads(result.read_text()) | {"peak": finished.peak}


def strun_command(case, output_folder):
    """The peer's command line."""
    return [
        sys.executable,
        "-c",
        _STRUN,
        "jwst.pipeline.Detector1Pipeline",
        str(case.raw),
        f"--output_dir={output_folder}",
    ]


def _watch(name, module, function, figures):
    """Put a clock around a function of a module, or a method of a class in it."""
    *classes, function = function.split(".")
    owner = importlib.import_module(module)
    for one in classes:
        owner = getattr(owner, one)
    original = getattr(owner, function)

    def watched(*arguments, **keywords):
        seconds = []

        def call():
            start = time.perf_counter()
            result = original(*arguments, **keywords)
            seconds.append(time.perf_counter() - start)
            return result

        result, peak = peak_growth(call)
        found = figures.setdefault(name, {"seconds": [], "peak": 0})
        found["seconds"] += seconds
        found["peak"] = max(found["peak"], peak)
        return result

    setattr(owner, function, watched)


def _time_pipeline(raw, folder, steps, repeats):
    from jwst.pipeline import Detector1Pipeline

    kernels, seconds, runs = {}, [], 1 + int(repeats)
    for name, (module, function) in FUNCTIONS.items():
        _watch(name, module, function, kernels)
    # The first run, which imports and fills caches, does not count.
    for number in range(runs):
        start = time.perf_counter()
        Detector1Pipeline.call(raw, save_results=True, output_dir=f"{folder}/{number}", steps=json.loads(steps))
        seconds.append(time.perf_counter() - start)
    for found in kernels.values():
        found["seconds"] = found["seconds"][len(found["seconds"]) // runs :]
    return {"pipeline": seconds[1:], "kernels": kernels}


def _time_casertano(path, repeats):
    from stcal.ramp_fitting.ols_cas22_fit import fit_ramps_casertano

    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored}
    arrays["read_pattern"] = arrays["read_pattern"].tolist()
    arrays["read_time"] = float(arrays["read_time"])
    arrays["dq"] = arrays["dq"].astype(np.int32)
    found = {}
    for name, use_jump in (("without jumps", False), ("with jumps", True)):
        call = partial(fit_ramps_casertano, **arrays, use_jump=use_jump)
        _, peak = peak_growth(call)
        found[name] = {"seconds": times(call, int(repeats)), "peak": peak}
    return found


if __name__ == "__main__":
    what, *arguments, result = sys.argv[1:]
    figures = {"pipeline": _time_pipeline, "casertano": _time_casertano}[what](*arguments)
    Path(result).write_text(json.dumps(figures))

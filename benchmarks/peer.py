"""The peer: its pipeline in a process of its own, with a clock around each of its functions on arrays.

``python -m benchmarks.peer RAW OUTPUT_FOLDER REPEATS RESULT`` runs the pipeline and writes the figures to a JSON file.
"""

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import peak_growth, run_process

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
}
_STRUN = "import sys; from stpipe._cli.strun import main; sys.exit(main())"


def run_pipeline(case, repeats):
    """Run the peer's pipeline on a case of `benchmarks.shapes` in another process.

    Returns
    -------
    dict
        ``pipeline``: seconds of every run; ``kernels``: by name, ``seconds`` of every run and ``peak``, the growth
        of resident memory [bytes].
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "figures.json"
        arguments = [str(case.raw), folder, str(repeats), str(result)]
        run_process([sys.executable, "-m", "benchmarks.peer", *arguments], case.environment)
        return json.loads(result.read_text())


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
    """Put a clock around a function of a module."""
    module = importlib.import_module(module)
    original = getattr(module, function)

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

    setattr(module, function, watched)


def _main(raw, folder, repeats, result):
    from jwst.pipeline import Detector1Pipeline

    kernels, seconds = {}, []
    for name, (module, function) in FUNCTIONS.items():
        _watch(name, module, function, kernels)
    # The first run, which imports and fills caches, does not count.
    for _ in range(1 + int(repeats)):
        start = time.perf_counter()
        Detector1Pipeline.call(raw, save_results=True, output_dir=folder)
        seconds.append(time.perf_counter() - start)
    for found in kernels.values():
        found["seconds"] = found["seconds"][len(found["seconds"]) // (1 + int(repeats)) :]
    Path(result).write_text(json.dumps({"pipeline": seconds[1:], "kernels": kernels}))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""The command ``upramp demo``: simulate an exposure, calibrate it with ``strun``, compare with the truth."""

import argparse
import contextlib
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from upramp.demo.measures import CLEAR_HIT, Calibration, count_cosmic_rays, measure_slopes
from upramp.demo.strun_run import run_strun
from upramp.framework.strun import COMPILE_MESSAGE
from upramp.simulate import (
    SimulationConfig,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
    write_truth,
)
from upramp.simulate.headers import exposure_name

__all__ = ["main"]

_EPILOG = """
FOLDER then holds the raw exposure (*_uncal.fits), the truth (*_truth.fits), the references and a CRDS cache that
selects them, the products (*_rate.fits, *_rateints.fits, *_ramp.fits), the log (strun.log) and the picture (*.png).
Files of an earlier demo are replaced.
"""
_STARS_PER_MEGAPIXEL = 300
_LEAST_COSMIC_RAYS = 200  # to be expected in the exposure


def _parser():
    parser = argparse.ArgumentParser(
        prog="upramp demo",
        description="Simulate a NIRCam exposure, calibrate it with strun, and compare the slopes with the truth.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("upramp_demo"), metavar="FOLDER", help="[./upramp_demo]")
    add("--subarray", default="SUB640", help="name of the NIRCam subarray [%(default)s]")
    add("--nints", type=int, default=2, metavar="N", help="integrations [%(default)s]")
    add("--ngroups", type=int, default=10, metavar="N", help="groups per integration, at least 3 [%(default)s]")
    add("--seed", type=int, default=1, metavar="N", help="seed of sky and noise [%(default)s]")
    add(
        "--schedule",
        choices=("auto", "stepwise"),
        default="auto",
        help="stepwise: the time of every step, instead of one pass through the data [%(default)s]",
    )
    return parser


def _configuration(arguments):
    """A field of stars with cosmic rays, more of them than there are where the exposure is short.

    The interior subarrays have no reference pixels, so nothing could take away drifts of the amplifiers and 1/f noise;
    they are off.
    """
    mode = {name: getattr(arguments, name) for name in ("subarray", "nints", "ngroups", "seed")}
    config = SimulationConfig(star_flux=(100.0, 3.0e4), **mode).without("refpix", "one-over-f")
    ny, nx = config.geometry.shape
    seconds = config.nints * config.frames_per_integration * config.frame_time
    return replace(
        config,
        star_count=max(12, round(_STARS_PER_MEGAPIXEL * ny * nx / 1e6)),
        cosmic_ray_rate=max(config.cosmic_ray_rate, _LEAST_COSMIC_RAYS / (ny * nx * seconds)),
    )


def _simulate(config, folder):
    """Write exposure, truth, references and the cache; returns the path of the raw exposure."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / exposure_name(config)
    exposure = simulate_exposure(config)
    references = make_references(config, folder / "references", overwrite=True)
    shutil.rmtree(folder / "crds", ignore_errors=True)
    build_crds_cache(folder / "crds", sorted(references.values()), link=True)
    write_truth(exposure, stem.with_name(f"{stem.name}_truth.fits"), overwrite=True)
    return write_exposure(exposure, stem.with_name(f"{stem.name}_uncal.fits"), overwrite=True)


class _Display:
    """One line of progress per stage."""

    def __init__(self, console):
        columns = SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn()
        self._console = console
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *exception):
        self._progress.stop()

    @contextlib.contextmanager
    def stage(self, text):
        """Show a stage while it lasts; yields a function that says what it is doing."""
        task = self._progress.add_task(text, total=1)
        self._say(text)

        def tell(detail):
            self._progress.update(task, description=f"{text}: [yellow]{detail}[/]")
            self._say(detail)

        yield tell
        self._progress.update(task, description=text, completed=1)

    def _say(self, text):
        """A line of its own where lines cannot be redrawn, as in a log."""
        if not self._console.is_terminal:
            self._console.print(text, highlight=False)


def _calibrate(display, raw, folder, schedule):
    """Run strun, twice if it had to compile; returns the runs."""
    arguments = ["calwebb_detector1", str(raw), f"--output_dir={folder}", "--save_calibrated_ramp=true"]
    if schedule != "auto":
        arguments.append(f"--schedule={schedule}")
    runs = []
    for text in ("Calibrating: strun calwebb_detector1", "Calibrating again, with compiled kernels"):
        with display.stage(text) as tell:

            def show(message, tell=tell):
                if message == COMPILE_MESSAGE:
                    tell(message)

            runs.append(run_strun(arguments, folder / "crds", folder / "strun.log", show))
        if not runs[-1].compiled:
            break
    return runs


def _draw(display, calibration, stem, mode):
    """Draw the picture; returns its path, None without matplotlib."""
    if find_spec("matplotlib") is None:
        return None
    from upramp.demo.picture import draw

    path = stem.with_name(f"{stem.name}.png")
    with display.stage("Drawing"):
        draw(calibration, path, f"{mode}: simulated, and calibrated by upramp")
    return path


def _summary(runs, rays, slopes):
    table = Table(show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    add, first, last = table.add_row, runs[0], runs[-1]
    if first.compiled:
        add("strun, first run", f"{first.seconds:.1f} s", "with compiling")
    if not last.compiled:
        add("strun, compiled", f"{last.seconds:.2f} s", "the whole process")
    add("  start", f"{last.seconds - last.calibration_seconds:.2f} s", "imports, parameters, references from CRDS")
    note = "step by step" if last.schedule == "stepwise" else "all steps in one pass, file to files"
    add("  calibration", f"{last.calibration_seconds:.2f} s", note)
    for name, seconds in last.step_seconds.items() if last.schedule == "stepwise" else ():
        add(f"    {name}", f"{seconds:.2f} s", "")
    table.add_section()
    add("cosmic rays injected", f"{rays.injected:,}", f"{rays.visible:,} of them between two usable groups")
    add("  found", f"{rays.found:,}", f"{rays.completeness:.1%} of {rays.clear:,} above {CLEAR_HIT:g} sigma")
    add("  flagged groups", f"{rays.flagged:,}", f"{rays.purity:.1%} in or beside a pixel that was hit")
    rate = f"1 in {rays.samples // rays.false:,} groups" if rays.false else f"of {rays.samples:,} groups"
    add("  false", f"{rays.false:,}", f"{rate}: noise above the threshold of the jump step")
    table.add_section()
    add("pixels with a slope", f"{slopes.used:,}", f"true rate {slopes.mean_rate:.2f} DN/s in the mean")
    add("  bias", f"{slopes.bias:+.4f} DN/s", f"mean of slope - truth, ± {slopes.bias_error:.4f}")
    add("  pull", f"{slopes.pull_median:+.3f} ± {slopes.pull_std:.3f}", "(slope - truth) / error; ideal 0 ± 1")
    return table


def main(argv):
    """Run the command.

    Parameters
    ----------
    argv : list of str
        Arguments after ``upramp demo``.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ConfigError
        An option has a value outside its range.
    StrunError
        The calibration failed.
    """
    arguments = _parser().parse_args(argv)
    config = _configuration(arguments)
    folder = arguments.folder.resolve()
    console = Console()
    ny, nx = config.geometry.shape
    mode = f"NIRCam {config.subarray}, {config.nints} x {config.ngroups} x {ny} x {nx}"
    with _Display(console) as display:
        with display.stage(f"Simulating {mode}"):
            raw = _simulate(config, folder)
        runs = _calibrate(display, raw, folder, arguments.schedule)
        stem = raw.with_name(raw.name.removesuffix("_uncal.fits"))
        with display.stage("Comparing with the truth"):
            calibration = Calibration.read(stem)
            rays, slopes = count_cosmic_rays(calibration), measure_slopes(calibration)
        picture = _draw(display, calibration, stem, mode)
    console.print(_summary(runs, rays, slopes))
    for suffix in ("rate", "rateints", "ramp"):
        console.print(f"Product: {stem}_{suffix}.fits", soft_wrap=True, highlight=False)
    if picture is None:
        console.print("No picture: it needs matplotlib; 'pip install matplotlib' gets it.", highlight=False)
    else:
        console.print(f"Picture: {picture}", soft_wrap=True, highlight=False)
    return 0

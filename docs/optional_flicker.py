"""Measure how much 1/f noise clean_flicker_noise leaves, and write the table and the picture of docs/optional_steps.md.

    python docs/optional_flicker.py

Exposures are simulated with and without 1/f noise, the same in everything else. What is left in the rates is the
difference from the rates without noise that nobody has cleaned. Takes a minute or two.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from measured import colours_of, images_and_plots, methods_table, put_into_page

from upramp.pipelines import Detector1Pipeline
from upramp.simulate import SimulationConfig, build_crds_cache, make_references, simulate_exposure, write_exposure

HERE = Path(__file__).parent
AMPLITUDES = (0.0, 3.0, 10.0, 20.0)
SHOWN = 10.0
_ONE = {"nints": 1, "ngroups": 10, "refpix_offset": 0.0}
_NIRCAM = _ONE | {"detector": "NRCBLONG"}
EXPOSURES = {
    "NIRCam SUB640, no stars": SimulationConfig(**_NIRCAM, subarray="SUB640", star_count=0),
    "NIRCam SUB640, 800 stars": SimulationConfig(**_NIRCAM, subarray="SUB640", star_count=800),
    "NIRCam SUB160, 50 stars": SimulationConfig(**_NIRCAM, subarray="SUB160", star_count=50),
    "NIRISS SUB256, 50 stars": SimulationConfig(**_ONE, detector="NIS", subarray="SUB256", star_count=50),
    "NIRSpec SUB512": SimulationConfig(**_ONE, detector="NRS1", subarray="SUB512", star_count=0),
}
PICTURED = "NIRCam SUB640, 800 stars"
METHODS = {
    "median": {},
    "`n_sigma=4`": {"n_sigma": 4.0},
    "background `model`": {"background_method": "model"},
    "background `None`": {"background_method": None},
    "fft": {"fit_method": "fft"},
}
FREQUENCIES = "NIRSpec SUB512"  # the only exposure here that frequencies can be fitted to


def make_cache(folder):
    """A cache with the references of all exposures, which the pipelines use from now on."""
    references = {}
    for config in {replace(one, star_count=0) for one in EXPOSURES.values()}:
        made = make_references(config, folder / f"{config.detector}-{config.subarray}").values()
        references |= {path.name: path for path in made}  # parameters serve a whole detector
    build_crds_cache(folder / "crds", references.values(), link=True)
    os.environ["CRDS_PATH"] = str(folder / "crds")


def rates(folder, config, cleaning=None):
    """Rates of an exposure and their errors [DN/s]; with parameters of clean_flicker_noise if it is to run."""
    path = write_exposure(simulate_exposure(config), folder / "x_uncal.fits")
    steps = {"ipc": {"skip": True}}
    if cleaning is not None:
        steps["clean_flicker_noise"] = {"skip": False} | cleaning
    result = Detector1Pipeline(steps=steps).run(str(path))
    path.unlink()
    return result.data.astype(float), result.err.astype(float)


def scatter(difference, config):
    """Scatter of the medians of lines [DN/s]."""
    along = 1 if config.detector.startswith("NRC") else 0  # lines of NIRCam are rows of the image
    return float(np.std(np.nanmedian(difference, axis=along)))


def left(folder, name, amplitude):
    """Scatter from line to line [DN/s] by method, "before" without cleaning; and the "error" of a pixel."""
    config = replace(EXPOSURES[name], one_over_f=amplitude)
    truth, error = rates(folder, replace(config, one_over_f=0.0))
    found = {"error": float(np.nanmedian(error)), "before": scatter(rates(folder, config)[0] - truth, config)}
    for method, pars in METHODS.items():
        if method != "fft" or name == FREQUENCIES:
            found[method] = scatter(rates(folder, config, pars)[0] - truth, config)
    return found


def images(folder):
    """Rates without noise, with it, and cleaned."""
    config = replace(EXPOSURES[PICTURED], one_over_f=SHOWN)
    runs = (replace(config, one_over_f=0.0), None), (config, None), (config, {})
    return [rates(folder, *run)[0] for run in runs]


def picture(shown_images, measures):
    """Rate images, and what is left against the amplitude."""
    middles = [np.nanmedian(image) for image in shown_images]
    reach = 4 * np.nanmedian(np.abs(shown_images[1] - middles[1]))
    corners = [image[:200, :200] - middle for image, middle in zip(shown_images, middles, strict=True)]
    titles = "no 1/f noise", f"{SHOWN:g} DN", "after clean_flicker_noise"
    figure, axes = images_and_plots(corners, titles, reach, "DN/s from the median", n_plots=2, width=15)
    for axis, name in zip(axes, (PICTURED, FREQUENCIES), strict=True):
        for method, colour in colours_of(METHODS).items():
            if method in measures[name, SHOWN]:
                heights = [measures[name, a][method] or np.nan for a in AMPLITUDES]
                axis.plot(AMPLITUDES, heights, "o-", color=colour, label=method.replace("`", ""), ms=4)
        axis.axhline(measures[name, SHOWN]["error"], color="k", ls=":", lw=1, label="error of a pixel")
        axis.set(title=name, xlabel="amplitude [DN]", ylabel="scatter from line to line [DN/s]")
        axis.set(yscale="log", ylim=(None, 2 * max(measures[name, a]["before"] for a in AMPLITUDES)))
        axis.legend(fontsize="x-small")
    figure.savefig(HERE / "optional_flicker.png", dpi=110)


def table(measures):
    """What `left` found of each exposure at each amplitude."""
    heading = "exposure (error of a pixel), amplitude"
    return methods_table(
        heading, METHODS, measures, lambda key, found: f"{key[0]} ({found['error']:.1f}), {key[1]:g} DN"
    )


def main():
    """Write table and picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_cache(folder)
        measures = {(exposure, a): left(folder, exposure, a) for exposure in EXPOSURES for a in AMPLITUDES}
        picture(images(folder), measures)
    put_into_page(HERE / "optional_steps.md", "1/f noise", table(measures))


if __name__ == "__main__":
    main()

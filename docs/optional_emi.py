"""Measure how much interference emicorr leaves, and write the table and the picture of docs/optional_steps.md.

    python docs/optional_emi.py

Exposures of MIRI are simulated with and without interference, the same in everything else, and both are calibrated;
what is left is their difference. Takes about half a minute.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from measured import colours_of, images_and_plots, methods_table, put_into_page

from upramp.models import RampModel
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import SimulationConfig, make_references, simulate_exposure, write_exposure
from upramp.steps import EmiCorrStep

HERE = Path(__file__).parent
AMPLITUDES = (1.0, 3.0, 10.0, 30.0)
SHOWN = 10.0
EXPOSURE = {"detector": "MIRIMAGE", "subarray": "SUB64", "nints": 2, "ngroups": 20, "star_count": 4}
METHODS = {
    "joint": {},
    "joint, every integration by itself": {"fit_ints_separately": True},
    "sequential, reference wave": {"algorithm": "sequential"},
    "sequential, 390.625 Hz on the fly": {"onthefly_corr_freq": [390.625]},
}
GROUPS = (20, 5)


def straightened(ramps):
    """Samples without what a constant level and a slope of each pixel and integration take of them."""
    ngroups = ramps.shape[1]
    lines = np.linalg.qr(np.stack([np.ones(ngroups), np.arange(ngroups)], axis=1))[0]
    return ramps - np.einsum("gk,hk,ihyx->igyx", lines, lines, ramps)


def exposures(folder, config):
    """Files with and without interference, and the references."""
    folder.mkdir()
    with_emi = write_exposure(simulate_exposure(config), folder / "with_uncal.fits")
    without = write_exposure(simulate_exposure(replace(config, emi=0.0)), folder / "without_uncal.fits")
    return with_emi, without, make_references(config, folder / "references")


def left(folder, amplitude, ngroups):
    """Scatter that interference adds to the samples of straightened ramps [DN]: before, and after each method."""
    config = SimulationConfig(**EXPOSURE | {"ngroups": ngroups}, emi=amplitude)
    with_emi, without, references = exposures(folder / f"{amplitude}-{ngroups}", config)
    clean = RampModel(without).data.astype(float)
    found = {"before": float(np.std(straightened(RampModel(with_emi).data - clean)))}
    for name, pars in METHODS.items():
        corrected = EmiCorrStep(override_emicorr=str(references["emicorr"]), **pars).run(str(with_emi))
        found[name] = float(np.std(straightened(corrected.data - clean)))
    return found


def rates(folder):
    """Rate images: without interference, with it, and corrected."""
    config = SimulationConfig(**EXPOSURE | {"nints": 1}, emi=SHOWN)
    with_emi, without, references = exposures(folder / "rates", config)
    images = []
    for raw, skip in ((without, True), (with_emi, True), (with_emi, False)):
        steps = {}
        for key, step in Detector1Pipeline.step_defs.items():
            kinds = [kind for kind in step.reference_file_types if kind in references]
            steps[key] = {f"override_{kind}": str(references[kind]) for kind in kinds}
        steps["ipc"]["skip"] = True
        steps["saturation"]["override_superbias"] = "N/A"  # MIRI has none
        steps["emicorr"]["skip"] = skip
        images.append(Detector1Pipeline(steps=steps).run(str(raw)).data)
    return images


def picture(images, measures):
    """Rate images, and what is left against the amplitude."""
    middle = float(np.nanmedian(images[0]))
    reach = 3 * float(np.nanstd(images[1][np.abs(images[1] - middle) < 50]))
    titles = "no interference", f"{SHOWN:g} DN at 390.625 Hz", "after emicorr"
    shown = [image - middle for image in images]
    figure, (axis,) = images_and_plots(shown, titles, reach, "DN/s from the median", n_plots=1, width=12.5)
    for style, ngroups in zip(("o-", "s--"), GROUPS, strict=True):
        for name, colour in colours_of(METHODS).items():
            heights = [measures[a, ngroups][name] for a in AMPLITUDES]
            label = name if ngroups == GROUPS[0] else None
            axis.plot(AMPLITUDES, heights, style, color=colour, label=label, ms=4)
    axis.set(xscale="log", yscale="log", xlabel="amplitude [DN]", ylabel="left in straight ramps, rms [DN]")
    axis.set_title(f"solid: {GROUPS[0]} groups, dashed: {GROUPS[1]}", fontsize="small")
    axis.legend(fontsize="x-small")
    figure.savefig(HERE / "optional_emi.png", dpi=110)


def main():
    """Write table and picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measures = {(a, n): left(folder, a, n) for n in GROUPS for a in AMPLITUDES}
        picture(rates(folder), measures)
    text = methods_table("amplitude, groups", METHODS, measures, lambda key, found: f"{key[0]:g} DN, {key[1]}")
    put_into_page(HERE / "optional_steps.md", "interference", text)


if __name__ == "__main__":
    main()

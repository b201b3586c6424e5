"""Measure how well snowballs are flagged, and write the table and the picture of docs/large_events.md.

    python docs/large_events.py

Exposures of one field with snowballs of several sizes are simulated and calibrated with and without the search; flags
are compared with what was simulated. Takes about half a minute.
"""

import re
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

from upramp.pipelines import Detector1Pipeline
from upramp.simulate import (
    SimulationConfig,
    Window,
    make_references,
    measure_snowballs,
    simulate_exposure,
    write_exposure,
)

HERE = Path(__file__).parent
RADII = (2.0, 4.0, 6.0, 9.0)
EXPOSURE = {
    "subarray": "GENERIC",
    "window": Window(513, 513, 400, 400),
    "nints": 2,
    "ngroups": 8,
    "snowballs": 15,
    "cosmic_ray_rate": 3e-6,
    "star_count": 60,
}
HEADINGS = ("mean core radius", "events", "flagged, before", "flagged, after", "found", "flags added", "pure")


def group_flags(folder, config):
    """Group flags without and with the search, and the simulated events."""
    exposure = simulate_exposure(config)
    raw = write_exposure(exposure, folder / "x_uncal.fits")
    references = make_references(config, folder / "references")
    flags = []
    for search in (False, True):
        steps = {}
        for key, step in Detector1Pipeline.step_defs.items():
            kinds = [kind for kind in step.reference_file_types if kind in references]
            steps[key] = {f"override_{kind}": str(references[kind]) for kind in kinds}
        steps["ipc"]["skip"] = True
        steps["jump"]["expand_large_events"] = search
        out = folder / f"search-{search}"
        out.mkdir()
        pipeline = Detector1Pipeline(steps=steps, save_calibrated_ramp=True, save_results=True, output_dir=str(out))
        pipeline.run(str(raw))
        flags.append(fits.getdata(out / "x_ramp.fits", "GROUPDQ"))
    return *flags, exposure.truth.snowballs


def table(measures):
    """The results in Markdown."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    for radius, m in measures.items():
        cells = (
            f"{radius} px",
            f"{m.n_events}",
            f"{m.coverage_before:.0%}",
            f"{m.coverage:.0%}",
            f"{m.completeness:.0%}",
            f"{m.n_added}",
            f"{m.purity:.0%}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(before, after, event, path):
    """Flags of one group around an event, before and after."""
    i, k = event["integration"], event["group"]
    half = int(3 * event["halo_radius"])
    y, x = int(event["y"]), int(event["x"])
    box = np.s_[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
    for axis, flags, title in zip(axes, (before, after), ("jumps", "with the search for snowballs"), strict=True):
        plane = flags[i, k][box]
        image = np.where(plane & 2, 2, np.where(plane & 4, 1, 0))
        axis.imshow(image, cmap="viridis", vmin=0, vmax=2, origin="lower", interpolation="nearest")
        angle = np.linspace(0, 2 * np.pi, 200)
        for radius in (event["core_radius"], event["halo_radius"]):
            centre = event["x"] - box[1].start, event["y"] - box[0].start
            axis.plot(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), "w--", lw=0.8)
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=110)


def main():
    measures = {}
    for radius in RADII:
        with tempfile.TemporaryDirectory() as folder:
            before, after, events = group_flags(Path(folder), SimulationConfig(snowball_radius=radius, **EXPOSURE))
        measures[radius] = measure_snowballs(events, before, after)
        if radius == 6.0:
            inside = (np.abs(events["y"] - 200) < 140) & (np.abs(events["x"] - 200) < 140)
            event = events[inside][0]
            picture(before, after, event, HERE / "large_events.png")
    page = HERE / "large_events.md"
    text = re.sub(
        r"(<!-- measured -->\n).*(<!-- end -->)", rf"\g<1>\n{table(measures)}\n\n\g<2>", page.read_text(), flags=re.S
    )
    page.write_text(text)


if __name__ == "__main__":
    main()

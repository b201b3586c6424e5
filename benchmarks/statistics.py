"""``python -m benchmarks.statistics``: how good slopes and jumps are; writes docs/statistics.md and its pictures."""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.ramp_statistics import JUMP_METHODS, SLOPE_METHODS, Detector, jump_quality, slope_quality

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["main"]

DOCS = Path(__file__).parents[1] / "docs"
CHARGES = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 9000)
HEIGHTS = (2, 3, 4, 5, 6, 7, 8, 10)
JUMP_CHARGES = (1, 100, 5000)
_COLOURS = {
    "least squares": "#0072b2",
    "two-point differences": "#0072b2",
    "likelihood": "#d55e00",
    "Casertano": "#009e73",
}

PAGE = """# How good slopes and jumps are

Simulated ramps with known truth: {ngroups} groups, one read each, read noise {noise:g} e-, gain {gain:g} e-/DN, Poisson
arrivals, {count} ramps for every point. Made by `python -m benchmarks.statistics` (seed fixed);
`tests/kernels/test_statistics.py` holds the kernels to it with fewer ramps. No jumps are looked for in the first two
sections.

## Bias and pulls of the slopes

Bias in units of the scatter of a single slope (its own uncertainty is {uncertainty:.4f}); pulls,
(slope - truth) / error, by half the width of their central 68 %, which is 1 for honest errors.

![bias and pulls](statistics/slopes.png)

{slopes}

All methods take the covariance, or the weights, from the ramp that they fit. Least squares and Casertano choose among
six weights by the last sample minus the first one. Near 10 e- per group the choice changes from ramp to ramp, at the
cost of a bias of one hundredth of the scatter, which averaging many ramps does not remove. The median of all
differences, from which the likelihood takes its covariance, shows none.

## Variance against the Cramer-Rao bound

Least variance of an unbiased slope from the differences over that of the method; 1 is ideal (to {efficiency:.3f}).

![efficiency](statistics/efficiency.png)

## Jumps

A hit between two groups adds a charge of some standard deviations of a difference. Completeness is the part of the hits
whose difference is not used in the fit afterwards; false alarms are jumps found per difference in ramps without hits.
Thresholds are the defaults: 4 sigma for differences, a gain in chi-squared of 20.25 for the likelihood, 5.5 falling to
4.2 sigma for Casertano.

![completeness](statistics/jumps.png)

{jumps}

The likelihood knows that neighbouring differences share the read noise of a group. For faint sources it finds hits
that single differences miss. For bright sources photon noise rules and the differences are independent: there the
methods differ by their thresholds, and those that find more hits raise more false alarms.
"""


def _table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _save(figure, folder, name):
    figure.tight_layout()
    figure.savefig(folder / name, dpi=80)
    plt.close(figure)


def _slope_pictures(folder, results, bound_uncertainty):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for method, line in results.items():
        charges = [one.charge for one in line]
        axes[0].plot(charges, [one.bias / one.scatter for one in line], ".-", color=_COLOURS[method], label=method)
        axes[1].plot(charges, [one.pull_scatter for one in line], ".-", color=_COLOURS[method])
    for axis, label, value in ((axes[0], "bias / scatter", 0), (axes[1], "width of the pulls", 1)):
        axis.set(xscale="log", xlabel="charge per group [e-]", ylabel=label)
        axis.axhline(value, color="#888888", lw=0.8)
    axes[0].legend(frameon=False)
    _save(figure, folder, "slopes.png")
    figure, axis = plt.subplots(figsize=(5, 3.4))
    for method, line in results.items():
        efficiency = [one.efficiency for one in line]
        axis.errorbar(
            [one.charge for one in line], efficiency, bound_uncertainty, fmt=".-", color=_COLOURS[method], label=method
        )
    axis.axhline(1, color="#888888", lw=0.8)
    axis.set(xscale="log", xlabel="charge per group [e-]", ylabel="bound / variance", ylim=(0.9, 1.05))
    axis.legend(frameon=False)
    _save(figure, folder, "efficiency.png")


def _jump_picture(folder, by_height, by_group):
    figure, axes = plt.subplots(2, len(JUMP_CHARGES), figsize=(9, 5.4), sharey=True)
    for column, charge in enumerate(JUMP_CHARGES):
        for method in JUMP_METHODS:
            axes[0, column].plot(HEIGHTS, by_height[method, charge], ".-", color=_COLOURS[method], label=method)
            groups = np.arange(1, len(by_group[method, charge]) + 1)
            axes[1, column].plot(groups, by_group[method, charge], ".-", color=_COLOURS[method])
        axes[0, column].set(title=f"{charge} e- per group", xlabel="height [sigma], in group 5")
        axes[1, column].set(xlabel="group of a hit of 5 sigma", ylim=(0, 1.03))
    for row in axes:
        row[0].set_ylabel("completeness")
    axes[0, 0].legend(frameon=False, fontsize=8)
    _save(figure, folder, "jumps.png")


def main(arguments=None):
    """Measure, draw and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("--ramps", type=int, default=100_000, metavar="N", help="per point [default: %(default)s]")
    parser.add_argument("--output", type=Path, default=DOCS, metavar="FOLDER", help="[default: docs]")
    options = parser.parse_args(arguments)
    count, detector = options.ramps, Detector()
    folder = options.output / "statistics"
    folder.mkdir(parents=True, exist_ok=True)
    slopes = {method: [slope_quality(method, c, count) for c in CHARGES] for method in SLOPE_METHODS}
    _slope_pictures(folder, slopes, np.sqrt(2 / count))
    rows = [
        [f"{line[0].charge:g}", *(f"{q.bias / q.scatter:+.4f}, {q.pull_scatter:.3f}, {q.efficiency:.3f}" for q in line)]
        for line in zip(*slopes.values(), strict=True)
    ]
    slope_table = _table(["e- per group", *(f"{method}: bias, pull, efficiency" for method in slopes)], rows)
    few = max(count // 10, 100)
    by_height, by_group, rows = {}, {}, []
    for method in JUMP_METHODS:
        alarms = [jump_quality(method, c, 0, 5, count).false_alarms for c in JUMP_CHARGES]
        rows.append([method, *(f"{one:.1e}" for one in alarms)])
        for charge in JUMP_CHARGES:
            by_height[method, charge] = [jump_quality(method, charge, h, 5, few).completeness for h in HEIGHTS]
            groups = range(1, detector.ngroups)
            by_group[method, charge] = [jump_quality(method, charge, 5, g, few).completeness for g in groups]
    _jump_picture(folder, by_height, by_group)
    jump_table = _table(["false alarms per difference", *(f"{c} e- per group" for c in JUMP_CHARGES)], rows)
    page = PAGE.format(
        ngroups=detector.ngroups, noise=detector.read_noise, gain=detector.gain, count=count, slopes=slope_table,
        jumps=jump_table, uncertainty=1 / np.sqrt(count), efficiency=np.sqrt(2 / count),
    )  # fmt: skip
    (options.output / "statistics.md").write_text(page)


if __name__ == "__main__":
    main()

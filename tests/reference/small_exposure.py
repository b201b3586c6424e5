"""A small simulated exposure with references, for tests that run steps or the pipeline without CRDS."""

from dataclasses import dataclass
from pathlib import Path

from upramp.simulate import (
    ReferenceDefects,
    SimulationConfig,
    Window,
    make_references,
    simulate_exposure,
    write_exposure,
)

__all__ = ["SmallExposure", "make_small_exposure"]

DEFECTS = ReferenceDefects(nan_bias=0.02, nan_gain=0.02, negative_gain=0.02, no_lin_corr=0.02, no_sat_check=0.02)

# Which step gets which reference from the user; the override of one reaches every step of the run.
OVERRIDES = {
    "dq_init": ("mask",),
    "saturation": ("saturation", "superbias"),
    "superbias": ("superbias",),
    "linearity": ("linearity",),
    "dark_current": ("dark",),
    "reset": ("reset",),
    "rscd": ("rscd",),
    "jump": ("gain", "readnoise"),
    "ramp_fit": ("gain", "readnoise"),
    "gain_scale": ("gain",),
}


@dataclass(frozen=True)
class SmallExposure:
    """An exposure on disk, ``x_uncal.fits``, and its references by type."""

    config: SimulationConfig
    path: Path
    references: dict

    def of(self, step):
        """Parameters that give a step its references."""
        return {f"override_{reftype}": str(self.references.get(reftype, "N/A")) for reftype in OVERRIDES.get(step, ())}

    def steps(self, **changes):
        """Parameters of all steps of the pipeline; ``changes`` are further ones, by step."""
        steps = {step: self.of(step) for step in OVERRIDES} | {"ipc": {"skip": True}}
        for step, pars in changes.items():
            steps[step] = steps.get(step, {}) | pars
        return steps

    def options(self):
        """The same for the command line."""
        return [f"--steps.{step}.{key}={value}" for step, pars in self.steps().items() for key, value in pars.items()]


def make_small_exposure(folder, **changes):
    """Simulate 2 integrations of 6 groups of a (12, 16) window with bad pixels; ``changes`` to the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"subarray": "GENERIC", "window": Window(945, 945, 16, 12), "ngroups": 6, "dead_fraction": 0.03}
    values |= {"star_count": 3, "star_flux": (5e4, 2e6), "cosmic_ray_rate": 1e-2}
    config = SimulationConfig(**(values | changes))
    exposure = simulate_exposure(config)
    references = make_references(config, folder / "references", defects=DEFECTS)
    return SmallExposure(config, write_exposure(exposure, folder / "x_uncal.fits"), references)

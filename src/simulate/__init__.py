"""Exposures with known truth: raw files, the matching reference files, and a CRDS cache that selects them."""

from upramp.simulate.config import EFFECTS, SimulationConfig
from upramp.simulate.crds_cache import build_crds_cache
from upramp.simulate.detectors import Window
from upramp.simulate.exposure import Exposure, Truth, simulate_exposure
from upramp.simulate.files import write_exposure, write_truth
from upramp.simulate.references import NO_DEFECTS, ReferenceDefects, make_references

__all__ = [
    "EFFECTS",
    "NO_DEFECTS",
    "Exposure",
    "ReferenceDefects",
    "SimulationConfig",
    "Truth",
    "Window",
    "build_crds_cache",
    "make_references",
    "simulate_exposure",
    "write_exposure",
    "write_truth",
]

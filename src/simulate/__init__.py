"""Exposures with known truth: raw files, the matching reference files, and a CRDS cache that selects them."""

from upramp.simulate.config import EFFECTS, SimulationConfig
from upramp.simulate.crds_cache import build_crds_cache
from upramp.simulate.detectors import Window
from upramp.simulate.exposure import Exposure, Truth, simulate_exposure
from upramp.simulate.files import write_exposure, write_truth
from upramp.simulate.image_references import IMAGE_INSTRUMENTS, make_image_references
from upramp.simulate.large_events import SnowballMeasures, measure_snowballs
from upramp.simulate.references import NO_DEFECTS, ReferenceDefects, make_references
from upramp.simulate.scene import SNOWBALL_DTYPE

__all__ = [
    "EFFECTS",
    "IMAGE_INSTRUMENTS",
    "NO_DEFECTS",
    "SNOWBALL_DTYPE",
    "Exposure",
    "ReferenceDefects",
    "SimulationConfig",
    "SnowballMeasures",
    "Truth",
    "Window",
    "build_crds_cache",
    "make_image_references",
    "make_references",
    "measure_snowballs",
    "simulate_exposure",
    "write_exposure",
    "write_truth",
]

"""A simulated exposure with its files, shared by the tests of this room."""

import shutil
from types import SimpleNamespace

import pytest

from upramp.simulate import (
    SimulationConfig,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
    write_truth,
)


@pytest.fixture
def large_tmp_path(tmp_path):
    """A folder for hundreds of megabytes: removed at once, while pytest keeps those of its last runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """SUB160 exposure, truth, references and CRDS cache on disk."""
    folder = tmp_path_factory.mktemp("simulated")
    # Neither drifts nor 1/f: a square subarray has no reference pixels to take them out.
    config = SimulationConfig(nints=3, zero_frame=True, cosmic_ray_rate=3e-5).without("refpix", "one-over-f")
    exposure = simulate_exposure(config)
    references = make_references(config, folder / "references")
    return SimpleNamespace(
        folder=folder,
        config=config,
        exposure=exposure,
        raw=write_exposure(exposure, folder / "x_uncal.fits"),
        truth=write_truth(exposure, folder / "x_truth.fits"),
        references=references,
        cache=folder / "crds",
        names=build_crds_cache(folder / "crds", references.values()),
    )

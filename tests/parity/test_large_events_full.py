"""Large events in exposures of full size, and a long series, through both pipelines: with ``--all-modes`` only.

The peer needs minutes for them. Smaller cases, which always run, are in `test_large_events`.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.parity.conftest import configuration, miri
from tests.parity.test_detector1_products import arrays_of, check_arrays_where_flags_agree, check_headers
from tests.reference import mode_table

from upramp.simulate import build_crds_cache, make_references, simulate_exposure, write_exposure

pytestmark = pytest.mark.parity

EXPOSURES = {
    "snowballs": configuration(detector="NRCA3", subarray="FULL", ngroups=8, star_count=400, snowballs=40),
    "showers": miri(subarray="FULL", ngroups=12, star_count=200),
    "long-series": configuration(detector="NRCA1", subarray="SUB64P", nints=120, ngroups=5, cosmic_ray_rate=5e-3),
}
PARAMETERS = {
    "snowballs": {"jump": {"expand_large_events": True}},
    "showers": {"jump": {"find_showers": True}},
    "long-series": {},
}
ROWS = {"snowballs": "NIRCam full, snowballs", "showers": "MIRI full, showers", "long-series": "NIRCam long series"}
N_SHOWERS = 60


def add_showers(exposure):
    """Faint extended charge in some groups of every integration, as showers leave it in MIRI."""
    rng = np.random.default_rng(3)
    data = exposure.data.copy()
    n_integrations, n_groups, *frame = data.shape
    y, x = np.indices(frame)
    for _ in range(N_SHOWERS):
        cy, cx = rng.uniform(0, frame)
        a, b = rng.uniform(8, 30, 2)
        inside = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1
        charge = np.uint16(rng.uniform(15, 60))
        i, g = rng.integers(n_integrations), rng.integers(2, n_groups - 1)
        samples = data[i, g:, inside]
        data[i, g:, inside] = np.where(samples < 60000, samples + charge, samples)
    return replace(exposure, data=data)


def pytest_generate_tests(metafunc):
    if "large" in metafunc.fixturenames:
        wanted = EXPOSURES if metafunc.config.getoption("--all-modes", default=False) else []
        metafunc.parametrize("large", list(wanted))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_pipelines):
    """Callable: one exposure through both pipelines; its files are removed at the end of the module."""
    folders = {}

    def run(name):
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            config = EXPOSURES[name]
            exposure = simulate_exposure(config)
            exposure = add_showers(exposure) if name == "showers" else exposure
            write_exposure(exposure, folder / f"{name}_uncal.fits")
            made = make_references(config, folder / "references")
            build_crds_cache(folder / "crds", list(made.values()), link=True)
            steps = {"ipc": {"override_ipc": "N/A"}} | PARAMETERS[name]
            folders[name] = folder, run_pipelines(folder, [name], {"steps": steps})
        return folders[name][1]

    yield run
    for folder, _ in folders.values():
        shutil.rmtree(folder)


def test_products(runs, large):
    """DQ identical for 99.99 % of the pixels, the rates of those within 1e-5 for 99.99 %."""
    products = runs(large)
    for kind in ("rate", "rateints"):
        paths = [products.product(package, large, kind) for package in ("jwst", "upramp")]
        theirs, ours = map(arrays_of, paths)
        other = np.count_nonzero(theirs["DQ"] != ours["DQ"])
        assert np.count_nonzero(theirs["DQ"] & 4) > 1000
        assert other <= 1e-4 * theirs["DQ"].size
        check_arrays_where_flags_agree(theirs, ours)
        print(f"{large} {kind}: {other} pixels with other flags")
        check_headers(*paths)
    mode_table.record(ROWS[large], *paths)

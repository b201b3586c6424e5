"""Interference, charge migration and persistence: each step alone, and within the whole pipeline, beside the peer."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from tests.parity.test_detector1_products import arrays_of, check_headers, is_table
from tests.reference import mode_table
from tests.reference.agreement import relative_difference

from upramp.simulate import SimulationConfig, build_crds_cache, make_references, simulate_exposure, write_exposure

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

BRIGHT = {"star_flux": (5e4, 5e6), "star_count": 10, "cosmic_ray_rate": 2e-4}
EXPOSURES = {
    "emi64": SimulationConfig(detector="MIRIMAGE", subarray="SUB64", nints=3, ngroups=12, emi=8.0),
    "emi128": SimulationConfig(
        detector="MIRIMAGE", subarray="SUB128", nints=2, ngroups=5, emi=5.0, emi_frequency=218.52055, **BRIGHT
    ),
    "emi-full": SimulationConfig(
        detector="MIRIMAGE", subarray="FULL", nints=2, ngroups=6, emi=5.0, emi_frequency=10.039216
    ),
    "niriss": SimulationConfig(
        detector="NIS", subarray="SUB80", nints=2, ngroups=6, charge_migration=0.2, charge_migration_level=20000.0,
        **BRIGHT,
    ),
    "nircam": SimulationConfig(
        detector="NRCA3", subarray="SUB64P", nints=3, ngroups=6, persistence=300.0, persistence_decay=3.0, **BRIGHT
    ),
}  # fmt: skip

# Steps that run one after the other: name -> exposure and parameters of each.
ALONE = {
    "joint": ("emi64", {"dq_init": {}, "emicorr": {}}),
    "separately": ("emi64", {"dq_init": {}, "emicorr": {"fit_ints_separately": True}}),
    "without-dq-init": ("emi128", {"emicorr": {}}),
    "sequential": ("emi64", {"emicorr": {"algorithm": "sequential"}}),
    "all-integrations": ("emi64", {"emicorr": {"algorithm": "sequential", "use_n_cycles": None, "nbins": 60}}),
    "unscaled": ("emi64", {"emicorr": {"algorithm": "sequential", "nints_to_phase": 2, "scale_reference": False}}),
    "on-the-fly": (
        "emi64",
        {"emicorr": {"onthefly_corr_freq": [390.625, 10.039216], "save_intermediate_results": True, "nbins": 100,
                     "output_dir": "{out}"}},
    ),
    "no-bin": ("emi64", {"emicorr": {"algorithm": "sequential", "nints_to_phase": 0}}),
    "migration": ("niriss", {"dq_init": {}, "saturation": {}, "charge_migration": {"signal_threshold": 30000.0}}),
    "persistence": (
        "nircam",
        {"saturation": {}, "persistence": {"persistence_time": 2, "save_persistence": "{out}/trail.asdf"}},
    ),
    "threshold": (
        "nircam",
        {"persistence": {"persistence_time": 1, "dn_threshold": 20000.0, "persistence_dnu": True}},
    ),
    "no-time": ("nircam", {"saturation": {}, "persistence": {}}),
}  # fmt: skip
IPC = {"ipc": {"skip": True}}
EMI = {"emicorr": {"skip": False}}
# The whole pipeline: name -> exposure and parameters of steps.
WHOLE = {
    "emicorr": ("emi64", EMI),
    "emicorr, full frame": ("emi-full", EMI),
    "emicorr-sequential": ("emi128", {"emicorr": {"skip": False, "algorithm": "sequential"}}),
    "charge-migration": ("niriss", {"charge_migration": {"skip": False, "signal_threshold": 15000.0}}),
    "persistence": ("nircam", {"persistence": {"skip": False, "persistence_time": 2, "dn_threshold": 30000.0}}),
    "all-miri": (
        "emi128",
        {
            "emicorr": {"skip": False, "fit_ints_separately": True},
            "charge_migration": {"skip": False, "signal_threshold": 20000.0},
            "persistence": {"skip": False, "persistence_time": 3, "persistence_dnu": True},
        },
    ),
}
ON_DEMAND = ("emicorr, full frame",)  # with --all-modes
STATUS = {"emicorr": "S_MIREMI", "charge_migration": "S_CHGMIG", "persistence": "S_PERSIS"}


def chosen(config):
    """Runs of the whole pipeline that are wanted now."""
    every = config.getoption("--all-modes", default=False)
    return {name: run for name, run in WHOLE.items() if every or name not in ON_DEMAND}


def pytest_generate_tests(metafunc):
    if "whole" in metafunc.fixturenames:
        metafunc.parametrize("whole", chosen(metafunc.config))


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory, run_jobs):
    """`ALONE` and `WHOLE` in both packages; the files are removed at the end."""
    folder = tmp_path_factory.mktemp("optional")
    references, whole = [], chosen(request.config)
    wanted = {exposure for exposure, _ in (*ALONE.values(), *whole.values())}
    for name, config in EXPOSURES.items():
        if name not in wanted:
            continue
        write_exposure(simulate_exposure(config), folder / f"{name}_uncal.fits")
        made = make_references(config, folder / "references" / name)
        # One file serves all subarrays of MIRI; here it holds both waves.
        references += [path for kind, path in made.items() if name in FIRST or kind not in _OF_THE_DETECTOR]
    _add_wave(folder / "references" / "emi64" / "mirimage_emicorr.asdf")
    build_crds_cache(folder / "crds", references)
    jobs = [("steps", exposure, f"{name}-alone", pars) for name, (exposure, pars) in ALONE.items()]
    for name, (exposure, steps) in whole.items():
        pars = {"steps": IPC | steps, "save_calibrated_ramp": True}
        jobs.append(("pipeline", exposure, name, pars))
    yield run_jobs(folder, jobs)
    shutil.rmtree(folder)


FIRST = ("emi64", "niriss", "nircam")  # of their detector
_OF_THE_DETECTOR = ("emicorr", "rscd", "pars-detector1pipeline")


def _add_wave(path):
    """A second wave for SUB64, and two others for SUB128.

    There a frame takes 46.5 periods of 390.625 Hz, so that two phases explain the data equally well, and rounding
    decides (docs/deviations.md).
    """
    import asdf

    with asdf.open(path, memmap=False, lazy_load=False) as file:
        tree = dict(file.tree)
    wave = np.array(tree["frequencies"]["Hz390"]["phase_amplitudes"])
    tree["frequencies"]["Hz218"] = {"frequency": 218.52055, "phase_amplitudes": wave[::2].copy()}
    tree["frequencies"]["Hz10"] = {"frequency": 10.039216, "phase_amplitudes": wave}
    for name, case in tree["subarray_cases"].items():
        names = {"SUB128": ["Hz218", "Hz10"], "FULL_FAST": ["Hz10"]}.get(name, ["Hz390", "Hz218"])
        case["freqs"] = {"FAST": names, "SLOW": {"MIRIMAGE": names}}
    asdf.AsdfFile(tree).write_to(path)


def results(runs, package, run):
    """Arrays after the last step."""
    path = sorted(runs.result(package, f"{run}-alone").glob("*.npz"))[-1]
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("name", ALONE)
def test_alone(runs, name):
    theirs, ours = (results(runs, package, name) for package in ("jwst", "upramp"))
    assert ours.keys() == theirs.keys()
    assert ours["status"] == theirs["status"]
    for array in ("groupdq", "pixeldq"):
        np.testing.assert_array_equal(ours[array], theirs[array], array)
    noise = EXPOSURES[ALONE[name][0]].read_noise
    difference = np.abs(ours["data"] - theirs["data"])
    assert (difference > np.maximum(1e-4 * noise, 2e-7 * np.abs(theirs["data"]))).mean() <= 1e-4


def test_the_steps_did_something(runs):
    changes = {}
    for name, (exposure, _) in ALONE.items():
        found = results(runs, "upramp", name)
        raw = fits.getdata(runs.exposure(exposure), "SCI").astype(np.float32)
        changes[name] = float(np.abs(found["data"] - raw).max()), int((found["groupdq"] & (128 | 32) != 0).sum())
    for name in ("joint", "separately", "without-dq-init", "sequential", "all-integrations", "unscaled", "on-the-fly"):
        assert changes[name][0] > 0.5, name
    for name in ("migration", "persistence", "threshold"):
        assert changes[name][1] > 20, name
    assert changes["no-time"] == (0, 0) and changes["no-bin"] == (0, 0)


@pytest.mark.parametrize("name", ["on-the-fly", "persistence"])
def test_files_of_the_steps(runs, name):
    import asdf

    trees = []
    for package in ("jwst", "upramp"):
        path = next(runs.result(package, f"{name}-alone").glob("*.asdf"))
        with asdf.open(path, memmap=False, lazy_load=False) as file:
            trees.append(dict(file.tree))
    theirs, ours = trees
    for key in ("frequencies", "subarray_cases") if name == "on-the-fly" else ("NRCA3",):
        np.testing.assert_equal(ours[key], theirs[key])
    if name == "on-the-fly":
        assert ours["meta"]["reftype"] == theirs["meta"]["reftype"] == "emicorr"


@pytest.mark.parametrize("kind", ["rate", "rateints"])
def test_rates(runs, whole, kind):
    products = [runs.product(package, whole, kind) for package in ("jwst", "upramp")]
    if kind == "rateints":
        mode_table.record(f"optional: {whole}", *products)
    theirs, ours = map(arrays_of, products)
    assert list(ours) == list(theirs)
    tolerance = 1e-4 if "emicorr" in WHOLE[whole][1] else 1e-5
    for hdu, expected in theirs.items():
        if is_table(expected):
            assert ours[hdu].tobytes() == expected.tobytes(), hdu
        elif expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.isnan(ours[hdu]), np.isnan(expected), hdu)
            difference = relative_difference(expected, ours[hdu], theirs["ERR"], variance=hdu.startswith("VAR"))
            assert (difference > tolerance).mean() <= 1e-4, hdu
        else:
            assert (ours[hdu] != expected).mean() <= 1e-5, hdu


def test_ramps_and_headers(runs, whole):
    for kind in ("rate", "rateints", "ramp"):
        check_headers(runs.product("jwst", whole, kind), runs.product("upramp", whole, kind))
    theirs, ours = (arrays_of(runs.product(package, whole, "ramp")) for package in ("jwst", "upramp"))
    np.testing.assert_array_equal(ours["GROUPDQ"], theirs["GROUPDQ"])
    np.testing.assert_array_equal(ours["PIXELDQ"], theirs["PIXELDQ"])
    header = fits.getheader(runs.product("upramp", whole, "rate"))
    steps = WHOLE[whole][1]
    assert all(header[STATUS[step]] == "COMPLETE" for step in steps)
    assert ("emicorr" in steps) == header.get("R_MIREMI", "N/A").startswith("crds://")

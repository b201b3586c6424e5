"""Simulated exposures with broken references, run through the peer and through us: once for the whole session.

All exposures share one CRDS cache, in which detector and subarray tell them apart; peer and we run in a process of
their own each, at the same time.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tests.reference import mode_table

from upramp.simulate import (
    ReferenceDefects,
    SimulationConfig,
    Window,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
)
from upramp.simulate.references import deconvolution_kernel


def pytest_addoption(parser):
    parser.addoption("--modes-table", metavar="FILE", help="write the table of the modes compared in this run")
    parser.addoption("--all-modes", action="store_true", help="compare all modes, not only some of each kind")


def pytest_sessionfinish(session, exitstatus):
    """The table is written only by a run in which nothing failed."""
    path = session.config.getoption("--modes-table", default=None)
    if path is not None and exitstatus == pytest.ExitCode.OK:
        mode_table.write(path, " ".join(["python -m pytest", *session.config.invocation_params.args]))


RUNNER = Path(__file__).with_name("detector1_runs.py")

DEFECTS = ReferenceDefects(
    nan_bias=0.003, nan_gain=0.003, nan_read_noise=0.003, nan_linearity=0.003, nan_dark=0.003, nan_saturation=0.003,
    zero_gain=0.003, negative_gain=0.003, zero_linear_coefficient=0.003, no_lin_corr=0.003, no_sat_check=0.003,
    bad_reference_pixels=0.05, scrambled_dq=True,
)  # fmt: skip


def configuration(**changes):
    """Bright stars and many cosmic rays, on the defaults of the simulator."""
    return SimulationConfig(
        **({"cosmic_ray_rate": 5e-5, "star_flux": (5000.0, 2e6), "star_count": 15, "nints": 2} | changes)
    )


SMALL = {
    "sub160": configuration(ngroups=10),
    "grouped": configuration(ngroups=5, readpatt="SHALLOW4", zero_frame=True),
    "one-group": configuration(ngroups=1),
    "two-groups": configuration(ngroups=2, zero_frame=True),
    "divisor": configuration(nints=1, ngroups=4, readpatt="BRIGHT2", frame_divisor=4),
    "stripe4": configuration(detector="NRCA1", subarray="SUBGRISM64", ngroups=6, zero_frame=True),
    "stripe1": configuration(detector="NRCA2", subarray="SUBGRISM64", noutputs=1, nints=1, ngroups=6),
    "corner": configuration(detector="NRCA4", subarray="SUB64P", ngroups=6, zero_frame=True, ipc=0.005),
    "series": configuration(
        detector="NRCB1", subarray="GENERIC", window=Window(945, 945, 24, 16), nints=110, ngroups=5
    ),
}
FULL = {
    "full": configuration(detector="NRCA3", subarray="FULL", ngroups=8, star_count=400),
    "full-grouped": configuration(
        detector="NRCB3", subarray="FULL", readpatt="MEDIUM8", nints=1, ngroups=5, star_count=400, star_flux=(4e4, 2e7)
    ),
}
# Exposures with large events, and parameters of jump with which they are looked for.
SNOWBALLS = configuration(
    subarray="GENERIC", window=Window(905, 905, 240, 224), ngroups=8, snowballs=6, snowball_radius=5.0, nints=3
)
SNOWBALL_RUNS = {
    "default": {},
    "changed": {"edge_size": 4, "expand_factor": 1.6, "snowball_time_masked_next_int": 3, "min_jump_area": 9.0},
}
STEPS = (
    "group_scale", "dq_init", "saturation", "ipc", "superbias", "refpix", "linearity", "dark_current", "jump",
    "ramp_fit", "gain_scale",
)  # fmt: skip

# What is changed in runs of single steps: name -> (exposure, parameters by step).
STEP_RUNS = {name: (name, {}) for name in SMALL} | {
    "parameters": (
        "sub160",
        {
            "dq_init": {"user_supplied_dq": "{folder}/user_dq.fits"},
            "saturation": {"n_pix_grow_sat": 2, "use_readpatt": False},
            "dark_current": {"average_dark_current": 0.5},
            "jump": {
                "after_jump_flag_dn1": 100.0,
                "after_jump_flag_time1": 0.6,
                "after_jump_flag_dn2": 1000.0,
                "after_jump_flag_time2": 1.2,
                "rejection_threshold": 5.0,
                "max_jump_to_flag_neighbors": 200.0,
            },
            "ramp_fit": {"firstgroup": 1, "lastgroup": 8},
        },
    ),
    "unsuppressed": ("grouped", {"jump": {"flag_4_neighbors": False}, "ramp_fit": {"suppress_one_group": False}}),
    "two-unsuppressed": ("two-groups", {"ramp_fit": {"suppress_one_group": False}}),
    "pixelwise": ("corner", {"ipc": {"override_ipc": "{folder}/pixelwise_ipc.fits"}}),
}


def miri(**changes):
    """The same for MIRI; hardly a pixel saturates in the first groups unless it is a bright star."""
    return configuration(**({"detector": "MIRIMAGE", "ngroups": 8, "star_flux": (5000.0, 2e5)} | changes))


MIRI = {
    "sub64": miri(),
    "bright": miri(subarray="MASK1065", star_flux=(1e5, 1e7), ngroups=7, ipc=0.005),
    "segment": miri(subarray="SUB128", nints=3, first_integration=4, exposure_nints=9),
    "series": miri(subarray="SLITLESSPRISM", nints=12, ngroups=6, exposure_type="MIR_LRS-SLITLESS"),
    "averaged": miri(nframes=4, ngroups=5, nints=3),
    "no-row": miri(subarray="SUB128", readpatt="SLOWR1", nints=1),
    "four-groups": miri(ngroups=4),
}
MIRI_PARAMETERS = {
    "series": {"lastframe": {"skip": True}, "rscd": {"skip": True}, "jump": {"minimum_sigclip_groups": 10}},
    "bright": {"firstframe": {"skip": False}},
    "averaged": {"firstframe": {"skip": False, "bright_use_group1": False}},
    "sub64": {"ramp_fit": {"save_opt": True, "suppress_one_group": False}},
}
MIRI_STEPWISE = ("bright", "segment", "series", "averaged")
MIRI_FULL = {"miri-full": miri(subarray="FULL", ngroups=6, star_count=200)}

# Runs of the pipeline with another fit, or with its details: name -> (exposure, parameters by step).
FITS = {
    "likely": ("sub160", {"jump": {"skip": True}, "ramp_fit": {"algorithm": "LIKELY", "save_opt": True}}),
    "likely-grouped": ("grouped", {"ramp_fit": {"algorithm": "LIKELY", "save_opt": True}}),
    "details": ("grouped", {"ramp_fit": {"save_opt": True, "suppress_one_group": False, "maximum_cores": "none"}}),
    "details-selected": ("sub160", {"ramp_fit": {"save_opt": True, "firstgroup": 1, "opt_name": "mine"}}),
}

# Runs of the pipeline with a reference that leaves nothing to fit, and one that makes every pixel unusable.
HOPELESS = {
    "saturated": {"saturation": {"override_saturation": "{folder}/saturated.fits"}},
    "unusable": {"dq_init": {"override_mask": "{folder}/unusable.fits"}},
}


def clean_environment(**changes):
    """The environment without what configures CRDS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")} | changes


@dataclass
class Runs:
    """Folder with exposures (``<name>_uncal.fits``), and ``jwst`` and ``upramp`` with a folder for every run."""

    folder: Path

    def exposure(self, name):
        """Path of an exposure."""
        return self.folder / f"{name}_uncal.fits"

    def result(self, package, name):
        """Folder of a run; fails with its traceback if there is one."""
        folder = self.folder / package / name
        error = folder / "error.txt"
        assert not error.exists(), error.read_text()
        return folder

    def product(self, package, name, kind):
        """Path of a product."""
        return next(self.result(package, name).glob(f"*_{kind}.fits"))


# Frames of the darks: enough to average them; too few, so that they are extrapolated (direct, and averaged).
DARK_GROUPS = {"NRCBLONG": 30, "NRCA2": 3, "NRCB3": 12}


def _write_exposures(folder, configurations):
    references = {}
    for name, config in configurations.items():
        # In full frame the frames of a group are not simulated one by one, which would take minutes.
        quick = replace(config, readpatt="RAPID") if config.subarray == "FULL" else config
        write_exposure(replace(simulate_exposure(quick), config=config), folder / f"{name}_uncal.fits")
        if config.detector not in references:
            dark_groups = DARK_GROUPS.get(config.detector)
            made = make_references(config, folder / "references", defects=DEFECTS, dark_groups=dark_groups)
            references[config.detector] = made.values()
    build_crds_cache(folder / "crds", [path for paths in references.values() for path in paths], link=True)


def _run(folder, jobs):
    """Run jobs of both packages at the same time."""
    processes = []
    for package in ("jwst", "upramp"):
        path = folder / f"{package}.json"
        own = [job for job in jobs if job["package"] == package]
        path.write_text(json.dumps(own))
        with (folder / f"{package}.log").open("w") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, str(RUNNER), str(path)],
                    env=clean_environment(CRDS_PATH=str(folder / "crds")),
                    stdout=log,
                    stderr=log,
                )
            )
    for process in processes:
        process.wait()
    assert [process.returncode for process in processes] == [0, 0], (folder / "upramp.log").read_text()[-3000:]
    return Runs(folder)


def _job(folder, package, kind, exposure, name, pars):
    return {
        "package": package,
        "kind": kind,
        "input": str(folder / (exposure if Path(exposure).suffix else f"{exposure}_uncal.fits")),
        "out": str(folder / package / name),
        "pars": pars,
    }


def _step_parameters(folder, exposure, changes):
    """Parameters of all steps of a run; without coupling there is no IPC reference."""
    pars = _in_folder({key: changes.get(key, {}) for key in STEPS}, folder)
    if exposure != "corner":
        pars["ipc"] = {"override_ipc": "N/A"}
    return pars


def _in_folder(steps, folder):
    """Parameters of steps with the folder put into names of files."""
    return {
        step: {key: value.format(folder=folder) if isinstance(value, str) else value for key, value in pars.items()}
        for step, pars in steps.items()
    }


def _write_user_files(folder):
    from astropy.io import fits

    rng = np.random.default_rng(1)
    flags = np.where(rng.random((160, 160)) < 0.01, 1 | 2**11, 0).astype(np.uint32)
    fits.HDUList([fits.PrimaryHDU(flags)]).writeto(folder / "user_dq.fits")
    # The corner lies in the first rows of the detector; the peer wants a kernel for all columns.
    kernel = np.broadcast_to(deconvolution_kernel(0.005)[:, :, None, None], (3, 3, 64, 2048))
    kernel = (kernel * rng.uniform(0.99, 1.01, kernel.shape)).astype(np.float32)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(kernel, name="SCI")])
    hdus[0].header.update(DATAMODL="IPCModel", TELESCOP="JWST", REFTYPE="IPC", INSTRUME="NIRCAM", DETECTOR="NRCA4")
    hdus.writeto(folder / "pixelwise_ipc.fits")
    for reftype, hdu, value, name in (("saturation", "SCI", 1.0, "saturated"), ("mask", "DQ", 1, "unusable")):
        with fits.open(folder / "references" / f"nrca4_sub64p_{reftype}.fits") as hdus:
            hdus[hdu].data[:] = value
            del hdus["DQ_DEF"]  # without a table the flags are the standard ones
            hdus["DQ"].data[:] = hdus["DQ"].data & 1
            hdus.writeto(folder / f"{name}.fits")


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory):
    """`SMALL` through the pipelines and `STEP_RUNS` step by step; the files, 760 MB, are removed at the end."""
    folder = tmp_path_factory.mktemp("small")
    _write_exposures(folder, SMALL)
    _write_user_files(folder)
    jobs = []
    for name in SMALL:
        ramp = {"save_calibrated_ramp": True}
        jobs.append(_job(folder, "jwst", "pipeline", name, name, ramp))
        jobs.append(_job(folder, "upramp", "pipeline", name, name, ramp))
        jobs.append(_job(folder, "upramp", "pipeline", name, f"{name}-fused", {"schedule": "fused"}))
        jobs.append(_job(folder, "upramp", "pipeline", name, f"{name}-stepwise", ramp | {"schedule": "stepwise"}))
    for name, (exposure, changes) in STEP_RUNS.items():
        pars = _step_parameters(folder, exposure, changes)
        jobs += [_job(folder, package, "steps", exposure, f"{name}-steps", pars) for package in ("jwst", "upramp")]
    for name, (exposure, steps) in FITS.items():
        jobs += [_job(folder, package, "pipeline", exposure, name, {"steps": steps}) for package in ("jwst", "upramp")]
    for name, steps in HOPELESS.items():
        pars = {"steps": _in_folder(steps, folder), "save_calibrated_ramp": name == "saturated"}
        jobs += [_job(folder, package, "pipeline", "corner", name, pars) for package in ("jwst", "upramp")]
    yield _run(folder, jobs)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def snowball_runs(tmp_path_factory):
    """`SNOWBALL_RUNS` through the pipelines."""
    folder = tmp_path_factory.mktemp("snowballs")
    _write_exposures(folder, {"snowballs": SNOWBALLS})
    jobs = []
    for name, changes in SNOWBALL_RUNS.items():
        steps = {"jump": {"expand_large_events": True} | changes}
        pars = {"save_calibrated_ramp": True, "steps": steps}
        jobs += [_job(folder, package, "pipeline", "snowballs", name, pars) for package in ("jwst", "upramp")]
    yield _run(folder, jobs)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def full_runs(tmp_path_factory):
    """`FULL` through the pipelines; the files are removed at once, they are large."""
    folder = tmp_path_factory.mktemp("full")
    _write_exposures(folder, FULL)
    jobs = [_job(folder, package, "pipeline", name, name, {}) for name in FULL for package in ("jwst", "upramp")]
    yield _run(folder, jobs)
    shutil.rmtree(folder)


def _write_miri_exposures(folder, configurations):
    """Every subarray has references of its own; darks and reset anomalies are for the longest exposure with it."""
    longest = {}
    for name, config in configurations.items():
        write_exposure(simulate_exposure(config), folder / f"{name}_uncal.fits")
        mode = config.subarray, config.readpatt
        longest[mode] = max(longest.get(mode, config), config, key=lambda one: one.frames_per_integration)
    references = set()
    for (subarray, readpatt), config in longest.items():
        made = make_references(config, folder / "references" / readpatt, defects=DEFECTS, overwrite=True)
        wanted = made if readpatt == "FASTR1" else {kind: made[kind] for kind in ("reset",)}
        references |= {path for kind, path in wanted.items() if kind != "rscd" or subarray == "SUB64"}
    build_crds_cache(folder / "crds", sorted(references), link=True)


@pytest.fixture(scope="session")
def miri_runs(tmp_path_factory):
    """`MIRI` and `MIRI_FULL` through the pipelines; the files are removed at the end."""
    folder = tmp_path_factory.mktemp("miri")
    exposures = MIRI | MIRI_FULL
    _write_miri_exposures(folder, exposures)
    jobs = []
    for name in exposures:
        pars = {"steps": {"ipc": {"skip": exposures[name].ipc is None}} | MIRI_PARAMETERS.get(name, {})}
        ramp = pars | {"save_calibrated_ramp": True}
        jobs += [_job(folder, package, "pipeline", name, name, ramp) for package in ("jwst", "upramp")]
        if name in MIRI_STEPWISE:
            stepwise = ramp | {"schedule": "stepwise"}
            jobs.append(_job(folder, "upramp", "pipeline", name, f"{name}-stepwise", stepwise))
    yield _run(folder, jobs)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def run_pipelines_on_files():
    """Callable: exposures of a folder (with a CRDS cache in it) through both pipelines, from their files."""

    def run(folder, names):
        return _run(
            folder,
            [_job(folder, package, "pipeline", name, name, {}) for name in names for package in ("jwst", "upramp")],
        )

    return run


@pytest.fixture(scope="session")
def run_pipelines():
    """Callable: exposures of a folder (with a CRDS cache in it) through both pipelines; ``changes`` to the jobs.

    With ``stepwise`` upramp runs them once more in that schedule, in ``<name>-stepwise``.
    """

    def run(folder, names, pars, *, stepwise=False, **changes):
        jobs = [_job(folder, package, "pipeline", name, name, pars) for name in names for package in ("jwst", "upramp")]
        if stepwise:
            slow = pars | {"schedule": "stepwise"}
            jobs += [_job(folder, "upramp", "pipeline", name, f"{name}-stepwise", slow) for name in names]
        return _run(folder, [job | changes for job in jobs])

    return run


@pytest.fixture(scope="session")
def run_jobs():
    """Callable: jobs (kind, exposure, name, parameters) on the exposures of a folder, each in both packages.

    An exposure may be the name of a file; ``changes`` to the jobs as in `run_pipelines`.
    """

    def run(folder, jobs, **changes):
        return _run(folder, [_job(folder, package, *job) | changes for job in jobs for package in ("jwst", "upramp")])

    return run

"""clean_flicker_noise inside the whole pipeline, with its fits, backgrounds and masks, against the peer."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from tests.parity.test_detector1_products import arrays_of, check_headers, is_table
from tests.reference import mode_table
from tests.reference.agreement import relative_difference

from upramp.simulate import (
    SimulationConfig,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
)

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

BRIGHT = {"cosmic_ray_rate": 5e-5, "star_flux": (5000.0, 2e6), "nints": 2, "ngroups": 5, "one_over_f": 8.0}
# Boxes of the background model that hold sources are filled in another order, see docs/deviations.md.
SKY = BRIGHT | {"star_count": 0, "cosmic_ray_rate": 0, "one_over_f": 1.0}
EXPOSURES = {
    "nircam": SimulationConfig(**BRIGHT, detector="NRCBLONG", subarray="SUB160"),
    "niriss": SimulationConfig(**BRIGHT, detector="NIS", subarray="SUB64"),
    "sky": SimulationConfig(**SKY, detector="GUIDER1", subarray="SUB128CNTR"),
    "nircam-sky": SimulationConfig(**SKY, detector="NRCA3", subarray="SUB160"),
    "miri": SimulationConfig(**BRIGHT, detector="MIRIMAGE", subarray="SUB64"),
    "slit": SimulationConfig(**BRIGHT, detector="NRS1", subarray="SUB512"),
    "slits": SimulationConfig(**(BRIGHT | {"nints": 1, "ngroups": 4}), detector="NRS2", subarray="SUB2048"),
}
RUNS = {
    "nircam-median": ("nircam", {}),
    "nircam-clip": ("nircam", {"n_sigma": 0.0, "background_method": None, "single_mask": False}),
    "nircam-histogram": ("nircam", {"fit_histogram": True, "single_mask": False, "fit_by_channel": True}),
    "nircam-mask": ("nircam", {"user_mask": "{folder}/mask.fits", "save_mask": True}),
    "nircam-cube": ("nircam", {"user_mask": "{folder}/cube.fits", "save_noise": True}),
    "nircam-wrong": ("nircam", {"user_mask": "{folder}/wrong.fits"}),
    "nircam-empty": ("nircam", {"user_mask": "{folder}/empty.fits"}),
    "nircam-fft": ("nircam", {"fit_method": "fft"}),
    "niriss-median": ("niriss", {"save_mask": True, "save_background": True, "save_noise": True}),
    "niriss-flat": ("niriss", {"apply_flat_field": True}),
    # Parameters chosen override these; nothing is chosen for guiders.
    "nircam-auto": ("nircam-sky", {"autoparam": True, "background_method": None, "apply_flat_field": True}),
    "niriss-auto": ("niriss", {"autoparam": True, "single_mask": False}),
    "sky-auto": ("sky", {"autoparam": True, "n_sigma": 3.0}),
    "sky-model": ("sky", {"background_method": "model", "background_box_size": [32, 64], "save_background": True}),
    "miri-median": ("miri", {"mask_science_regions": True}),
    "slit-median": ("slit", {"background_method": None}),
    "slit-fft": ("slit", {"fit_method": "fft"}),
    "slits-fft": ("slits", {"fit_method": "fft", "save_background": True}),
}  # fmt: skip
FAILED = ("nircam-wrong", "nircam-fft")
AUTOMATIC = ("nircam-auto", "niriss-auto", "sky-auto")
EXTRA = {
    "nircam-mask": ("mask",),
    "nircam-cube": ("flicker_noise",),
    "niriss-median": ("mask", "flicker_bkg", "flicker_noise"),
    "sky-model": ("flicker_bkg",),
    "slits-fft": ("flicker_bkg",),
}


def _write_masks(folder):
    from upramp.models import CubeModel, ImageModel

    rng = np.random.default_rng(2)
    some = (rng.random((2, 160, 160)) < 0.8).astype(np.float32)
    ImageModel(some[0]).save(folder / "mask.fits")
    CubeModel(some).save(folder / "cube.fits")
    ImageModel(some[0, :100]).save(folder / "wrong.fits")
    ImageModel(np.zeros((160, 160), np.float32)).save(folder / "empty.fits")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_jobs):
    """`RUNS` through both pipelines; the files are removed at the end."""
    folder = tmp_path_factory.mktemp("flicker")
    references = []
    for name, config in EXPOSURES.items():
        write_exposure(simulate_exposure(config), folder / f"{name}_uncal.fits")
        made = make_references(config, folder / "references" / name)
        references += [made[kind] for kind in sorted(made)]
    references += [write_flat(folder, name) for name in ("niriss", "miri")]
    build_crds_cache(folder / "crds", references, link=True)
    _write_masks(folder)
    jobs = []
    for name, (exposure, changes) in RUNS.items():
        cleaning = {"skip": False} | changes
        if "user_mask" in changes:
            cleaning["user_mask"] = changes["user_mask"].format(folder=folder)
        steps = {"clean_flicker_noise": cleaning, "ipc": {"skip": True}}
        jobs.append(("pipeline", exposure, name, {"steps": steps, "save_calibrated_ramp": True}))
    yield run_jobs(folder, jobs)
    shutil.rmtree(folder)


def write_flat(folder, name):
    """A flat field with holes and flags for an exposure."""
    config = EXPOSURES[name]
    rng = np.random.default_rng(5)
    shape = (config.geometry.ysize, config.geometry.xsize)
    flat = rng.normal(1.0, 0.05, shape).astype(np.float32)
    flat[rng.random(shape) < 0.01] = 0
    flat[rng.random(shape) < 0.01] = np.nan
    flags = np.where(rng.random(shape) < 0.05, 1, 0).astype(np.uint32)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(flat, name="SCI"), fits.ImageHDU(flags, name="DQ")])
    hdus.append(fits.ImageHDU(np.full(shape, 0.01, np.float32), name="ERR"))
    header = fits.getheader(folder / f"{name}_uncal.fits")
    hdus[0].header.update({key: header[key] for key in ("INSTRUME", "DETECTOR", "SUBARRAY", "TELESCOP")})
    hdus[0].header.update({key: header[key] for key in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")})
    hdus[0].header.update(REFTYPE="FLAT", USEAFTER="2022-01-01T00:00:00", DATAMODL="FlatModel", FILTER="ANY")
    path = folder / f"{name}_flat.fits"
    hdus.writeto(path)
    return path


@pytest.mark.parametrize("kind", ["rate", "rateints", "ramp"])
@pytest.mark.parametrize("name", RUNS)
def test_products(runs, name, kind):
    """Rates within 1e-5 of themselves or their errors, samples within 1e-4 of the noise; flags identical."""
    products = [runs.product(package, name, kind) for package in ("jwst", "upramp")]
    if kind == "rateints":
        mode_table.record(f"clean_flicker_noise, {name.replace('-', ' ')}", *products)
    theirs, ours = map(arrays_of, products)
    assert list(ours) == list(theirs)
    for hdu, expected in theirs.items():
        found = ours[hdu]
        if is_table(expected) or expected.dtype.kind != "f":
            assert (found != expected).mean() <= 1e-5, hdu
            continue
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), hdu)
        if kind == "ramp":
            assert (np.abs(found - expected) > 1e-5 * np.abs(expected) + 6e-4).mean() <= 1e-4, hdu
        else:
            difference = relative_difference(expected, found, theirs["ERR"], variance=hdu.startswith("VAR"))
            assert (difference > 1e-5).mean() <= 1e-4, hdu


@pytest.mark.parametrize("kind", ["rate", "rateints", "ramp"])
@pytest.mark.parametrize("name", RUNS)
def test_headers(runs, name, kind):
    check_headers(*(runs.product(package, name, kind) for package in ("jwst", "upramp")))


@pytest.mark.parametrize("name", RUNS)
def test_status_is_recorded(runs, name):
    header = fits.getheader(runs.product("upramp", name, "rate"))
    assert header["S_CLNFNS"] == ("FAILED" if name in FAILED else "COMPLETE")


@pytest.mark.parametrize("name", EXTRA)
def test_what_was_asked_for_is_saved(runs, name):
    for suffix in EXTRA[name]:
        products = [runs.product(package, name, suffix) for package in ("jwst", "upramp")]
        theirs, ours = map(arrays_of, products)
        assert list(ours) == list(theirs)
        assert ours["SCI"].shape == theirs["SCI"].shape
        np.testing.assert_allclose(ours["SCI"], theirs["SCI"], rtol=1e-5, atol=1e-3, err_msg=suffix)
        check_headers(*products)


def test_flat_is_used_where_there_is_one(runs):
    """The choice overrides the parameters, and notes the flat field in the header."""
    flats = {name: fits.getheader(runs.product("upramp", name, "rate")).get("R_FLAT") for name in AUTOMATIC}
    assert "niriss_flat" in flats["niriss-auto"]
    assert flats["nircam-auto"] in (None, "N/A")
    assert flats["sky-auto"] is None


def test_cleaning_makes_a_difference(runs):
    """Where the noise is subtracted lines of the ramp scatter less; what failed is as it was."""
    ramps = {name: fits.getdata(runs.product("upramp", name, "ramp")) for name in ("nircam-median", "nircam-wrong")}
    scatter = {name: np.median(np.diff(ramp, axis=1), axis=-1).std(axis=-1).mean() for name, ramp in ramps.items()}
    assert scatter["nircam-median"] < 0.3 * scatter["nircam-wrong"]
    ramp = fits.getdata(runs.product("upramp", "nircam-empty", "ramp"))
    np.testing.assert_array_equal(ramp, ramps["nircam-wrong"])

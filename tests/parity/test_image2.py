"""calwebb_image2 of the peer and ours on the same count rates (from our stage 1) and references."""

import io
import json
import shutil

import asdf
import numpy as np
import pytest
from astropy.io import fits

from upramp.models import CubeModel, ImageModel
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import (
    ReferenceDefects,
    SimulationConfig,
    Window,
    build_crds_cache,
    make_image_references,
    make_references,
    simulate_exposure,
    write_exposure,
)

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

DEFECTS = ReferenceDefects(
    nan_flat=0.02, zero_flat=0.02, nan_flat_error=0.01, unreliable_flat=0.02, scrambled_dq=True
)  # fmt: skip


def configuration(**changes):
    return SimulationConfig(**({"nints": 2, "ngroups": 5, "flat_spread": 0.05, "dead_fraction": 0.01} | changes))


def window(*numbers):
    return {"subarray": "GENERIC", "window": Window(*numbers)}


EXPOSURES = {
    "short": configuration(detector="NRCB1", subarray="SUB64P"),
    "long": configuration(detector="NRCALONG", **window(1, 1, 48, 32)),
    "niriss": configuration(detector="NIS", **window(1, 301, 40, 24)),
    "fgs": configuration(detector="GUIDER2", **window(900, 700, 32, 32)),
    "series": configuration(detector="NRCB2", exposure_type="NRC_TSIMAGE", nints=3, **window(801, 1, 32, 16)),
}
# Pointings near the pole of RA and elsewhere; with and without velocity aberration.
POINTINGS = {
    "short": {"ra_ref": 359.99999, "dec_ref": 12.3, "roll_ref": 211.7, "va_scale": 1.00009},
    "niriss": {"ra_ref": 0.0001, "dec_ref": -89.9, "roll_ref": -17.0, "va_scale": 0.99991},
    "fgs": {"ra_ref": 123.4, "dec_ref": 45.6, "roll_ref": 300.0, "va_scale": None},
    "full": {"ra_ref": 266.4, "dec_ref": -28.9, "roll_ref": 91.0, "va_scale": 1.00005},
}
# name: (file, parameters of steps)
RUNS = {
    "short": ("short_rate.fits", {}),
    "long": ("long_rate.fits", {}),
    "niriss": ("niriss_rate.fits", {}),
    "niriss_ints": ("niriss_rateints.fits", {"assign_wcs": {"sip_approx": False}}),
    "fgs": ("fgs_rate.fits", {"photom": {"override_area": "N/A"}}),
    "series": ("series_rateints.fits", {"assign_wcs": {"sip_degree": 3, "sip_inv_degree": 2, "sip_npoints": 8}}),
    "full": ("full_rate.fits", {}),
    "inverse": ("short_rate.fits", {"flat_field": {"inverse": True}, "photom": {"inverse": True}}),
    "no_references": (
        "short_rate.fits",
        {"flat_field": {"override_flat": "N/A"}, "photom": {"override_photom": "N/A", "override_area": "N/A"}},
    ),
    "association": ("level2_asn.json", {"photom": {"apply_time_correction": False}}),
}
# Cards that differ on purpose: who and when; references that we do not ask for.
OWN = ("DATE", "CAL_VER", "CAL_VCS", "")
SKIPPED_REFERENCES = {
    "R_CAMERA", "R_CHRCOR", "R_COLLIM", "R_DISPER", "R_DFLAT", "R_FFLAT", "R_SFLAT", "R_FORE", "R_FPA", "R_IFUFOR",
    "R_IFUPOS", "R_IFUSLI", "R_MSA", "R_OTE", "R_REGION", "R_SPCWCS", "R_WAVRAN",
}  # fmt: skip


def stage_1(folder, name, config):
    """Count rates by our stage 1, and all references."""
    defects = {} if name == "long" else {"defects": DEFECTS}
    references = make_references(config, folder / "references")
    steps = {}
    for key, step in Detector1Pipeline.step_defs.items():
        steps[key] = {f"override_{kind}": str(references.get(kind, "N/A")) for kind in step.reference_file_types}
    steps["ipc"]["skip"] = True
    raw = write_exposure(simulate_exposure(config), folder / f"{name}_uncal.fits")
    Detector1Pipeline(steps=steps, save_results=True, output_dir=str(folder)).run(str(raw))
    for kind in ("rate", "rateints"):
        point(folder / f"{name}_{kind}.fits", name)
    return make_image_references(config, folder / "references", full_frame=name == "short", **defects)


def point(path, name):
    """Turn the telescope somewhere else."""
    if name not in POINTINGS:
        return
    with (ImageModel if path.stem.endswith("rate") else CubeModel)(path) as model:
        pointing = dict(POINTINGS[name])
        model.meta.velocity_aberration.scale_factor = pointing.pop("va_scale")
        for key, value in pointing.items():
            model.meta.wcsinfo[key] = value
        model.save(path)


def full_frame(folder):
    """Count rates of a full frame by a random generator, with the header of a small one."""
    rng = np.random.default_rng(3)
    with ImageModel(folder / "short_rate.fits") as small:
        model = ImageModel(rng.normal(10, 3, (2048, 2048)).astype(np.float32))
        model.update(small)
    model.dq = np.where(rng.random(model.shape) < 0.01, 1, 0)
    for name in ("err", "var_poisson", "var_rnoise"):
        setattr(model, name, rng.uniform(0, 1, model.shape).astype(np.float32))
    model.meta.subarray = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}
    path = folder / "full_rate.fits"
    model.save(path)
    point(path, "full")


def add_losses(path):
    """Give a photometric reference the losses of throughput with time, of all three kinds."""
    kinds = {
        "LINEAR": {"t0": 59800, "lossperyear": 0.013},
        "EXPONENTIAL": {"t0": 59810, "amplitude": 0.2, "tau": 400, "const": 0.8},
        "POWERLAW": {"t0": 59700, "year1value": 0.97, "tsoft": 3, "alpha": -0.01},
    }
    with fits.open(path, mode="update") as hdus:
        table = hdus["PHOTOM"].data
        for kind, values in kinds.items():
            columns = [("filter", "S12"), ("pupil", "S12"), *((name, ">f4") for name in values)]
            rows = np.zeros(len(table), columns)
            rows["filter"], rows["pupil"] = table["filter"], table["pupil"]
            for name, value in values.items():
                rows[name] = value * np.linspace(1, 1.001, len(table))
            hdus.append(fits.BinTableHDU(rows, name=f"TIMECOEFF_{kind}", ver=1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_jobs):
    folder = tmp_path_factory.mktemp("image2")
    references = [stage_1(folder, name, config) for name, config in EXPOSURES.items()]
    add_losses(references[list(EXPOSURES).index("long")]["photom"])
    full_frame(folder)
    build_crds_cache(folder / "crds", [path for paths in references for path in paths.values()], link=True)
    members = [{"expname": str(folder / "long_rate.fits"), "exptype": "science"}]
    association = {
        "asn_type": "image2", "asn_rule": "DMSLevel2bBase", "asn_id": "a3001", "asn_pool": "mine", "program": "99999",
        "products": [{"name": "jw_product", "members": members}],
    }  # fmt: skip
    (folder / "level2_asn.json").write_text(json.dumps(association))
    jobs = []
    for name, (file, steps) in RUNS.items():
        jobs.append(("pipeline", file, name, {"steps": {"resample": {"skip": True}} | steps}))
    yield run_jobs(folder, jobs, **{"class": "Image2Pipeline"})
    shutil.rmtree(folder)


def products(runs, name):
    """Paths of the peer's product and ours, which have the same name."""
    paths = []
    for package in ("jwst", "upramp"):
        (path,) = runs.result(package, name).glob("*.fits")
        paths.append(path)
    assert paths[0].name == paths[1].name
    assert paths[0].stem.endswith("_calints" if "rateints" in RUNS[name][0] else "_cal")
    return paths


@pytest.mark.parametrize("name", RUNS)
def test_products(runs, name):
    theirs, ours = map(fits.open, products(runs, name))
    with theirs, ours:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for hdu in theirs:
            if hdu.name == "ASDF":
                continue
            if hdu.data is not None and hdu.is_image:
                own = ours[hdu.name].data
                if hdu.data.dtype.kind == "f":
                    np.testing.assert_allclose(own, hdu.data, rtol=1e-6, err_msg=hdu.name)
                    assert np.isfinite(own).any() or name == "niriss_ints"
                else:
                    np.testing.assert_array_equal(own, hdu.data, err_msg=hdu.name)
            headers = hdu.header, ours[hdu.name].header
            for keyword in {*headers[0], *headers[1]} - {*OWN, "COMMENT"}:
                values = [header.get(keyword) for header in headers]
                if keyword in SKIPPED_REFERENCES or (keyword == "R_FILOFF" and name == "fgs"):
                    assert values == ["N/A", None], keyword
                elif isinstance(values[0], float):
                    assert values[1] == pytest.approx(values[0], rel=1e-9, abs=1e-12), keyword
                else:
                    assert values[1] == values[0], (hdu.name, keyword)


def plain_wcs(path):
    """The WCS of a file, read with astropy and asdf alone."""
    with fits.open(path) as hdus, asdf.open(io.BytesIO(hdus["ASDF"].data.tobytes())) as document:
        return document["meta"]["wcs"]


@pytest.mark.parametrize("name", ["short", "long", "niriss", "niriss_ints", "fgs", "series", "full"])
def test_sky_coordinates(runs, name):
    from stdatamodels.jwst import datamodels

    path, own_path = products(runs, name)
    with datamodels.open(path) as model:
        expected = model.meta.wcs
        ny, nx = model.data.shape[-2:]
    with datamodels.open(own_path) as model:
        read_by_peer = model.meta.wcs
    with (CubeModel if own_path.stem.endswith("ints") else ImageModel)(own_path) as model:
        own = model.meta.wcs
    y, x = np.mgrid[-0.5 : ny : max(1, ny // 256), -0.5 : nx : max(1, nx // 256)]
    sky = np.array(expected(x, y, with_bounding_box=False))
    assert np.ptp(sky[1]) > 1e-6 and np.isfinite(sky).all()
    for wcs in (own, read_by_peer, plain_wcs(own_path)):
        assert np.abs(np.subtract(wcs(x, y, with_bounding_box=False), sky)).max() < 1e-9
        assert wcs.bounding_box == expected.bounding_box
        assert wcs.available_frames == expected.available_frames
        back = np.array(wcs.invert(*sky, with_bounding_box=False))
        np.testing.assert_allclose(back, expected.invert(*sky, with_bounding_box=False), rtol=0, atol=1e-6)
        np.testing.assert_allclose(back, [x, y], rtol=0, atol=1e-3)


def test_flags_and_statuses(runs):
    """The comparison above has seen something."""
    with fits.open(products(runs, "short")[1]) as hdus:
        dq = hdus["DQ"].data
        assert (dq & 2**18).any() and (dq & 2**25).any() and np.isnan(hdus["SCI"].data[dq & 1 > 0]).all()
        status = {key: hdus[0].header[key] for key in ("S_WCS", "S_FLAT", "S_PHOTOM", "S_RESAMP")}
        assert status == {"S_WCS": "COMPLETE", "S_FLAT": "COMPLETE", "S_PHOTOM": "COMPLETE", "S_RESAMP": "SKIPPED"}
        assert hdus["SCI"].header["BUNIT"] == "MJy/sr" and "CD1_1" in hdus["SCI"].header
    with fits.open(products(runs, "no_references")[1]) as hdus:
        assert hdus[0].header["S_FLAT"] == hdus[0].header["S_PHOTOM"] == "SKIPPED"
    with fits.open(products(runs, "niriss_ints")[1]) as hdus:
        assert hdus[0].header["S_PHOTOM"] == "SKIPPED" and hdus["SCI"].header["BUNIT"] == "DN/s"
    factors = [fits.getval(products(runs, name)[1], "PHOTMJSR", "SCI") for name in ("long", "association")]
    assert factors[1] == pytest.approx(0.45) and 1.01 < factors[0] / factors[1] < 1.5
    assert fits.getval(products(runs, "full")[1], "A_ORDER", "SCI") > 1
    assert products(runs, "association")[1].name == "jw_product_cal.fits"

"""Real files: a flight exposure through both pipelines, and reference files of the observatory."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.simulate import build_crds_cache

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

DATA = Path(__file__).parents[1] / "data"
EXPOSURE = DATA / "jw01019001001_gs-acq1_2022117003102_uncal.fits"
SIDE = 128


def write_references(folder, rng):
    """References for the guider's window, without anything that the file does not need."""
    folder.mkdir()
    frame = (SIDE, SIDE)
    level = np.median(fits.getdata(EXPOSURE, "SCI"), axis=(0, 1)).astype(np.float32)
    dq = np.where(rng.random(frame) < 0.01, 1, 0).astype(np.uint32)
    coefficients = np.zeros((4, *frame), np.float32)
    coefficients[1], coefficients[2] = 1, rng.uniform(0, 1e-6, frame)
    images = {
        "mask": {"DQ": dq},
        "saturation": {"SCI": np.full(frame, 60000, np.float32), "DQ": np.zeros(frame, np.uint32)},
        "superbias": {"SCI": level - 10, "ERR": np.ones(frame, np.float32), "DQ": np.zeros(frame, np.uint32)},
        "linearity": {"COEFFS": coefficients, "DQ": np.zeros(frame, np.uint32)},
        "dark": {"SCI": rng.normal(0, 0.1, (12, *frame)).astype(np.float32), "DQ": np.zeros(frame, np.uint32)},
        "gain": {"SCI": rng.uniform(1.5, 1.9, frame).astype(np.float32)},
        "readnoise": {"SCI": rng.uniform(8, 12, frame).astype(np.float32)},
    }
    classes = {"readnoise": "ReadnoiseModel", "superbias": "SuperBiasModel"}
    for reftype, arrays in images.items():
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(array, name=name) for name, array in arrays.items())]
        flags = np.array([(0, 1, b"DO_NOT_USE", b"")], [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("D", "S80")])
        flags.dtype.names = ("BIT", "VALUE", "NAME", "DESCRIPTION")
        if "DQ" in arrays:
            hdus.append(fits.BinTableHDU(flags, name="DQ_DEF"))
        hdus[0].header.update(
            DATAMODL=classes.get(reftype, f"{reftype.capitalize()}Model"),
            REFTYPE=reftype.upper(), TELESCOP="JWST", INSTRUME="FGS", DETECTOR="GUIDER2", SUBARRAY="128X128",
            SUBSTRT1=887, SUBSTRT2=1022, SUBSIZE1=SIDE, SUBSIZE2=SIDE, FASTAXIS=2, SLOWAXIS=-1, AUTHOR="a test",
            PEDIGREE="DUMMY", DESCRIP="for a test", USEAFTER="2020-01-01T00:00:00", NFRAMES=1, NGROUPS=12, GROUPGAP=0,
            EXP_TYPE="FGS_ACQ1", READPATT="ANY",
        )  # fmt: skip
        fits.HDUList(hdus).writeto(folder / f"{reftype}.fits")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def flight(tmp_path_factory, run_pipelines):
    folder = tmp_path_factory.mktemp("flight")
    shutil.copy(EXPOSURE, folder / "gs_uncal.fits")
    build_crds_cache(folder / "crds", write_references(folder / "references", np.random.default_rng(3)))
    return run_pipelines(folder, ["gs"], {}, as_ramp=True)


@pytest.mark.parametrize("kind", ["rate", "rateints"])
def test_guider_exposure(flight, kind):
    with (
        fits.open(flight.product("jwst", "gs", kind)) as theirs,
        fits.open(flight.product("upramp", "gs", kind)) as ours,
    ):
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for hdu in theirs:
            if hdu.data is None or hdu.name == "ASDF":
                continue
            found = ours[hdu.name].data
            if hdu.data.dtype.kind == "f":
                np.testing.assert_allclose(found, hdu.data, rtol=1e-5, atol=1e-4, err_msg=hdu.name)
            else:
                np.testing.assert_array_equal(found, hdu.data, hdu.name)
        assert np.isfinite(theirs["SCI"].data).mean() > 0.99
        different = {"DATE", "CAL_VER", "CAL_VCS"}
        header = {k: v for k, v in theirs[0].header.items() if k not in different and k not in ("", "COMMENT")}
        assert {k: ours[0].header.get(k) for k in header} == header
        assert ours[0].header["S_JUMP"] == "SKIPPED" and ours[0].header["S_RAMP"] == "COMPLETE"


@pytest.mark.parametrize(
    ("file", "name"),
    [("jwst_nirspec_superbias_0075.fits", "SuperBiasModel"), ("jwst_nirspec_dark_0046_cut.fits", "DarkModel")],
)
def test_flags_of_real_references(file, name):
    from stdatamodels.jwst import datamodels

    ours = getattr(models, name)(DATA / file)
    with getattr(datamodels, name)(DATA / file) as theirs:
        assert fits.getdata(DATA / file, "DQ").any()
        np.testing.assert_array_equal(ours.dq, theirs.dq)
        np.testing.assert_array_equal(ours.data, theirs.data)

"""calwebb_guider and calwebb_dark: the real flight exposure, every function of the guiders, and a dark."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from tests.parity.test_detector1_flight import EXPOSURE, SIDE, write_references
from tests.reference import mode_table

from upramp.simulate import SimulationConfig, build_crds_cache, make_references, simulate_exposure, write_exposure

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

# EXP_TYPE: integrations, groups
FUNCTIONS = {
    "FGS_ACQ1": (6, 2),
    "FGS_TRACK": (3, 2),
    "FGS_FINEGUIDE": (2, 10),
    "FGS_ID-IMAGE": (2, 2),
    "FGS_ID-STACK": (2, 2),
}


def write_flat(path, rng):
    """A flat field with everything that can be wrong with one; larger than the exposure."""
    frame = (SIDE + 20, SIDE + 10)
    flat = rng.normal(1, 0.05, frame).astype(np.float32)
    flat[rng.random(frame) < 0.02], flat[rng.random(frame) < 0.02] = np.nan, 0
    error = rng.uniform(0.001, 0.01, frame).astype(np.float32)
    error[rng.random(frame) < 0.01] = np.nan
    dq = np.where(rng.random(frame) < 0.02, rng.integers(0, 4, frame), 0).astype(np.uint32)
    flags = np.array(
        [(0, 1, b"DO_NOT_USE", b""), (1, 2, b"NO_FLAT_FIELD", b"")],
        [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")],
    )
    images = [fits.ImageHDU(array, name=name) for name, array in (("SCI", flat), ("DQ", dq), ("ERR", error))]
    hdus = fits.HDUList([fits.PrimaryHDU(), *images, fits.BinTableHDU(flags, name="DQ_DEF")])
    hdus[0].header.update(
        DATAMODL="FlatModel", REFTYPE="FLAT", TELESCOP="JWST", INSTRUME="FGS", DETECTOR="GUIDER2", SUBARRAY="128X128",
        SUBSTRT1=880, SUBSTRT2=1010, SUBSIZE1=frame[1], SUBSIZE2=frame[0], FASTAXIS=2, SLOWAXIS=-1, AUTHOR="a test",
        PEDIGREE="DUMMY", DESCRIP="for a test", USEAFTER="2020-01-01T00:00:00",
    )  # fmt: skip
    hdus.writeto(path)


def write_function(path, exp_type, shape, rng):
    """The flight exposure with the pixels and the type of another function of the guider, and a table of stars."""
    with fits.open(EXPOSURE) as hdus:
        level = rng.normal(5000, 300, (shape[0], 1, SIDE, SIDE)) + 400 * np.arange(shape[1])[:, None, None]
        hdus["SCI"].data = rng.poisson(level).astype(np.uint16)
        hdus[0].header.update(EXP_TYPE=exp_type, NINTS=shape[0], NGROUPS=shape[1])
        del hdus["ASDF"]
        stars = np.zeros(3, [("reference_star_id", "S2"), ("id_x", "f8"), ("id_y", "f8"), ("count_rate", "f8")])
        stars["count_rate"] = rng.uniform(0, 9, 3)
        hdus.append(fits.BinTableHDU(stars, name="Flight Reference Stars"))
        hdus[-1].header["NUMREFST"] = 3
        hdus.writeto(path)


@pytest.fixture(scope="module")
def guider(tmp_path_factory, run_pipelines):
    """The flight exposure and the functions of the guider, as models: files without ASDF are no input of the peer."""
    folder = tmp_path_factory.mktemp("guider")
    rng = np.random.default_rng(8)
    references = write_references(folder / "references", rng)
    write_flat(folder / "references" / "flat.fits", rng)
    build_crds_cache(folder / "crds", [*references, folder / "references" / "flat.fits"])
    shutil.copy(EXPOSURE, folder / "flight_uncal.fits")
    for exp_type, shape in FUNCTIONS.items():
        write_function(folder / f"{exp_type.lower()}_uncal.fits", exp_type, shape, rng)
    names = ["flight", *(exp_type.lower() for exp_type in FUNCTIONS)]
    yield run_pipelines(folder, names, {}, **{"class": "GuiderPipeline", "as_guider": True})
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["flight", *(exp_type.lower() for exp_type in FUNCTIONS)])
def test_count_rates(guider, name):
    paths = [guider.product(package, name, "cal") for package in ("jwst", "upramp")]
    figures = mode_table.record(f"calwebb_guider: {name.upper()}", *paths)
    assert figures.agreeing == figures.identical == 1
    with fits.open(paths[0]) as theirs, fits.open(paths[1]) as ours:
        # A table with keywords of the guider comes before ERR and DQ.
        assert sorted(hdu.name for hdu in ours) == sorted(hdu.name for hdu in theirs)
        np.testing.assert_array_equal(ours["SCI"].data, theirs["SCI"].data)
        np.testing.assert_array_equal(ours["DQ"].data, theirs["DQ"].data)
        np.testing.assert_allclose(ours["ERR"].data, theirs["ERR"].data, rtol=2e-7)
        assert np.isnan(theirs["SCI"].data).any() and (theirs["DQ"].data & 2**18).any()
        if name != "flight":
            assert ours["Flight Reference Stars"].data.tobytes() == theirs["Flight Reference Stars"].data.tobytes()
        for their_hdu in theirs:
            if their_hdu.name != "ASDF":
                our_hdu = ours[their_hdu.name]
                expected = {k: v for k, v in their_hdu.header.items() if k not in ("", "COMMENT")}
                own = ("DATE", "CAL_VER", "CAL_VCS", "R_DFLAT", "R_FFLAT", "R_SFLAT")
                wrong = {k: (v, our_hdu.header.get(k)) for k, v in expected.items() if k not in own}
                assert not {k: v for k, v in wrong.items() if v[0] != v[1]}, their_hdu.name
                assert set(our_hdu.header) <= set(their_hdu.header), their_hdu.name
        assert ours[0].header["S_GUICDS"] == ours[0].header["S_FLAT"] == "COMPLETE"


@pytest.fixture(scope="module")
def dark(tmp_path_factory, run_pipelines):
    folder = tmp_path_factory.mktemp("dark")
    config = SimulationConfig(
        detector="NRCA3", subarray="SUB64P", readpatt="BRIGHT2", frame_divisor=4, exposure_type="NRC_DARK", ngroups=4,
        zero_frame=True, ipc=0.005, star_count=0, sky_rate=0.0, cosmic_ray_rate=1e-2,
    )  # fmt: skip
    write_exposure(simulate_exposure(config), folder / "dark_uncal.fits")
    build_crds_cache(folder / "crds", make_references(config, folder / "references").values())
    yield run_pipelines(folder, ["dark"], {}, **{"class": "DarkPipeline"})
    shutil.rmtree(folder)


def test_dark_ramps(dark):
    paths = [next(dark.result(package, "dark").glob("*.fits")) for package in ("jwst", "upramp")]
    assert paths[0].name == paths[1].name
    with fits.open(paths[0]) as theirs, fits.open(paths[1]) as ours:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for name in ("SCI", "ZEROFRAME"):
            np.testing.assert_allclose(ours[name].data, theirs[name].data, rtol=1e-6, atol=1e-2)
        for name in ("PIXELDQ", "GROUPDQ"):
            np.testing.assert_array_equal(ours[name].data, theirs[name].data)
        status = [{k: v for k, v in hdus[0].header.items() if k.startswith(("S_", "R_"))} for hdus in (theirs, ours)]
        assert status[0] == status[1]
        assert status[1]["S_LINEAR"] == status[1]["S_GRPSCL"] == "COMPLETE" and "S_DARK" not in status[1]

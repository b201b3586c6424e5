"""NIRSpec through both pipelines: IRS2 readouts of both detectors, and traditional readouts of parts of them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from tests.reference import mode_table
from tests.reference.agreement import relative_difference

from upramp.simulate import (
    SimulationConfig,
    Window,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
)

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

BRIGHT = {"star_flux": (4e4, 2e7), "star_count": 100, "cosmic_ray_rate": 5e-5, "nints": 1}
IRS2 = {
    "irs2-nrs1": SimulationConfig(**BRIGHT, detector="NRS1", subarray="FULL", readpatt="NRSIRS2RAPID", ngroups=3),
    "irs2-nrs2": SimulationConfig(**BRIGHT, detector="NRS2", subarray="FULL", readpatt="NRSIRS2", ngroups=3),
}
# Lines run along y: four outputs read all of it, one output a part.
TRADITIONAL = {
    "four-outputs": SimulationConfig(
        **BRIGHT, detector="NRS1", subarray="GENERIC", window=Window(1, 1, 24, 2048), noutputs=4, readpatt="NRSRAPID",
        ngroups=5,
    ),
    "edgeless": SimulationConfig(**BRIGHT, detector="NRS2", subarray="SUB512", readpatt="NRS", ngroups=5),
}  # fmt: skip
SLITS = {"slits": SimulationConfig(**BRIGHT, detector="NRS1", subarray="SUBS200A1", readpatt="NRSRAPID", ngroups=6)}
DIFFERENT = ("DATE", "CAL_VER", "CAL_VCS")


def write(folder, configurations):
    """Exposures, references and the CRDS cache of a folder."""
    references = []
    for name, config in configurations.items():
        # Frames of a group are not simulated one by one in full frame, which would take long.
        quick = replace(config, readpatt="NRSIRS2RAPID") if config.is_irs2 else config
        write_exposure(replace(simulate_exposure(quick), config=config), folder / f"{name}_uncal.fits")
        dark_groups = 4 if config.is_irs2 else None
        references += make_references(config, folder / "references", dark_groups=dark_groups).values()
    build_crds_cache(folder / "crds", references, link=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_pipelines_on_files):
    """(package, name, kind of product) -> path; the files are removed at the end."""
    folders = {}
    for mode, configurations in (("irs2", IRS2), ("traditional", TRADITIONAL), ("slits", SLITS)):
        folder = tmp_path_factory.mktemp(mode)
        write(folder, configurations)
        folders |= dict.fromkeys(configurations, run_pipelines_on_files(folder, configurations))

    yield lambda package, name, kind: folders[name].product(package, name, kind)
    for done in folders.values():
        shutil.rmtree(done.folder, ignore_errors=True)


@pytest.mark.parametrize("name", [*IRS2, *TRADITIONAL, *SLITS])
def test_products(runs, name):
    """Rates within 1e-5 (IRS2: 1e-4 of their error) for 99.99 % of the pixels, flags and keywords identical."""
    limit = 1e-4 if name in IRS2 else 1e-5
    mode_table.record(f"NIRSpec {name}", runs("jwst", name, "rateints"), runs("upramp", name, "rateints"))
    for kind in ("rate", "rateints"):
        with fits.open(runs("jwst", name, kind)) as theirs, fits.open(runs("upramp", name, kind)) as ours:
            assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
            error = theirs["ERR"].data
            for hdu in theirs:
                if hdu.data is None or hdu.name == "ASDF" or hdu.data.dtype.names:
                    continue
                found, expected = ours[hdu.name].data, hdu.data
                assert found.shape == expected.shape
                if expected.dtype.kind == "f":
                    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), hdu.name)
                    difference = relative_difference(expected, found, error, variance=hdu.name.startswith("VAR"))
                    assert (difference > limit).mean() <= 1e-4, hdu.name
                else:
                    assert (found != expected).mean() <= 1e-5, hdu.name
            assert np.isfinite(theirs["SCI"].data).mean() > 0.5
            header = {k: v for k, v in theirs[0].header.items() if k not in ("", "COMMENT", *DIFFERENT)}
            assert {k: ours[0].header.get(k) for k in header} == header
            assert header["S_REFPIX"] == "COMPLETE"
    if name in IRS2:
        assert header["R_REFPIX"].startswith("crds://") and theirs["SCI"].shape == (1, 2048, 2048)


@pytest.mark.parametrize(("detector", "odd_even"), [("NRS1", False), ("NRS2", True)])
def test_offsets_of_irs2_sectors(detector, odd_even):
    """refpix with irs2_mean_subtraction: the parts of the peer's step, which does not run without CRDS."""
    from jwst.refpix import irs2_subtract_reference, reference_pixels
    from stdatamodels.jwst import datamodels as peer

    from upramp import models
    from upramp.steps import RefPixStep

    rng = np.random.default_rng(5)
    names = [f"{kind}_{sector}" for kind in ("alpha", "beta") for sector in range(4)]
    table = rng.normal(0, 0.02, (2 * 712 * 2048, 8)).astype(np.float32).view([(name, "f4") for name in names])[:, 0]
    pairs = np.array([(1, 1, 5), (3, 2, 9)], [("output", "u2"), ("odd_even", "u2"), ("mask", "u4")])
    data = rng.normal(0, 4, (1, 2, 3200, 2048)).astype(np.float32)
    data += np.repeat(rng.normal(50, 20, (2, 5)), 640, axis=1).astype(np.float32)[:, :, np.newaxis]
    data += 3 * (np.arange(3200) % 2).astype(np.float32)[:, np.newaxis]
    data[:, :, 500:503, 1] += 900
    flags = np.zeros((3200, 2048), np.uint32)
    flags[:, :4] = flags[:, -4:] = 1 << 31
    flags[1000:1200, 2] |= 1
    flags[2000, :4] |= 1
    flags[650, 9] |= 1 << 17

    def ramp_of(package):
        ramp = package.RampModel(data.copy())
        ramp.pixeldq, ramp.groupdq = flags.copy(), np.zeros(data.shape, np.uint8)
        ramp.meta.instrument.name, ramp.meta.instrument.detector = "NIRSPEC", detector
        ramp.meta.exposure.readpatt, ramp.meta.exposure.type = "NRSIRS2RAPID", "NRS_FIXEDSLIT"
        ramp.meta.exposure.nrs_normal, ramp.meta.exposure.nrs_reference = 16, 4
        ramp.meta.exposure.noutputs, ramp.meta.exposure.nints, ramp.meta.exposure.ngroups = 5, 1, 2
        place = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": 2048, "ysize": 2048}
        turn = -1 if detector == "NRS2" else 1
        for key, value in (place | {"fastaxis": 2 * turn, "slowaxis": turn}).items():
            setattr(ramp.meta.subarray, key, value)
        return ramp

    theirs = ramp_of(peer)
    irs2_subtract_reference.flag_bad_refpix(theirs, n_sigma=3.0, flag_only=True)
    rules = {
        "refpix_algorithm": "median",
        "sirs_kernel_model": None,
        "sigreject": 4.0,
        "gaussmooth": 1,
        "halfwidth": 30,
    }
    reference_pixels.correct_model(theirs, odd_even, False, 11, 1.0, True, rules, 3.0)
    irs2_subtract_reference.flag_bad_refpix(theirs, replace_only=True)
    reference = peer.IRS2Model(irs2_table=table, dq_table=pairs)
    theirs = irs2_subtract_reference.correct_model(theirs, reference)
    step = RefPixStep(
        override_refpix=models.IRS2Model(irs2_table=table, dq_table=pairs),
        irs2_mean_subtraction=True,
        odd_even_columns=odd_even,
    )
    ours = step.run(ramp_of(models))
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-4)
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)

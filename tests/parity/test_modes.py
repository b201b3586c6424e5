"""Modes of all instruments through the whole pipeline, those of NIRISS, FGS and NIRCam above all.

References are larger than the exposures, which get their part of them. What is about single corrections is in the other
files; here each mode has one exposure, and a row in the table of modes. The peer takes 5 s for the smallest exposure:
all modes run only when asked for (``--all-modes``), some of each kind always do.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from tests.reference import mode_table

from upramp.kernels.stripes import StripePattern
from upramp.simulate import (
    ReferenceDefects,
    SimulationConfig,
    Window,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
)

pytest.importorskip("jwst", reason="the peer is not installed")

pytestmark = pytest.mark.parity

DEFECTS = ReferenceDefects(
    nan_bias=0.003, nan_gain=0.003, nan_read_noise=0.003, nan_linearity=0.003, nan_dark=0.003, nan_saturation=0.003,
    zero_gain=0.003, negative_gain=0.003, zero_linear_coefficient=0.003, no_lin_corr=0.003, no_sat_check=0.003,
    bad_reference_pixels=0.05, scrambled_dq=True,
)  # fmt: skip


def configuration(detector, subarray, readpatt=None, **changes):
    """Bright stars and many cosmic rays."""
    values = {"cosmic_ray_rate": 5e-3, "star_flux": (5000.0, 2e6), "star_count": 8, "nints": 2, "ngroups": 5}
    return SimulationConfig(detector=detector, subarray=subarray, readpatt=readpatt, **(values | changes))


def column(detector, xstart, readpatt=None, **changes):
    """64 columns of the whole height, which four amplifiers read along the columns."""
    window = {"window": Window(xstart, 1, 64, 2048), "noutputs": 4}
    return configuration(detector, "GENERIC", readpatt, nints=1, **(window | changes))


NIRISS = {
    "NIRISS full frame": configuration(
        "NIS", "FULL", "NIS", nints=1, ngroups=4, star_count=300, cosmic_ray_rate=2e-6, star_flux=(4e4, 2e7)
    ),
    "NIRISS SOSS": configuration(
        "NIS", "SUBSTRIP96", nints=3, ngroups=3, cosmic_ray_rate=2e-4, exposure_type="NIS_SOSS"
    ),
    "NIRISS WFSS rows": configuration("NIS", "WFSS64R", "NIS", exposure_type="NIS_WFSS", nints=1),
    "NIRISS WFSS columns": configuration("NIS", "WFSS64C", exposure_type="NIS_WFSS", nints=1),
    "NIRISS AMI": configuration("NIS", "SUB80", exposure_type="NIS_AMI", zero_frame=True),
    "NIRISS target acquisition": configuration("NIS", "SUBTASOSS", "NIS", exposure_type="NIS_TACQ"),
}
FGS = {
    "FGS guider 1 stripe": column("GUIDER1", 1),
    "FGS guider 2 stripe": column("GUIDER2", 1985, "FGS"),
    "FGS guider 1 corner": configuration("GUIDER1", "SUB128LL", "FGS", zero_frame=True, ipc=0.005),
    "FGS guider 2 centre": configuration("GUIDER2", "SUB32CNTR"),
    "FGS guider 2 small corner": configuration("GUIDER2", "SUB32LL"),
    "FGS guider 1 8 x 8": configuration("GUIDER1", "SUB8CNTR", "FGS", nints=4, cosmic_ray_rate=0.1),
}
DETECTORS = ("NRCA1", "NRCA2", "NRCA3", "NRCA4", "NRCALONG", "NRCB1", "NRCB2", "NRCB3", "NRCB4", "NRCBLONG")
PATTERNS = ("RAPID", "BRIGHT1", "BRIGHT2", "SHALLOW2", "SHALLOW4", "MEDIUM2", "MEDIUM8", "DEEP2", "DEEP8", "RAPID")
NIRCAM = {
    f"NIRCam {pattern} {detector}": configuration(detector, "SUB64P", pattern, zero_frame=pattern == "DEEP8")
    for detector, pattern in zip(DETECTORS, PATTERNS, strict=True)
}
# Bright enough that the only group saturates where the first frame, the ZEROFRAME, does not.
NIRCAM["NIRCam one averaged group"] = configuration(
    "NRCA4", "SUB160", "MEDIUM8", ngroups=1, zero_frame=True, star_count=60, star_flux=(1e5, 2e6)
)
READS = {
    "read-level linearity": configuration("NRCB1", "SUB320A335R", "SHALLOW4", nints=1, zero_frame=True),
    "read-level linearity, two groups": configuration("NRCB2", "SUB32TATS", "MEDIUM8", ngroups=2),
    "read-level linearity, one group": configuration("NRCB3", "SUB32TATS", "MEDIUM8", ngroups=1),
    "6 frames divided by 8": configuration("NRCB4", "SUB32TATS", "MEDIUM8", nframes=6, frame_divisor=8),
    "read-level linearity, 5 frames divided by 8": configuration(
        "NRCA1", "SUB32TATS", "MEDIUM8", nframes=5, frame_divisor=8, zero_frame=True
    ),
}


def striped(detector, pattern, window, readpatt=None, **changes):
    """A striped readout of a window of one's own."""
    return configuration(
        detector, "GENERIC", readpatt, window=Window(*window), stripes=StripePattern(*pattern), **changes
    )


# One for each detector: their references cover the full frame.
SUBSTRIPES = {
    "DHS 1 stripe": configuration("NRCA1", "SUB41STRIPE1_DHS"),
    "DHS 2 stripes": configuration("NRCA2", "SUB82STRIPE2_DHS", "BRIGHT2", zero_frame=True),
    "DHS 3 stripes": striped("NRCA3", (1, 1526, 10, 85, 1, 1), (1, 1, 2048, 33), noutputs=4),
    "DHS 4 stripes": configuration("NRCA4", "SUB164STRIPE4_DHS", nints=1),
    "DHS 4 stripes, no reference rows": configuration("NRCB3", "SUB160STRIPE4_DHS", "SHALLOW4", nints=1),
    "DHS 4 times the same stripe": striped(
        "NRCALONG", (1, 971, 10, 0, 1, 0), (1, 1, 2048, 44), "SHALLOW4", noutputs=4, zero_frame=True
    ),
}
SUPERSTRIPES = {
    "superstripes of SOSS": configuration(
        "NIS", "SUB680STRIPE_SOSS", nints=6, ngroups=4, cosmic_ray_rate=1e-3, exposure_type="NIS_SOSS"
    ),
    "superstripes, second segment": striped(
        "NRCB2", (0, 100, 0, 0, 0, 0, 8, 4), (1001, 1, 64, 8), nints=8, first_integration=5, cosmic_ray_rate=5e-2
    ),
    "superstripes with repeats": striped(
        "NRCB1", (1, 165, 1, 0, 1, 0, 1, 16), (1851, 2046, 64, 8), nints=32, zero_frame=True, cosmic_ray_rate=0.1
    ),
}
FROM_FULL_FRAMES = {
    "NIRCam grism series": configuration(
        "NRCALONG", "SUBGRISM64", nints=3, ngroups=4, exposure_type="NRC_TSGRISM", cosmic_ray_rate=1e-4
    ),
    "NIRCam time series": configuration(
        "NRCB1", "SUB64P", "SHALLOW4", nints=12, ngroups=3, exposure_type="NRC_TSIMAGE"
    ),
    "NIRISS SOSS 256": configuration(
        "NIS", "SUBSTRIP256", nints=1, ngroups=4, exposure_type="NIS_SOSS", cosmic_ray_rate=1e-4
    ),
    "NIRSpec ALLSLITS": configuration("NRS2", "ALLSLITS", "NRS", nints=1, star_count=60, cosmic_ray_rate=1e-4),
    "NIRSpec bright object": configuration("NRS1", "SUB2048", nints=3, ngroups=3, exposure_type="NRS_BRIGHTOBJ"),
    "MIRI MRS short": configuration(
        "MIRIFUSHORT",
        "FULL",
        "SLOWR1",
        nints=2,
        ngroups=4,
        star_count=60,
        exposure_type="MIR_MRS",
        cosmic_ray_rate=2e-5,
    ),
    "MIRI MRS long": configuration(
        "MIRIFULONG", "FULL", nints=1, ngroups=6, star_count=60, exposure_type="MIR_MRS", cosmic_ray_rate=2e-5
    ),
}
MODES = NIRISS | FGS | NIRCAM | READS | SUBSTRIPES | SUPERSTRIPES | FROM_FULL_FRAMES
ALWAYS = (
    "NIRISS AMI", "NIRISS WFSS rows", "FGS guider 2 stripe", "NIRCam DEEP8 NRCB4", "NIRCam one averaged group",
    "read-level linearity, 5 frames divided by 8", "DHS 4 stripes", "superstripes of SOSS", "superstripes with repeats",
)  # fmt: skip
# The peer indexes a group that is not there.
WITHOUT_PEER = ("read-level linearity, one group",)
MARGIN = 16  # pixels by which references are larger, as far as the detector goes


def chosen_modes(config):
    """The modes of this run."""
    return list(MODES if config.getoption("--all-modes", default=False) else ALWAYS)


def pytest_generate_tests(metafunc):
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", chosen_modes(metafunc.config))
    if "compared" in metafunc.fixturenames:
        metafunc.parametrize("compared", [m for m in chosen_modes(metafunc.config) if m not in WITHOUT_PEER])


def file_name(mode):
    """Name of the files of a mode."""
    return mode.replace(" ", "-").replace(",", "").lower()


def larger(window):
    """The window with a margin around it."""
    west, south = max(window.xstart - MARGIN, 1), max(window.ystart - MARGIN, 1)
    east = min(window.xstart - 1 + window.xsize + MARGIN, 2048)
    north = min(window.ystart - 1 + window.ysize + MARGIN, 2048)
    return Window(west, south, east - west + 1, north - south + 1)


def write_references(folder, configurations):
    """References of all modes, larger than the exposures but for the darks, which are never cut out."""
    made = {}
    for mode, config in configurations.items():
        keywords = {"defects": DEFECTS, "inverse_linearity": mode.startswith("read-level")}
        if mode in FROM_FULL_FRAMES:
            references = make_references(config, folder / file_name(mode), full_frame=True, **keywords)
        elif config.subarray == "FULL":
            references = make_references(config, folder / file_name(mode), dark_groups=6, **keywords)
        elif config.stripe_pattern is not None:
            references = make_references(config, folder / file_name(mode), full_frame=True, **keywords)
        else:
            around = replace(config, window=larger(config.geometry), noutputs=1)
            references = make_references(around, folder / file_name(mode), **keywords)
            own = make_references(config, folder / "own" / file_name(mode), defects=DEFECTS)
            references["dark"] = own["dark"]
        # Full-frame references of a detector are all the same.
        made |= {path.name: path for kind, path in references.items() if not kind.startswith("pars")}
    return list(made.values())


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory, run_pipelines):
    """All modes through both pipelines, and once more through ours step by step; the files are removed at the end."""
    folder = tmp_path_factory.mktemp("modes")
    configurations = {mode: MODES[mode] for mode in chosen_modes(request.config)}
    for mode, config in configurations.items():
        # In full frame the frames of a group are not simulated one by one, which would take long.
        quick = replace(config, readpatt="NISRAPID") if mode == "NIRISS full frame" else config
        write_exposure(replace(simulate_exposure(quick), config=config), folder / f"{file_name(mode)}_uncal.fits")
    build_crds_cache(folder / "crds", write_references(folder / "references", configurations), link=True)
    yield run_pipelines(folder, list(map(file_name, configurations)), {}, stepwise=True)
    shutil.rmtree(folder)


def test_rates_and_flags(runs, compared):
    """Nearly all rates within 1e-5 of themselves or their errors, nearly all flags the same."""
    for kind in ("rate", "rateints"):
        products = [runs.product(package, file_name(compared), kind) for package in ("jwst", "upramp")]
        figures = mode_table.record(compared, *products) if kind == "rateints" else mode_table.compare(*products)
        assert figures.agreeing >= 0.99999, kind
        assert figures.identical >= 0.99999, kind
        assert figures.largest <= 1e-3, kind
        assert figures.common_jumps >= 0.999 * figures.jumps, kind
    assert figures.jumps > 0 or MODES[compared].ngroups < 3


def test_status_and_references_in_the_header(runs, compared):
    """Which steps ran, and with which files, is recorded as by the peer."""
    headers = [fits.getheader(runs.product(package, file_name(compared), "rate")) for package in ("jwst", "upramp")]
    theirs, ours = ({k: v for k, v in h.items() if k.startswith(("S_", "R_", "SUB", "N"))} for h in headers)
    assert ours == theirs
    assert ours["S_RAMP"] == ours["S_LINEAR"] == "COMPLETE"


def test_tables_of_integrations(runs, compared):
    """Times of the integrations, and of the stripes that they are made of."""
    paths = [runs.product(package, file_name(compared), "rateints") for package in ("jwst", "upramp")]
    with fits.open(paths[0]) as theirs, fits.open(paths[1]) as ours:
        tables = [[hdu.name for hdu in hdus if hdu.name.startswith("INT_TIMES")] for hdus in (theirs, ours)]
        assert tables[0] == tables[1] == ["INT_TIMES", "INT_TIMES_STRIPE"][: 1 + (compared in SUPERSTRIPES)]
        for name in tables[0]:
            assert theirs[name].columns.names == ours[name].columns.names
            assert theirs[name].data.tobytes() == ours[name].data.tobytes()


def test_schedules_agree_bit_by_bit(runs, mode):
    for kind in ("rate", "rateints"):
        paths = [runs.product("upramp", file_name(mode) + end, kind) for end in ("", "-stepwise")]
        with fits.open(paths[0]) as fused, fits.open(paths[1]) as stepwise:
            for hdu in fused[1:]:
                if hdu.name != "ASDF":
                    assert hdu.data.tobytes() == stepwise[hdu.name].data.tobytes(), (kind, hdu.name)


def test_reading_by_reads_makes_a_difference(runs, tmp_path):
    """The reference has inverse coefficients, and they are used: slopes are not those of the plain polynomial."""
    from upramp.pipelines import Detector1Pipeline

    name = file_name("read-level linearity, 5 frames divided by 8")
    folder = runs.folder / "references" / name
    references = {path.stem.rsplit("_", 1)[1]: path for path in folder.glob("*.fits")}
    references["dark"] = next((folder.parent / "own" / name).glob("*_dark.fits"))
    with fits.open(references["linearity"]) as hdus:
        del hdus["INV_COEFFS"]
        hdus.writeto(tmp_path / "plain.fits")
    kinds = references | {"linearity": tmp_path / "plain.fits"}
    steps = {}
    for key, step in Detector1Pipeline.step_defs.items():
        steps[key] = {f"override_{kind}": str(kinds[kind]) for kind in step.reference_file_types if kind in kinds}
    steps["ipc"]["skip"] = True
    plain = Detector1Pipeline(steps=steps).run(str(runs.exposure(name)))
    by_reads = fits.getdata(runs.product("upramp", name, "rate"), "SCI")
    assert np.nanmax(np.abs(by_reads - plain.data)) > 0.1

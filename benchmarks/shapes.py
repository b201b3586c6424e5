"""The exposures that are measured, named after detector modes (integrations x groups); made once, in a cache folder."""

import hashlib
import math
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits

from upramp.models import PictureFrameModel
from upramp.simulate import (
    Exposure,
    SimulationConfig,
    build_crds_cache,
    make_references,
    simulate_exposure,
    write_exposure,
)

DEFAULT_CACHE = Path(tempfile.gettempdir()) / "upramp-benchmarks"
DETECTOR = "NRCBLONG"
FITS_BLOCK = 2880
RAMPS_OF_A_HIT = 5  # a cosmic ray of the simulator leaves charge in four neighbours


@dataclass(frozen=True)
class Mode:
    """One shape: a subarray, integrations and groups.

    ``simulated`` integrations are drawn, and repeated in turn if there are more (None: all are drawn).
    ``ramps_hit`` is the part of the ramps that cosmic rays leave charge in, where they hit or beside (None: as in
    space). ``snowballs`` and ``showers`` come with every integration; ``emi`` is the amplitude of interference [DN].
    """

    name: str
    subarray: str
    nints: int
    ngroups: int
    simulated: int | None = None
    ramps_hit: float | None = None
    detector: str = DETECTOR
    readpatt: str | None = None
    snowballs: int = 0
    showers: int = 0
    emi: float = 0.0

    @property
    def config(self):
        """Configuration of the simulator."""
        interference = {"emi": self.emi, "emi_frequency": EMI_FREQUENCY} if self.emi else {}
        config = SimulationConfig(
            detector=self.detector,
            subarray=self.subarray,
            readpatt=self.readpatt,
            nints=self.nints,
            ngroups=self.ngroups,
            snowballs=self.snowballs,
            star_count=40,
            **interference,
        )
        if self.ramps_hit is None:
            return config
        if self.ramps_hit == 0:
            return config.without("cosmic-rays")
        seconds = config.frames_per_integration * config.frame_time
        return replace(config, cosmic_ray_rate=-math.log1p(-self.ramps_hit) / (seconds * RAMPS_OF_A_HIT))

    @property
    def samples(self):
        """Number of raw samples."""
        window = self.config.geometry
        return self.nints * self.ngroups * window.xsize * window.ysize


INTEGRATION_COUNTS = (1, 2, 4, 8, 16)
# With a primary hit in every fourth ramp, three of four have some charge.
RAMPS_HIT = (0.0, 0.01, 0.25, 0.75)
LARGE = "nircam_full_75x10"  # 6.3 GB of raw samples
SNOWBALLS = 20  # in an integration; in space about one in 107 s
SHOWERS = 20
EMI_FREQUENCY = 10.039216  # Hz; frames of MIRI take a whole number of periods of 390.625 Hz, in most subarrays
SHOWER_LEVEL, SHOWER_SIZE = 25, 12  # DN in the middle; half its width [pixel]

MODES = {
    mode.name: mode
    for mode in (
        Mode("nircam_full_2x10", "FULL", 2, 10),
        Mode("nircam_sub160_4x7", "SUB160", 4, 7),
        Mode("nircam_tso_120x5", "SUBGRISM64", 120, 5),
        Mode("nircam_tso_4x5", "SUBGRISM64", 4, 5),
        *(Mode(f"nircam_full_{n}x10", "FULL", n, 10, simulated=2) for n in INTEGRATION_COUNTS if n != 2),
        Mode(LARGE, "FULL", 75, 10, simulated=2),
        *(Mode(f"nircam_sub640_2x10_hit{100 * part:.0f}%", "SUB640", 2, 10, None, part) for part in RAMPS_HIT),
        Mode("nircam_snowballs_2x10", "FULL", 2, 10, snowballs=SNOWBALLS),
        Mode("nircam_snowballs_8x10", "FULL", 8, 10, simulated=2, snowballs=SNOWBALLS),
        Mode("miri_full_3x20", "FULL", 3, 20, detector="MIRIMAGE", showers=SHOWERS),
        Mode("miri_emi_full_2x20", "FULL", 2, 20, detector="MIRIMAGE", emi=8.0),
        Mode("miri_emi_mask1065_4x20", "MASK1065", 4, 20, detector="MIRIMAGE", emi=8.0),
        Mode("nirspec_allslits_2x10", "ALLSLITS", 2, 10, detector="NRS1"),
        Mode("nirspec_full_1x4", "FULL", 1, 4, detector="NRS1", readpatt="NRSRAPID"),
        # Of the other detector than those above: references of the full frame are not the same for both readouts.
        Mode("nirspec_irs2_full_1x10", "FULL", 1, 10, detector="NRS2", readpatt="NRSIRS2RAPID"),
        Mode("nirspec_irs2_full_3x10", "FULL", 3, 10, simulated=1, detector="NRS2", readpatt="NRSIRS2RAPID"),
    )
}


def _thermal_pattern(case):
    """A reference of picture_frame: brighter towards the edges."""
    path = case.raw.parent / "pictureframe.fits"
    if not path.exists():
        edge = np.minimum(np.arange(2048), np.arange(2048)[::-1])
        distance = np.minimum(edge[:, np.newaxis], edge)
        model = PictureFrameModel((0.2 * np.exp(-distance / 120)).astype(np.float32))
        model.meta.instrument.name = "NIRSPEC"
        model.save(path)
    return str(path)


def _side_kernels(case):
    """A reference of SIRS: coefficients that fall off with frequency."""
    path = case.raw.parent / "sirskernel.asdf"
    if not path.exists():
        coefficients = np.tile(0.5 / (1 + np.arange(2049) / 60) + 0j, (4, 1))
        meta = {"reftype": "sirskernel", "telescope": "JWST", "instrument": {"name": "NIRSPEC"}}
        meta |= dict.fromkeys(("author", "description"), "benchmarks") | {"pedigree": "DUMMY"}
        meta["useafter"] = "2022-01-01T00:00:00"
        of_detector = {"gamma": coefficients, "zeta": coefficients}
        asdf.AsdfFile({"meta": meta, case.mode.detector.lower(): of_detector}).write_to(path)
    return str(path)


# Parameters of steps that differ from the defaults, by name of the variant; a function of the case makes a file.
VARIANTS = {
    "snowballs": {"jump": {"expand_large_events": True}},
    "showers": {"jump": {"find_showers": True}},
    "emicorr": {"emicorr": {"skip": False}},
    "emicorr, sequential": {"emicorr": {"skip": False, "algorithm": "sequential"}},
    "charge migration": {"charge_migration": {"skip": False}},
    "persistence": {"persistence": {"skip": False, "persistence_time": 60, "dn_threshold": 30000.0}},
    "medians of lines": {"clean_flicker_noise": {"skip": False}},
    "frequencies": {"clean_flicker_noise": {"skip": False, "fit_method": "fft"}},
    "noise of full frames": {
        "refpix": {"refpix_algorithm": "sirs", "override_sirskernel": _side_kernels},
        "picture_frame": {"skip": False, "mask_science_regions": False, "override_pictureframe": _thermal_pattern},
        "clean_flicker_noise": {"skip": False, "fit_method": "fft"},
    },
    "likelihood": {"jump": {"skip": True}, "ramp_fit": {"algorithm": "LIKELY"}},
}


@dataclass(frozen=True)
class Case:
    """A mode with its files: raw exposure, CRDS cache, and a folder for products; and parameters of steps."""

    mode: Mode
    raw: Path
    crds: Path
    products: Path
    variant: str = ""
    steps: dict = field(default_factory=dict)

    @property
    def environment(self):
        """What a process needs to find the references."""
        return {"CRDS_PATH": str(self.crds)}

    @property
    def name(self):
        """Mode and variant."""
        return f"{self.mode.name} {self.variant}".strip()

    def as_variant(self, name):
        """The same exposure with the parameters of one of `VARIANTS`."""
        steps = {
            step: {key: value(self) if callable(value) else value for key, value in pars.items()}
            for step, pars in VARIANTS[name].items()
        }
        return replace(self, variant=name, steps=steps)


def prepare(names, root=DEFAULT_CACHE):
    """Make the exposures and references of some modes, unless they are there.

    Parameters
    ----------
    names : iterable of str
        Names in `MODES`.
    root : Path
        Cache folder.

    Returns
    -------
    dict of str to Case
        All have one CRDS cache, because its client looks at one only in the life of a process.
    """
    modes = [MODES[name] for name in dict.fromkeys(names)]
    root = Path(root)
    references = {}
    for setting in dict.fromkeys((mode.detector, mode.subarray, mode.readpatt, mode.emi) for mode in modes):
        # Another file of the same name (the pipeline's parameters, which serve a whole detector) is the same.
        references = _references(setting, root) | references
    crds = root / f"crds-{_key(*sorted(map(str, references.values())))}"
    if not crds.exists():
        part = Path(tempfile.mkdtemp(dir=root))
        build_crds_cache(part, references.values(), link=True)
        part.rename(crds)
    return {mode.name: _case(mode, root, crds) for mode in modes}


def _key(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _references(setting, root):
    """Reference files by name of a detector, subarray, pattern and interference, with darks as long as integrations."""
    modes = [mode for mode in MODES.values() if (mode.detector, mode.subarray, mode.readpatt, mode.emi) == setting]
    detector, subarray, readpatt, emi = setting
    longest = max(mode.ngroups for mode in modes)
    config = Mode("", subarray, 1, longest, detector=detector, readpatt=readpatt, emi=emi).config
    folder = root / f"references-{_key(config)}"
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=root))
        make_references(config, part)
        part.rename(folder)
    return {path.name: path for path in sorted(folder.iterdir())}


def _case(mode, root, crds):
    raw = _raw_file(mode, root)
    products = raw.parent / "products"
    products.mkdir(exist_ok=True)
    return Case(mode, raw, crds, products)


def _raw_file(mode, root):
    name = f"{mode.name}_uncal.fits"
    folder = root / f"{mode.name}-{_key(mode.config, mode.simulated, mode.showers)}"
    if not folder.exists():
        part = Path(tempfile.mkdtemp(dir=root))
        if mode.simulated is None:
            exposure = simulate_exposure(mode.config)
            _add_showers(exposure.data, mode.showers)
            write_exposure(exposure, part / name)
        else:
            wanted = replace(mode, nints=mode.simulated, simulated=None)
            source = next(one for one in MODES.values() if replace(one, name=mode.name) == wanted)
            _repeat_integrations(_raw_file(source, root), part / name, mode)
        part.rename(folder)
    return folder / name


def _add_showers(data, count):
    """Add faint, extended events to raw samples: ``count`` in every integration, at random places and times."""
    stream = np.random.default_rng(1)
    ni, ng, ny, nx = data.shape
    y, x = np.ogrid[:ny, :nx]
    for i in range(ni):
        for _ in range(count):
            distance = np.hypot(y - stream.uniform(0, ny), x - stream.uniform(0, nx))
            level = SHOWER_LEVEL * np.exp(-((distance / SHOWER_SIZE) ** 2) * np.log(2))
            data[i, stream.integers(1, ng) :] += level.astype(np.uint16)


def _repeat_integrations(source, path, mode):
    """Write an exposure whose integrations are those of another file in turn; nothing of its size is in memory."""
    # Headers and tables of the whole exposure around one pixel per group, which the repeated frames replace.
    skeleton = path.with_suffix(".skeleton")
    one_pixel = np.zeros((mode.nints, mode.ngroups, 1, 1), np.uint16)
    write_exposure(Exposure(mode.config, one_pixel, zeroframe=None, truth=None), skeleton)
    samples = fits.getdata(source, "SCI", memmap=True, do_not_scale_image_data=True)
    with fits.open(skeleton) as hdus, skeleton.open("rb") as old, path.open("wb") as new:
        position = hdus["SCI"].fileinfo()
        primary, header = hdus[0].header.copy(), hdus["SCI"].header.copy()
        primary["FILENAME"] = path.name
        header["NAXIS1"], header["NAXIS2"] = samples.shape[3], samples.shape[2]
        new.write(primary.tostring().encode())
        new.write(header.tostring().encode())
        for integration in range(mode.nints):
            new.write(np.ascontiguousarray(samples[integration % len(samples)]).data)
        new.write(bytes(-new.tell() % FITS_BLOCK))
        old.seek(position["datLoc"] + position["datSpan"])
        shutil.copyfileobj(old, new)
    skeleton.unlink()

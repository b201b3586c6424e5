"""The exposures that are measured, named after detector modes (integrations x groups); made once, in a cache folder."""

import hashlib
import math
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

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


@dataclass(frozen=True)
class Mode:
    """One shape: a subarray, integrations and groups.

    ``simulated`` integrations are drawn, and repeated in turn if there are more (None: all are drawn).
    ``ramps_hit`` is the part of the ramps that take a primary cosmic-ray hit (None: as in space).
    """

    name: str
    subarray: str
    nints: int
    ngroups: int
    simulated: int | None = None
    ramps_hit: float | None = None

    @property
    def config(self):
        """Configuration of the simulator."""
        config = SimulationConfig(
            detector=DETECTOR, subarray=self.subarray, nints=self.nints, ngroups=self.ngroups, star_count=40
        )
        if self.ramps_hit is None:
            return config
        if self.ramps_hit == 0:
            return config.without("cosmic-rays")
        seconds = config.frames_per_integration * config.frame_time
        return replace(config, cosmic_ray_rate=-math.log1p(-self.ramps_hit) / seconds)

    @property
    def samples(self):
        """Number of raw samples."""
        window = self.config.geometry
        return self.nints * self.ngroups * window.xsize * window.ysize


INTEGRATION_COUNTS = (1, 2, 4, 8, 16)
RAMPS_HIT = (0.0, 0.01, 0.25)
LARGE = "nircam_full_75x10"  # 6.3 GB of raw samples

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
    )
}


@dataclass(frozen=True)
class Case:
    """A mode with its files: raw exposure, CRDS cache, and a folder for products."""

    mode: Mode
    raw: Path
    crds: Path
    products: Path

    @property
    def environment(self):
        """What a process needs to find the references."""
        return {"CRDS_PATH": str(self.crds)}


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
    for subarray in dict.fromkeys(mode.subarray for mode in modes):
        # A later file of a type that matches the same exposures (the pipeline's parameters) is the same.
        references = _references(subarray, root) | references
    crds = root / f"crds-{_key(*sorted(map(str, references.values())))}"
    if not crds.exists():
        part = Path(tempfile.mkdtemp(dir=root))
        build_crds_cache(part, references.values(), link=True)
        part.rename(crds)
    return {mode.name: _case(mode, root, crds) for mode in modes}


def _key(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _references(subarray, root):
    """Reference files of a subarray, with a dark as long as its longest integration: by type and subarray."""
    ngroups = max(mode.ngroups for mode in MODES.values() if mode.subarray == subarray)
    config = Mode("", subarray, 1, ngroups).config
    folder = root / f"references-{_key(config)}"
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=root))
        make_references(config, part)
        part.rename(folder)
    return {path.name if "pars" in path.name else f"{subarray}/{path.name}": path for path in sorted(folder.iterdir())}


def _case(mode, root, crds):
    raw = _raw_file(mode, root)
    products = raw.parent / "products"
    products.mkdir(exist_ok=True)
    return Case(mode, raw, crds, products)


def _raw_file(mode, root):
    name = f"{mode.name}_uncal.fits"
    folder = root / f"{mode.name}-{_key(mode.config, mode.simulated)}"
    if not folder.exists():
        part = Path(tempfile.mkdtemp(dir=root))
        if mode.simulated is None:
            write_exposure(simulate_exposure(mode.config), part / name)
        else:
            wanted = replace(mode, nints=mode.simulated, simulated=None)
            source = next(one for one in MODES.values() if replace(one, name=mode.name) == wanted)
            _repeat_integrations(_raw_file(source, root), part / name, mode)
        part.rename(folder)
    return folder / name


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

"""How well a calibrated exposure agrees with the truth it was simulated from."""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from upramp.models import CubeModel, ImageModel, RampModel
from upramp.models.dqflags import GroupDQ, PixelDQ
from upramp.simulate.scene import COSMIC_RAY_DTYPE

__all__ = ["CLEAR_HIT", "Calibration", "CosmicRays", "Slopes", "count_cosmic_rays", "measure_slopes"]

#: A hit of at least this many standard deviations of a group difference should be found; the threshold of the
#: jump step is 4.
CLEAR_HIT = 6.0
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution in units of its median absolute deviation


@dataclass(frozen=True)
class Calibration:
    """What the pipeline made of an exposure, and the truth, as arrays.

    Attributes
    ----------
    ramp : (nint, ngroup, ny, nx) float32
        Ramp before the fit [DN].
    groupdq : (nint, ngroup, ny, nx) uint8
    rate, err : (ny, nx) float32
        Slopes of the exposure and their errors [DN/s].
    dq : (ny, nx) uint32
        Flags of the slopes.
    rateints, rateints_err : (nint, ny, nx) float32
        Slopes of the integrations and their errors [DN/s].
    group_time : float
        Time between groups [s].
    true_rate, gain, read_noise : (ny, nx) float32
        Light [DN/s], gain [e-/DN], noise of one read [DN].
    frames : int
        Reads averaged into a group.
    hits : (n,) array of COSMIC_RAY_DTYPE
        Charges of cosmic rays, see `upramp.simulate.scene`.
    """

    ramp: np.ndarray
    groupdq: np.ndarray
    rate: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    rateints: np.ndarray
    rateints_err: np.ndarray
    group_time: float
    frames: int
    true_rate: np.ndarray
    gain: np.ndarray
    read_noise: np.ndarray
    hits: np.ndarray

    @classmethod
    def read(cls, stem):
        """Read the products and the truth of an exposure.

        Parameters
        ----------
        stem : Path
            Name of the exposure without suffix: ``<stem>_rate.fits`` and so on are read.
        """

        def path(suffix):
            return stem.with_name(f"{stem.name}_{suffix}.fits")

        ramp, rate, rateints = RampModel(path("ramp")), ImageModel(path("rate")), CubeModel(path("rateints"))
        with fits.open(path("truth")) as truth:
            table = truth["COSMIC_RAYS"].data
            hits = np.empty(len(table), COSMIC_RAY_DTYPE)
            for name in COSMIC_RAY_DTYPE.names:
                hits[name] = table[name]
            images = {name: truth[name].data.astype(np.float32) for name in ("RATE", "GAIN", "READ_NOISE")}
        return cls(
            ramp=ramp.data,
            groupdq=ramp.groupdq,
            rate=rate.data,
            err=rate.err,
            dq=rate.dq,
            rateints=rateints.data,
            rateints_err=rateints.err,
            group_time=ramp.meta.exposure.group_time,
            frames=ramp.meta.exposure.nframes,
            true_rate=images["RATE"],
            gain=images["GAIN"],
            read_noise=images["READ_NOISE"],
            hits=hits,
        )

    @property
    def jumps(self):
        """(nint, ngroup, ny, nx) bool: samples flagged as jumps."""
        return (self.groupdq & GroupDQ.JUMP_DET) != 0

    @property
    def noise(self):
        """(ny, nx) float32: standard deviation of the difference of two groups without a hit [DN]."""
        shot = self.true_rate * self.group_time / self.gain
        return np.sqrt(shot + 2 * self.read_noise**2 / self.frames)


@dataclass(frozen=True)
class CosmicRays:
    """Cosmic rays that were injected and samples that were flagged.

    Attributes
    ----------
    injected : int
        Hits (without the neighbours into which they leak).
    visible : int
        Hits that leave a step between two usable groups.
    found : int
        Visible hits that are flagged in their group.
    clear, clear_found : int
        The same for hits of at least `CLEAR_HIT` standard deviations.
    flagged : int
        Flagged samples.
    false : int
        Flagged samples where neither the pixel nor one next to it was hit in that group.
    samples : int
        Samples that were searched.
    """

    injected: int
    visible: int
    found: int
    clear: int
    clear_found: int
    flagged: int
    false: int
    samples: int

    @property
    def completeness(self):
        """Part of the clear hits that were found; NaN if there were none."""
        return self.clear_found / self.clear if self.clear else float("nan")

    @property
    def purity(self):
        """Part of the flagged samples that a hit explains; NaN if there are none."""
        return 1 - self.false / self.flagged if self.flagged else float("nan")


def count_cosmic_rays(calibration):
    """Compare the flagged jumps with the injected cosmic rays.

    Parameters
    ----------
    calibration : Calibration

    Returns
    -------
    CosmicRays
    """
    jumps, hits = calibration.jumps, calibration.hits
    unusable = (calibration.groupdq & (GroupDQ.DO_NOT_USE | GroupDQ.SATURATED)) != 0
    primary = hits[hits["primary"]]
    where = tuple(primary[axis] for axis in ("integration", "group", "y", "x"))
    before = (where[0], np.maximum(where[1] - 1, 0), *where[2:])
    visible = (where[1] > 0) & ~unusable[where] & ~unusable[before]
    clear = visible & (primary["charge"] >= CLEAR_HIT * calibration.noise[where[2:]])

    explained = np.zeros(jumps.shape, bool)
    explained[tuple(hits[axis] for axis in ("integration", "group", "y", "x"))] = True
    direct = explained.copy()
    explained[..., 1:, :] |= direct[..., :-1, :]
    explained[..., :-1, :] |= direct[..., 1:, :]
    explained[..., 1:] |= direct[..., :-1]
    explained[..., :-1] |= direct[..., 1:]
    return CosmicRays(
        injected=len(primary),
        visible=int(visible.sum()),
        found=int((visible & jumps[where]).sum()),
        clear=int(clear.sum()),
        clear_found=int((clear & jumps[where]).sum()),
        flagged=int(jumps.sum()),
        false=int((jumps & ~explained).sum()),
        samples=int((~unusable[:, 1:]).sum()),
    )


@dataclass(frozen=True)
class Slopes:
    """Slopes against the truth; the pull is (slope - truth) / error.

    Attributes
    ----------
    used : int
        Pixels without DO_NOT_USE that have a slope.
    bias : float
        Mean of slope - truth [DN/s].
    bias_error : float
        Its standard error [DN/s].
    mean_rate : float
        Mean of the truth [DN/s].
    pull_median, pull_std : float
        Median and standard deviation of the pull.
    pull_width : float
        Standard deviation from the median absolute deviation: the tails do not matter.
    """

    used: int
    bias: float
    bias_error: float
    mean_rate: float
    pull_median: float
    pull_std: float
    pull_width: float


def measure_slopes(calibration):
    """Compare the slopes of the exposure with the truth.

    Parameters
    ----------
    calibration : Calibration

    Returns
    -------
    Slopes
    """
    good = (calibration.dq & PixelDQ.DO_NOT_USE) == 0
    good &= np.isfinite(calibration.rate) & (calibration.err > 0)
    truth, err = calibration.true_rate[good].astype(float), calibration.err[good].astype(float)
    error = calibration.rate[good] - truth
    pull = error / err
    median = np.median(pull)
    return Slopes(
        used=int(good.sum()),
        bias=float(error.mean()),
        bias_error=float(error.std() / np.sqrt(error.size)),
        mean_rate=float(truth.mean()),
        pull_median=float(median),
        pull_std=float(pull.std()),
        pull_width=float(NORMAL_MAD * np.median(np.abs(pull - median))),
    )

"""What falls on the detector: sky and stars as a rate image, cosmic rays and snowballs as events."""

import numpy as np

from upramp.simulate.detector_maps import random_stream

__all__ = ["COSMIC_RAY_DTYPE", "SNOWBALL_DTYPE", "cosmic_rays", "rate_image", "snowball_charge", "snowballs"]

#: A charge deposited in one pixel: 0-based integration, frame, group (the first that shows it), row, column;
#: charge [DN of linear signal]; True for the pixel that was hit, False for a neighbour.
COSMIC_RAY_DTYPE = np.dtype(
    [
        ("integration", "i4"),
        ("group", "i4"),
        ("frame", "i4"),
        ("y", "i4"),
        ("x", "i4"),
        ("charge", "f4"),
        ("primary", "?"),
    ]
)
#: A large event: where and when as for a cosmic ray (centre, real numbers); radius of the core that saturates
#: and of the halo around it [pixel].
SNOWBALL_DTYPE = np.dtype(
    [
        ("integration", "i4"),
        ("group", "i4"),
        ("frame", "i4"),
        ("y", "f4"),
        ("x", "f4"),
        ("core_radius", "f4"),
        ("halo_radius", "f4"),
    ]
)
COSMIC_RAY_SPREAD = 1.0  # of the natural logarithm of the charge
SNOWBALL_CORE_CHARGE = 1.0e5  # DN: saturates every pixel
SNOWBALL_HALO_CHARGE = 3000.0  # DN at the edge of the core
SNOWBALL_HALO_SIZE = 2.5  # radius in radii of the core
_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def rate_image(config, shape=None):
    """Count rate of the sky and the stars [DN/s]: (ny, nx) float64, before any property of the detector.

    ``shape`` is that of the window unless it is given.

    A star is a round Gaussian sampled at pixel centres, cut where it falls below 1e-6 of its peak.
    """
    ny, nx = shape or config.geometry.shape
    rate = np.full((ny, nx), float(config.sky_rate))
    stream = random_stream(config.seed, "stars")
    sigma = config.star_fwhm / _FWHM_PER_SIGMA
    reach = int(np.ceil(5.3 * sigma))
    low, high = np.log(config.star_flux)
    for yc, xc, flux in zip(
        stream.uniform(0, ny - 1, config.star_count),
        stream.uniform(0, nx - 1, config.star_count),
        np.exp(stream.uniform(low, high, config.star_count)),
        strict=True,
    ):
        rows = np.arange(max(0, int(yc) - reach), min(ny, int(yc) + reach + 1))
        columns = np.arange(max(0, int(xc) - reach), min(nx, int(xc) + reach + 1))
        profile = np.exp(-0.5 * ((rows - yc) / sigma) ** 2)[:, None] * np.exp(-0.5 * ((columns - xc) / sigma) ** 2)
        rate[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += flux / (2 * np.pi * sigma**2) * profile
    return rate


def _first_group(config, frame):
    """First group with a frame that is read at or after the given one."""
    step = config.frames_per_group + config.frames_dropped
    return np.where(frame % step < config.frames_per_group, frame // step, frame // step + 1)


def cosmic_rays(config, sensitive, integration):
    """Cosmic-ray hits of one integration.

    Parameters
    ----------
    config : SimulationConfig
    sensitive : (ny, nx) bool
        Pixels that collect charge.
    integration : int
        0-based.

    Returns
    -------
    (n,) array of COSMIC_RAY_DTYPE
        Hits and their four neighbours, in the order of time. The charges of one hit add up to what was drawn,
        unless a neighbour lies outside the window or is not sensitive.
    """
    ny, nx = sensitive.shape
    stream = random_stream(config.seed, "cosmic rays", integration)
    frames = config.frames_per_integration
    n_hits = stream.poisson(config.cosmic_ray_rate * ny * nx * frames * config.frame_time)
    frame = np.sort(stream.integers(0, frames, n_hits))
    y, x = stream.integers(0, ny, n_hits), stream.integers(0, nx, n_hits)
    charge = config.cosmic_ray_charge * np.exp(COSMIC_RAY_SPREAD * stream.standard_normal(n_hits))

    shares = ((0, 0, 1 - 4 * config.cosmic_ray_neighbour),) + tuple(
        (dy, dx, config.cosmic_ray_neighbour) for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    hits = np.zeros((n_hits, len(shares)), COSMIC_RAY_DTYPE)
    hits["integration"] = integration
    hits["frame"] = frame[:, None]
    hits["group"] = _first_group(config, frame)[:, None]
    for i, (dy, dx, share) in enumerate(shares):
        hits["y"][:, i], hits["x"][:, i], hits["charge"][:, i] = y + dy, x + dx, share * charge
        hits["primary"][:, i] = i == 0
    hits = hits.ravel()
    inside = (hits["y"] >= 0) & (hits["y"] < ny) & (hits["x"] >= 0) & (hits["x"] < nx) & (hits["charge"] > 0)
    hits = hits[inside]
    return hits[sensitive[hits["y"], hits["x"]]]


def snowballs(config, integration):
    """Large events of one integration: (n,) array of SNOWBALL_DTYPE.

    They come after the first group and, where the integration is long enough, before its last third, so that
    they can be found.
    """
    ny, nx = config.geometry.shape
    events = np.zeros(config.snowballs, SNOWBALL_DTYPE)
    stream = random_stream(config.seed, "snowballs", integration)
    frames = config.frames_per_integration
    first = min(config.frames_per_group, frames - 1)
    events["integration"] = integration
    events["frame"] = np.sort(stream.integers(first, max(first + 1, 2 * frames // 3), config.snowballs))
    events["group"] = _first_group(config, events["frame"])
    events["y"] = stream.uniform(0, ny - 1, config.snowballs)
    events["x"] = stream.uniform(0, nx - 1, config.snowballs)
    events["core_radius"] = config.snowball_radius * stream.uniform(0.7, 1.3, config.snowballs)
    events["halo_radius"] = SNOWBALL_HALO_SIZE * events["core_radius"]
    return events


def snowball_charge(event, shape):
    """Charge of a large event [DN of linear signal]: (ny, nx) float32.

    The core is far above full well; the halo falls off exponentially and ends at its radius.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - event["y"], columns - event["x"])
    core, halo = event["core_radius"], event["halo_radius"]
    charge = SNOWBALL_HALO_CHARGE * np.exp(-3 * (distance - core) / (halo - core))
    charge = np.where(distance < core, SNOWBALL_CORE_CHARGE, charge)
    return np.where(distance < halo, charge, 0).astype(np.float32)

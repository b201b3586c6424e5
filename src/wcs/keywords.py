"""What the header of an image says about its world coordinates: the footprint, and FITS keywords."""

__all__ = ["SIP_KEYS", "footprint_region", "sip_keywords"]

MAX_DEGREE = 5
"""Highest degree that is tried where none is asked for."""

_COEFFICIENTS = [f"{kind}_{i}_{j}" for kind in ("a", "b", "ap", "bp") for i in range(10) for j in range(10)]
SIP_KEYS = (
    "naxis", "cdelt1", "cdelt2", "pc1_1", "pc1_2", "pc2_1", "pc2_2", "a_order", "b_order", "ap_order", "bp_order",
    *_COEFFICIENTS,
)  # fmt: skip
"""Keywords of ``meta.wcsinfo`` that an approximation replaces, whether it has them or not."""


def footprint_region(wcs, shape):
    """Footprint of an image on the sky.

    Parameters
    ----------
    wcs : gwcs.WCS
    shape : tuple of int
        (..., ny, nx) of the image, which counts where the WCS has no bounding box.

    Returns
    -------
    str or None
        ``POLYGON ICRS`` with RA and Dec [deg] of the four outer corners; None if one of them is NaN.
    """
    import numpy as np

    box = wcs.bounding_box or ((-0.5, shape[-1] - 0.5), (-0.5, shape[-2] - 0.5))
    corners = np.array(wcs.footprint(box, center=False, axis_type="spatial"))[:, :2]
    if np.isnan(corners).any():
        return None
    corners[:, 0] %= 360
    return "POLYGON ICRS  " + " ".join(f"{angle:.9f}" for angle in corners.ravel())


def sip_keywords(wcs, crpix=None, *, max_pix_error, degree, max_inv_pix_error, inv_degree, npoints):
    """Approximate a WCS by a gnomonic projection with polynomials (FITS, SIP convention).

    Parameters
    ----------
    wcs : gwcs.WCS
    crpix : (float, float) or None
        Reference pixel, counted from 1; None for one near the middle.
    max_pix_error, max_inv_pix_error : float
        Largest error of the polynomials and of their inverse [pixel].
    degree, inv_degree : int or None
        Degree of the polynomials; None for the lowest that is good enough, up to `MAX_DEGREE`.
    npoints : int
        Points along each axis at which they are fitted.

    Returns
    -------
    dict of str to value
        By keyword in lower case.

    Raises
    ------
    ValueError, RuntimeError
        No polynomial is good enough.
    """
    degrees = range(1, MAX_DEGREE + 1)
    header = wcs.to_fits_sip(
        max_pix_error=max_pix_error,
        degree=degrees if degree is None else degree,
        max_inv_pix_error=max_inv_pix_error,
        inv_degree=degrees if inv_degree is None else inv_degree,
        npoints=npoints,
        crpix=crpix,
        projection="TAN",
    )
    return {keyword.lower(): value for keyword, value in header.items() if not keyword.startswith("NAXIS")}

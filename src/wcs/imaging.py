"""From pixels to the sky: distortion, velocity aberration, and the rotation from the telescope frame.

Frames: ``detector`` (pixels of the subarray, counted from 0) -> ``v2v3`` (angles in the telescope frame [arcsec]) ->
``v2v3vacorr`` (the same without aberration) -> ``world`` (ICRS [deg]). The rotation takes (V2, V3) of the reference
point to its (RA, Dec), with V3 at the angle ``roll_ref`` from north through east.
"""

from dataclasses import dataclass

from upramp.errors import MissingPackageError

__all__ = ["Pointing", "imaging_wcs"]

ARCSEC = 1 / 3600  # deg


@dataclass(frozen=True)
class Pointing:
    """Where the telescope points.

    Attributes
    ----------
    v2_ref, v3_ref : float
        Reference point of the aperture in the telescope frame [arcsec].
    ra_ref, dec_ref : float
        The same point on the sky [deg].
    roll_ref : float
        Angle of V3 there, from north through east [deg].
    va_scale : float or None
        Scale of the image by velocity aberration; None for 1.
    """

    v2_ref: float
    v3_ref: float
    ra_ref: float
    dec_ref: float
    roll_ref: float
    va_scale: float | None = None


def imaging_wcs(distortion, pointing, shape, *, corner=(1, 1), size=(None, None), filter_offset=None):
    """Build the WCS of an image.

    Parameters
    ----------
    distortion : astropy.modeling.Model
        From pixels of the full frame, counted from 0, to V2 and V3 [arcsec]; left as it is.
    pointing : Pointing
    shape : tuple of int
        (..., ny, nx) of the image.
    corner : (int, int)
        SUBSTRT1 and SUBSTRT2: first pixel of the image on the detector, counted from 1.
    size : (int, int)
        SUBSIZE1 and SUBSIZE2, the bounding box of a subarray.
    filter_offset : (float, float), optional
        Shift by the filter along columns and rows [pixel], added before the distortion.

    Returns
    -------
    gwcs.WCS
        With the bounding box of `distortion`; without one, or for a subarray that is not in the corner of the detector,
        with that of the image.

    Raises
    ------
    MissingPackageError
        gwcs is not installed.
    ValueError
        The scale by velocity aberration is not positive.

    Notes
    -----
    Source: reference behaviour.
    """
    try:
        import gwcs
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"world coordinates need the package gwcs ({error}); install it with: python -m pip install 'upramp[wcs]'"
        ) from error
    from astropy import coordinates
    from astropy import units as u
    from gwcs import coordinate_frames as frames

    def plane(name, unit, **keywords):
        return frames.Frame2D(name=name, axes_order=(0, 1), unit=(unit, unit), **keywords)

    v2v3 = [plane(name, u.arcsec, axes_names=("v2", "v3")) for name in ("v2v3", "v2v3vacorr")]
    sky = frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS())
    to_v2v3 = _to_telescope(distortion, shape, corner, size, filter_offset)
    return gwcs.WCS(
        [
            (plane("detector", u.pix), to_v2v3),
            (v2v3[0], _aberration(pointing)),
            (v2v3[1], _to_sky(pointing)),
            (sky, None),
        ]
    )


def _to_telescope(distortion, shape, corner, size, filter_offset):
    from astropy.modeling import bind_bounding_box
    from astropy.modeling.models import Identity, Shift

    transform = distortion.copy()
    try:
        box = transform.bounding_box.bounding_box(order="F")
    except NotImplementedError:
        box = _box(shape[-1], shape[-2])
    if filter_offset is not None:
        transform = Shift(filter_offset[0]) & Shift(filter_offset[1]) | transform
    if corner != (1, 1):
        x, y = (Identity(1) if start == 1 else Shift(start - 1) for start in corner)
        transform = x & y | transform
        box = _box(*size)
    bind_bounding_box(transform, box, order="F")
    return transform


def _box(nx, ny):
    """Edges of the outermost pixels in x and y; a length that is not known is 0."""
    return tuple((-0.5, (n or 0) - 0.5) for n in (nx, ny))


def _aberration(pointing):
    """Scale (V2, V3) about the reference point."""
    from astropy.modeling.models import Identity, Scale, Shift

    scale, reference = pointing.va_scale, (pointing.v2_ref, pointing.v3_ref)
    if scale is None or scale == 1:
        return Identity(2)
    if scale <= 0:
        raise ValueError(f"the scale by velocity aberration (VA_SCALE) is {scale}; expected a positive number near 1")
    transform = Scale(scale, name="dva_scale_v2") & Scale(scale, name="dva_scale_v3")
    if reference == (0, 0):
        return transform
    shifts = [(1 - scale) * value for value in reference]
    transform |= Shift(shifts[0], name="dva_v2_shift") & Shift(shifts[1], name="dva_v3_shift")
    transform.name = "DVA_Correction"
    return transform


def _to_sky(pointing):
    from astropy.modeling.models import RotationSequence3D, Scale
    from gwcs.geometry import CartesianToSpherical, SphericalToCartesian

    angles = [
        pointing.v2_ref * ARCSEC, -pointing.v3_ref * ARCSEC, pointing.roll_ref, pointing.dec_ref, -pointing.ra_ref,
    ]  # fmt: skip
    transform = (
        (Scale(ARCSEC) & Scale(ARCSEC))
        | SphericalToCartesian(wrap_lon_at=180)
        | RotationSequence3D(angles, axes_order="zyxyz")
        | CartesianToSpherical(wrap_lon_at=360)
    )
    transform.name = "v23tosky"
    return transform

"""Where the pixels of a detector look: distortion in the telescope frame, areas of pixels, filters.

V2 and V3 are cubic polynomials of the distance from the centre of the detector, with north (V3) up and V2 to the left
at a roll angle of 0. Centres and scales are about those of the instruments; the distortion is about as large as theirs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from upramp.simulate.detectors import DETECTORS

__all__ = ["FILTER_FACTORS", "Optics"]

SIZE = 2048
TERMS = ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1))  # powers of x and y
INVERSE_DEGREE = 5

# arcsec: centre in V2 and V3, and scale, by the detector or its beginning.
_PLACES = {
    "NRCA1": (121.0, -527.0, 0.0311), "NRCA2": (121.0, -459.5, 0.0308), "NRCA3": (53.1, -527.5, 0.0313),
    "NRCA4": (53.2, -459.8, 0.0309), "NRCALONG": (86.1, -493.2, 0.0629), "NRCB1": (-120.7, -457.7, 0.0307),
    "NRCB2": (-121.1, -525.5, 0.0311), "NRCB3": (-53.0, -457.8, 0.0309), "NRCB4": (-53.1, -525.7, 0.0313),
    "NRCBLONG": (-89.4, -491.4, 0.0630), "NIS": (-290.1, -697.5, 0.0656), "GUIDER1": (207.5, -697.0, 0.0693),
    "GUIDER2": (24.4, -697.5, 0.0690), "MIRIMAGE": (-453.5, -374.1, 0.1110), "NRS1": (320.0, -420.0, 0.1030),
    "NRS2": (440.0, -420.0, 0.1030), "MIRIFULONG": (-503.7, -318.8, 0.2), "MIRIFUSHORT": (-503.7, -318.8, 0.2),
}  # fmt: skip

#: (MJy/sr) / (DN/s) by channel or instrument, then by filter and pupil; the guiders have none.
FILTER_FACTORS = {
    "SHORT": {("F115W", "CLEAR"): 4.25, ("F150W", "CLEAR"): 2.71, ("F200W", "CLEAR"): 1.94},
    "LONG": {("F277W", "CLEAR"): 0.41, ("F356W", "CLEAR"): 0.38, ("F444W", "CLEAR"): 0.45},
    "NIRISS": {("CLEAR", "F115W"): 0.31, ("CLEAR", "F150W"): 0.28, ("F277W", "CLEARP"): 0.43},
    "FGS": {(None, None): 0.22},
}


@dataclass(frozen=True)
class Optics:
    """The optics in front of a detector, by its name."""

    detector: str

    @property
    def place(self):
        """V2 and V3 of the centre of the detector [arcsec], and the length of a pixel there [arcsec]."""
        return _PLACES[self.detector]

    @cached_property
    def coefficients(self):
        """(2, 10): of V2 and V3 by the powers in `TERMS` of the distance from the centre [arcsec, pixel]."""
        scale = self.place[2]
        bend, skew = 1.2e-10 * scale, 8e-7 * scale
        v2 = dict.fromkeys(TERMS, 0.0) | {(1, 0): -scale, (1, 1): skew, (2, 0): -skew / 2, (3, 0): bend, (1, 2): bend}
        v3 = dict.fromkeys(TERMS, 0.0) | {(0, 1): scale, (1, 1): skew / 3, (0, 2): skew, (0, 3): bend, (2, 1): -bend}
        return np.array([[axis[term] for term in TERMS] for axis in (v2, v3)])

    def telescope(self, x, y):
        """V2 and V3 [arcsec] of pixels of the full frame, counted from 0."""
        u, v = x - (SIZE - 1) / 2, y - (SIZE - 1) / 2
        v2, v3 = np.tensordot(self.coefficients, np.stack([u**i * v**j for i, j in TERMS]), 1)
        return v2 + self.place[0], v3 + self.place[1]

    def area(self, window):
        """(ny, nx) float32: areas of the pixels of a window, relative to that in the centre."""
        y, x = np.mgrid[window.rows, window.columns].astype(float)
        step = 0.5
        along_x = np.subtract(self.telescope(x + step, y), self.telescope(x - step, y))
        along_y = np.subtract(self.telescope(x, y + step), self.telescope(x, y - step))
        area = np.abs(along_x[0] * along_y[1] - along_x[1] * along_y[0])
        return (area / self.place[2] ** 2).astype(np.float32)

    def distortion(self):
        """The same as an astropy transform, with a polynomial for its inverse."""
        from astropy.modeling.models import Mapping, Shift

        centre, (v2, v3, _) = (SIZE - 1) / 2, self.place
        forward = [_polynomial(3, dict(zip(TERMS, axis, strict=True))) for axis in self.coefficients]
        transform = (
            Shift(-centre) & Shift(-centre) | Mapping((0, 1, 0, 1)) | forward[0] & forward[1] | Shift(v2) & Shift(v3)
        )
        x, y = np.meshgrid(*[np.linspace(-1, SIZE, 30)] * 2)
        a, b = np.subtract(self.telescope(x, y), np.reshape((v2, v3), (2, 1, 1)))
        powers = [(i, j) for i in range(INVERSE_DEGREE + 1) for j in range(INVERSE_DEGREE + 1 - i)]
        size = np.abs([a, b]).max()
        basis = np.stack([((a / size) ** i * (b / size) ** j).ravel() for i, j in powers], axis=1)
        back = []
        for target in (x, y):
            fitted = np.linalg.lstsq(basis, target.ravel() - centre, rcond=None)[0]
            scaled = {(i, j): value / size ** (i + j) for (i, j), value in zip(powers, fitted, strict=True)}
            back.append(_polynomial(INVERSE_DEGREE, scaled))
        transform.inverse = (
            Shift(-v2) & Shift(-v3) | Mapping((0, 1, 0, 1)) | back[0] & back[1] | Shift(centre) & Shift(centre)
        )
        return transform

    @property
    def factors(self):
        """Conversion factors of the instrument, from `FILTER_FACTORS`."""
        detector = DETECTORS[self.detector]
        return FILTER_FACTORS[detector.channel or detector.instrument]


def _polynomial(degree, coefficients):
    from astropy.modeling.models import Polynomial2D

    return Polynomial2D(degree, **{f"c{i}_{j}": float(value) for (i, j), value in coefficients.items()})

"""Which part of a reference belongs to an exposure: every rule against the peer's."""

import numpy as np
import pytest

from upramp import models
from upramp.models import cutout

pytest.importorskip("jwst", reason="the peer is not installed")

from jwst.lib import reffile_utils
from stdatamodels.jwst import datamodels

pytestmark = pytest.mark.parity

WINDOW = (11, 21, 8, 6)  # SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2 of the exposure


def placed(module, name, shape, window, instrument):
    """A model of either package with an array of numbered pixels."""
    pixels = np.arange(np.prod(shape)).reshape(shape)
    model = getattr(module, name)(pixels.astype(np.uint32 if name == "MaskModel" else np.float32))
    model.meta.instrument.name = instrument
    for key, value in zip(("xstart", "ystart", "xsize", "ysize"), window or (), strict=False):
        setattr(model.meta.subarray, key, value)
    return model


def theirs(reference, science):
    """Array of the peer, or None if it refuses."""
    try:
        if not reffile_utils.ref_matches_sci(science, reference):
            reference = reffile_utils.get_subarray_model(science, reference)
    except ValueError:
        return None
    return getattr(reference, reference.get_primary_array_name())


def ours(reference, science):
    """Our array, or None if we refuse."""
    try:
        rows, columns = cutout(reference, science)
    except ValueError:
        return None
    name = reference._schema.primary
    return getattr(reference, name)[..., rows, columns]


@pytest.mark.parametrize(
    ("name", "shape", "window", "instrument", "covers"),
    [
        ("SaturationModel", (6, 8), WINDOW, "NIRISS", True),
        ("SaturationModel", (40, 30), (5, 2, 30, 40), "FGS", True),
        ("MaskModel", (40, 30), (5, 2, 30, 40), "NIRCAM", True),
        ("LinearityModel", (3, 26, 18), (1, 1, 18, 26), "NIRISS", True),
        ("LinearityModel", (3, 25, 18), (1, 1, 18, 25), "NIRISS", False),
        ("LinearityModel", (3, 26, 17), (1, 1, 17, 26), "NIRISS", False),
        ("SuperBiasModel", (30, 30), (12, 1, 30, 30), "NIRISS", False),
        ("SuperBiasModel", (30, 30), (1, 22, 30, 30), "NIRISS", False),
        ("SuperBiasModel", (2048, 2048), None, "NIRISS", True),
        ("SuperBiasModel", (2047, 2048), None, "NIRISS", False),
        ("SuperBiasModel", (1024, 1032), None, "MIRI", True),
        ("SuperBiasModel", (2048, 2048), None, "MIRI", False),
        ("SuperBiasModel", (1024, 1032), None, "NIRCAM", False),
        ("GainModel", (6, 8), (11, 21, 9, 9), "NIRCAM", True),
        ("GainModel", (6, 8), (0, 21, 8, 6), "NIRCAM", False),
        ("GainModel", (40, 40), (1, 0, 40, 40), "NIRCAM", False),
        ("GainModel", (40, 40), (1, 1, 40, None), "NIRCAM", False),
    ],
)
def test_same_pixels(name, shape, window, instrument, covers):
    arrays = []
    for module, cut in ((datamodels, theirs), (models, ours)):
        science = placed(module, "RampModel", (1, 1, 6, 8), WINDOW, instrument)
        arrays.append(cut(placed(module, name, shape, window, instrument), science))
    assert (arrays[0] is not None) == (arrays[1] is not None) == covers
    if covers:
        np.testing.assert_array_equal(*arrays)


@pytest.mark.parametrize("window", [(None, 21, 8, 6), (0, 21, 8, 6), (11, -1, 8, 6)])
def test_exposures_without_a_place(window):
    for module, cut in ((datamodels, theirs), (models, ours)):
        science = placed(module, "RampModel", (1, 1, 6, 8), window, "NIRISS")
        assert cut(placed(module, "GainModel", (2048, 2048), (1, 1, 2048, 2048), "NIRISS"), science) is None

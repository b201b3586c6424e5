"""Arrays as callers have them: converted where that is safe, refused where something would be lost."""

import numpy as np
import pytest

from upramp.errors import ParameterError, ShapeError
from upramp.kernels import (
    detect_jumps,
    fit_ramps,
    fit_ramps_casertano,
    fit_segments,
    flag_persistence,
    flag_showers,
    flag_snowballs,
    subtract_dark,
    subtract_reset,
)
from upramp.kernels._layout import DTypeError, UprampError, as_canonical
from upramp.kernels.guider_cds import FINE_GUIDING, count_rates_tile, guider_count_rates
from upramp.kernels.jump import detect_jumps_tile
from upramp.kernels.persistence import flag_persistence_tile
from upramp.kernels.ramp_fit import fit_ramps_tile
from upramp.kernels.segment_details import _fit_tile

NY, NX, NGROUPS = 3, 20, 6
PLANE = np.full((NY, NX), 2.0, np.float32)


def _spread(array):
    """The same values in memory that is not contiguous."""
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _read_only(array):
    copy = array.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS = {
    "list": lambda array: array.tolist(),
    "wide": lambda array: array.astype(np.float64 if array.dtype.kind == "f" else np.int64),
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "strided": _spread,
    "reversed": lambda array: array[..., ::-1].copy()[..., ::-1],
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "nothing masked": np.ma.MaskedArray,
}


@pytest.fixture
def ramp():
    """(data, groupdq, pixeldq) of two integrations with a cosmic ray, a saturated pixel and a NaN."""
    rng = np.random.default_rng(3)
    data = (100 * np.arange(NGROUPS)[:, None, None] + rng.normal(0, 5, (2, NGROUPS, NY, NX))).astype(np.float32)
    data[0, 3:, 1, 5] += 900
    data[1, 2, 2, 2] = np.nan
    groupdq = np.zeros(data.shape, np.uint8)
    groupdq[1, 4:, 0, 7] = 2
    return data, groupdq, np.zeros((NY, NX), np.uint32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(ramp, layout):
    data, groupdq, pixeldq = ramp
    other = [LAYOUTS[layout](array) for array in (*ramp, PLANE)]
    options = {"nframes": 1, "group_time": 10.0}
    jumps = detect_jumps(data, groupdq, pixeldq, PLANE, PLANE, **options)
    same = detect_jumps(*other, other[-1], **options)
    assert jumps.groupdq[0, 3, 1, 5] == 4
    np.testing.assert_array_equal(same.groupdq, jumps.groupdq)
    fit, refit = (
        fit_ramps(*arrays, group_time=10.0, frame_time=10.0) for arrays in ((*ramp, PLANE, PLANE), (*other, other[-1]))
    )
    for mine, theirs in zip(fit.integrations, refit.integrations, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    dark = np.ones((NGROUPS, NY, NX), np.float32)
    subtracted = subtract_dark(other[0], other[2], LAYOUTS[layout](dark), other[2])
    np.testing.assert_array_equal(subtracted.data, data - 1)


def test_no_integrations(ramp):
    data, groupdq, pixeldq = ramp
    jumps = detect_jumps(data[:0], groupdq[:0], pixeldq, PLANE, PLANE, nframes=1, group_time=10.0)
    assert jumps.groupdq.shape == (0, NGROUPS, NY, NX)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (np.full((2, 2), 256, np.int64), "values from 256 to 256; expected flags that fit uint8, 0 to 255"),
        (np.full((2, 2), 1 << 9, np.uint16), "512"),
        (np.full((2, 2), -1, np.int64), "-1"),
        (np.ma.MaskedArray(np.zeros((2, 2), np.uint8), np.eye(2)), "masked elements"),
    ],
)
def test_flags_that_would_be_lost(flags, message):
    with pytest.raises(DTypeError, match=message):
        as_canonical(flags, "groupdq", np.uint8, 2)


def test_signed_flags_of_the_same_width():
    flags = np.array([[1 << 31, 5]], np.uint32)
    np.testing.assert_array_equal(as_canonical(flags.view(np.int32), "pixeldq", np.uint32, 2), flags)
    assert as_canonical(flags, "pixeldq", np.uint32, 2) is flags


def test_masked_data(ramp):
    data, groupdq, pixeldq = ramp
    masked = np.ma.masked_invalid(data)
    with pytest.raises(DTypeError, match=r"data is a masked array.*array\.filled"):
        detect_jumps(masked, groupdq, pixeldq, PLANE, PLANE, nframes=1, group_time=10.0)


def test_guider_mode_that_is_none(ramp):
    with pytest.raises(UprampError, match="mode is 'ID'; expected TWO_GROUPS"):
        guider_count_rates(ramp[0], PLANE, PLANE, "ID", 1.0)


def _calls(ramp):
    """Kernels that take numbers, as functions of these."""
    data, groupdq, pixeldq = ramp
    arrays, slopes, times = (data, groupdq, pixeldq, PLANE, PLANE), data[:, 0], np.zeros((2, NGROUPS))
    resultants, patterns = np.moveaxis(data, 1, 0), [[1 + group] for group in range(NGROUPS)]
    groups = {"group_time": 10.0, "nframes": 1}
    fits = groups | {"frame_time": 10.0}
    return [
        (lambda **pars: detect_jumps(*arrays, **pars), groups),
        (lambda **pars: flag_showers(*arrays, **pars), groups),
        (lambda **pars: fit_ramps(*arrays, **pars), fits),
        (lambda **pars: fit_segments(data, groupdq, PLANE, PLANE, slopes, **pars), fits),
        (lambda **pars: flag_snowballs(groupdq, **pars), {"group_time": 10.0}),
        (lambda **pars: flag_persistence(data, groupdq, times, **pars), {"duration": 60.0}),
        (lambda **pars: guider_count_rates(data, PLANE, PLANE, FINE_GUIDING, **pars), {"group_time": 10.0}),
        (
            lambda **pars: fit_ramps_casertano(resultants, np.zeros(resultants.shape, np.uint32), 5.0, **pars),
            {"read_time": 10.0, "read_pattern": patterns},
        ),
    ]


@pytest.mark.parametrize("which", range(8))
def test_numbers_that_are_none(ramp, which):
    call, pars = _calls(ramp)[which]
    for name in pars.keys() - {"read_pattern"}:
        for wrong in (0, -1.0, np.nan, np.inf, None, "10", [10.0], *([1.5] if name == "nframes" else [])):
            with pytest.raises(ParameterError, match=f"{name} is .*; expected a "):
                call(**pars | {name: wrong})
        call(**pars | {name: np.float32(2)})


def test_numbers_of_numpy_compile_nothing_anew(ramp):
    for call, pars in _calls(ramp):
        call(**pars)
        call(**pars | {name: np.float32(value) for name, value in pars.items() if name != "read_pattern"})
    tiles = (fit_ramps_tile, _fit_tile, detect_jumps_tile, count_rates_tile, flag_persistence_tile)
    assert [len(tile.signatures) for tile in tiles] == [1] * len(tiles)


def test_references_without_a_ramp(ramp):
    data, _, pixeldq = ramp
    nothing = np.zeros((0, 3, NY, NX), np.float32)
    for subtract, name in ((subtract_dark, "dark"), (subtract_reset, "reset")):
        with pytest.raises(ShapeError, match=f"{name} has no ramp"):
            subtract(data, pixeldq, nothing, pixeldq)

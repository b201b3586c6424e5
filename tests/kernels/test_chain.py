"""The fused schedule gives the numbers of the stepwise one, bit by bit, however the frame is cut into tiles."""

import dataclasses

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import _row_buffers, stepwise
from upramp.kernels import corrections as c
from upramp.kernels._bits import as_bits
from upramp.kernels.chain import Chain, RampPlanes, WholeFrameRule, calibrate
from upramp.kernels.dark import dark_plan
from upramp.kernels.jump import JumpParameters
from upramp.kernels.likelihood_model import even_read_times
from upramp.kernels.ramp_fit import RampFit, RatePlanes
from upramp.kernels.snowballs import SnowballParameters

MARGIN = 3  # references are larger than the exposure by so much below and to the left


def plane(array, dtype):
    """A big-endian reference that begins before the exposure does."""
    pad = [(0, 0)] * (array.ndim - 2) + [(MARGIN, 0), (MARGIN, 0)]
    stored = np.pad(array, pad).astype(np.dtype(dtype).newbyteorder(">"))
    return as_bits(stored, dtype, first_row=MARGIN, first_column=MARGIN)


def make(shape, seed=0, *, nframes=1, groupgap=0, grow=1, fast=1, ipc=False, parameters=None, place=(0, 0), noutputs=4):
    """A raw exposure with everything that goes wrong in one, and the chain for it."""
    rng = np.random.default_rng(seed)
    _ni, ng, ny, nx = shape
    frame = (ny, nx)
    bias = rng.normal(8000, 300, frame).astype(np.float32)
    rate = rng.uniform(0, 60, frame)
    bright = rng.random(frame) < 0.03
    rate[bright] *= 300
    ramp = np.cumsum(rng.poisson(rate, shape), axis=1) + rng.normal(0, 6, shape)
    hits = rng.random(shape) < 0.01
    ramp += np.cumsum(np.where(hits, rng.exponential(900, shape), 0), axis=1)
    raw = np.clip(ramp + bias, 0, 65535).astype(np.uint16)
    raw[rng.random(shape) < 0.001] = 0

    def flags(**bits):
        dq = np.zeros(frame, np.uint32)
        for bit, fraction in bits.values():
            dq[rng.random(frame) < fraction] |= np.uint32(1 << bit)
        return dq

    def spoil(array, fraction=0.01):
        array = array.astype(np.float32)
        array[..., rng.random(frame) < fraction] = np.nan
        return array

    mask = flags(bad=(0, 0.02), hot=(11, 0.02))
    mask[:4] |= np.uint32(1 << 31)
    mask[:, :4] |= np.uint32(1 << 31)
    coefficients = np.zeros((4, ny, nx))
    coefficients[1], coefficients[2], coefficients[3] = 1, 2e-7, 1e-13
    gain = spoil(np.full(frame, 1.8))
    gain[rng.random(frame) < 0.01] = -1
    noise = spoil(rng.uniform(4, 12, frame))
    n_dark = ng * nframes + (ng - 1) * groupgap
    plan = dark_plan(ng, nframes, groupgap, n_dark, 1, 0)
    kernel = np.array([[0, -0.01, 0], [-0.01, 1.04, -0.01], [0, -0.01, 0]], np.float32)
    return raw, Chain(
        scale=c.FrameScale(True, 8 / 5),
        mask=c.StaticMask(True, plane(mask, np.uint32)),
        saturation=c.Saturation(
            True,
            plane(spoil(rng.uniform(50000, 60000, frame)), np.float32),
            plane(flags(unchecked=(21, 0.01)), np.uint32),
            plane(spoil(bias), np.float32),
            True,
            grow,
            nframes,
            True,
        ),
        ipc=c.InterPixelCapacitance(True, kernel, 4, ny, 4, nx) if ipc else None,
        superbias=c.SuperBias(True, plane(spoil(bias), np.float32), plane(flags(bad=(0, 0.01)), np.uint32)),
        refpix=c.ReferenceMeasurement(
            "NRCA1" if fast == 1 else "NIS",
            *place,
            noutputs,
            "TEST",
            {
                "odd_even_columns": True,
                "use_side_ref_pixels": True,
                "side_smoothing_length": 11,
                "side_gain": 1.0,
                "siglimit": 3.0,
            },
        ),
        linearity=c.Linearity(
            True, plane(spoil(coefficients), np.float32), plane(flags(uncorrected=(20, 0.01)), np.uint32)
        ),
        dark=c.DarkCurrent(
            True,
            plane(spoil(rng.normal(0, 2, (n_dark, ny, nx))), np.float32),
            plane(flags(warm=(12, 0.01)), np.uint32),
            plan.starts,
            plan.counts,
            plan.direct,
        ),
        jump=c.JumpDetection(
            plane(gain, np.float32), plane(noise, np.float32), nframes, 10.7, parameters or JumpParameters()
        ),
        fit=c.RampFitting(
            True, plane(gain, np.float32), plane(noise, np.float32), c.NO_PLANE, 10.7, 2.7, nframes, groupgap, True
        ),
        gain_factor=2.0,
    )


def make_read_level(shape, **keywords):
    """The same with an inverse polynomial, so that linearity is corrected read by read."""
    raw, chain = make(shape, **keywords)
    rng = np.random.default_rng(9)
    inverse = np.zeros((5, *shape[-2:]))
    inverse[1], inverse[2] = 1, -2e-7
    inverse[:, rng.random(shape[-2:]) < 0.01] = np.nan
    linearity = chain.linearity._replace(inverse=plane(inverse, np.float32), nframes=keywords["nframes"])
    return raw, dataclasses.replace(chain, linearity=linearity)


def make_edgeless(shape, **keywords):
    """The same from the middle of a detector: the outer columns, which ipc changes, serve as reference pixels."""
    raw, chain = make(shape, ipc=True, noutputs=1, place=(945, 768), **keywords)
    ipc = chain.ipc._replace(first_science_row=0, first_science_column=0)
    return raw, dataclasses.replace(
        chain, ipc=ipc, refpix=chain.refpix._replace(detector="NRS2", subarray="SUB512"), scale=None
    )


def make_migrating(shape, **keywords):
    """The same with charge that migrates where the signal is high."""
    raw, chain = make(shape, **keywords)
    return raw, dataclasses.replace(chain, charge_migration=c.ChargeMigration(True, 3000.0))


def make_remembering(shape, **keywords):
    """The same with pixels that remember saturation and bright signals."""
    raw, chain = make(shape, **keywords)
    times = 1e9 + np.arange(shape[0])[:, None] * 80.0 + np.arange(shape[1]) * 10.7
    until = np.where(np.random.default_rng(3).random(shape[2:]) < 0.05, 1e9 + 15.0, 0.0)
    return raw, dataclasses.replace(chain, persistence=c.Persistence(True, until, times, 30.0, 2000.0, 33))


def refreshed(chain):
    """The chain with an array of its own for what changes."""
    if chain.persistence is None:
        return chain
    return dataclasses.replace(chain, persistence=chain.persistence._replace(until=chain.persistence.until.copy()))


def run_stepwise(raw, chain):
    """Ramp before the fit, fit and number of jumps, one correction after the other."""
    frame = raw.shape[-2:]
    ramp = stepwise.Ramp(raw.astype(np.float32), np.zeros(raw.shape, np.uint8), np.zeros(frame, np.uint32))
    for name in ("scale", "mask", "saturation", "ipc", "superbias", "refpix", "linearity", "dark", "charge_migration"):
        if getattr(chain, name) is not None:
            stepwise.apply(getattr(chain, name), ramp)
    count = stepwise.detect_jumps(chain.jump, ramp)[0] if chain.jump is not None else 0
    if chain.persistence is not None:
        stepwise.apply(chain.persistence, ramp)
    before = stepwise.Ramp(ramp.data.copy(), ramp.groupdq.copy(), ramp.pixeldq.copy())
    fit = (stepwise.fit_likelihood if chain.fit.read_times else stepwise.fit_ramps)(chain.fit, ramp)[:2]
    for planes in fit:
        for name, power in (("slope", 1), ("err", 1), ("var_poisson", 2), ("var_rnoise", 2)):
            getattr(planes, name)[...] *= np.float32(chain.gain_factor**power)
    return before, fit, count


def assert_same_bits(actual, expected):
    for planes, others in zip(actual, expected, strict=True):
        for name in planes._fields:
            a, b = getattr(planes, name), getattr(others, name)
            np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32), err_msg=name)


MODES = {
    "plain": (make, {"shape": (2, 6, 40, 50)}),
    "one integration, one row": (make, {"shape": (1, 5, 1, 33)}),
    "no growth": (make, {"shape": (1, 7, 35, 21), "grow": 0}),
    "wide growth": (make, {"shape": (2, 5, 37, 45), "grow": 3}),
    "grouped": (make, {"shape": (2, 5, 40, 40), "nframes": 4, "groupgap": 1}),
    "read by read": (make_read_level, {"shape": (2, 4, 30, 33), "nframes": 3, "groupgap": 2}),
    "ipc": (make, {"shape": (1, 6, 41, 39), "ipc": True}),
    "ipc of outer columns": (make_edgeless, {"shape": (2, 5, 35, 60)}),
    "charge migration": (make_migrating, {"shape": (2, 6, 40, 50), "grow": 2, "ipc": True}),
    "persistence": (make_remembering, {"shape": (3, 6, 40, 50)}),
    "single pass": (make, {"shape": (1, 14, 20, 30)}),
    "sigma clip": (make, {"shape": (12, 4, 20, 20), "parameters": JumpParameters(minimum_sigclip_groups=10)}),
    "no neighbours": (make, {"shape": (2, 6, 30, 30), "parameters": JumpParameters(flag_4_neighbors=False)}),
    "after jumps": (
        make,
        {
            "shape": (2, 8, 30, 40),
            "parameters": JumpParameters(after_jump_flag_dn1=50, after_jump_flag_time1=25, after_jump_flag_time2=12),
        },
    ),
    "stripe of four amplifiers": (make, {"shape": (2, 5, 24, 2048)}),
    "columns first": (make, {"shape": (2, 5, 2048, 16), "fast": 2, "place": (0, 2000)}),
    "one amplifier": (make, {"shape": (2, 5, 60, 64), "noutputs": 1, "place": (0, 700)}),
}


@pytest.mark.parametrize("mode", MODES)
def test_fused_equals_stepwise(mode):
    build, keywords = MODES[mode]
    raw, chain = build(**keywords)
    slow = refreshed(chain)
    ramp, fit, count = run_stepwise(raw, slow)
    _ni, _ng, ny, nx = raw.shape
    out = RampPlanes(np.empty(raw.shape, ">f4"), np.empty(raw.shape, np.uint8), np.empty((ny, nx), np.uint32))
    original = raw.copy()
    for options in ({}, {"threads": 2, "tile_bytes": 20000, "block": 7}, {"threads": 1, "tile_bytes": 10**8}):
        quick = refreshed(chain)
        result = calibrate(raw, quick, ramp_out=out, **options)
        assert result.n_primary == count
        if chain.persistence is not None:
            np.testing.assert_array_equal(quick.persistence.until, slow.persistence.until)
        assert_same_bits(result.fit, fit)
        np.testing.assert_array_equal(out.data, ramp.data)
        np.testing.assert_array_equal(out.gdq, ramp.groupdq)
        np.testing.assert_array_equal(out.pdq, ramp.pixeldq)
    np.testing.assert_array_equal(raw, original)


def with_snowballs(shape, parameters, jump_parameters=None, **keywords):
    """An exposure with large events, and a chain that looks for them."""
    build = keywords.pop("build", make)
    raw, chain = build(shape, parameters=jump_parameters, **keywords)
    rng = np.random.default_rng(1)
    ni, ng, ny, nx = shape
    counts = raw.astype(float)
    y, x = np.indices((ny, nx))
    for _ in range(4 * ni):
        core = rng.uniform(2, 6)
        distance = np.hypot(y - rng.uniform(0, ny), x - rng.uniform(0, nx))
        charge = np.where(distance < core, 1e5, 3000 * np.exp(-(distance - core) / core))
        counts[rng.integers(ni), rng.integers(1, ng) :] += np.where(distance < 2 * core, charge, 0)
    raw = np.clip(counts, 0, 65535).astype(np.uint16)
    return raw, dataclasses.replace(chain, jump=chain.jump._replace(snowballs=parameters))


@pytest.mark.parametrize(
    ("shape", "parameters", "options"),
    [
        ((2, 7, 80, 70), SnowballParameters(edge_size=5), {}),
        ((1, 6, 60, 64), SnowballParameters(sat_required_snowball=False), {"ipc": True}),
        ((3, 6, 50, 64), SnowballParameters(edge_size=3, snowball_time_masked_next_int=25), {"grow": 2}),
        ((1, 6, 50, 64), SnowballParameters(edge_size=3), {"build": make_migrating}),
        ((2, 6, 50, 64), SnowballParameters(edge_size=3), {"build": make_remembering}),
    ],
    ids=["cores", "everything", "short afterimage", "charge migration", "persistence"],
)
def test_two_passes_around_large_events_equal_stepwise(shape, parameters, options):
    raw, chain = with_snowballs(shape, parameters, **options)
    ramp, fit, _ = run_stepwise(raw, refreshed(chain))
    plain, _, n_primary = run_stepwise(
        raw, dataclasses.replace(refreshed(chain), jump=chain.jump._replace(snowballs=None))
    )
    assert (ramp.groupdq != plain.groupdq).any()
    out = RampPlanes(np.empty(raw.shape, ">f4"), np.empty(raw.shape, np.uint8), np.empty(shape[2:], np.uint32))
    flags = np.empty(raw.shape, np.uint8)
    searched = []
    for tiles in ({"threads": 2, "tile_bytes": 20000, "block": 7}, {"threads": 1, "tile_bytes": 10**8}):
        result = calibrate(raw, refreshed(chain), flags_out=flags, after_integration=searched.append, **tiles)
        with_ramp = calibrate(raw, refreshed(chain), ramp_out=out, **tiles)
        for one in (result, with_ramp):
            assert one.n_primary == n_primary and one.n_events > 0
            assert_same_bits(one.fit, fit)
        np.testing.assert_array_equal(flags, ramp.groupdq)
        np.testing.assert_array_equal(out.data, ramp.data)
        np.testing.assert_array_equal(out.gdq, ramp.groupdq)
        np.testing.assert_array_equal(out.pdq, ramp.pixeldq)
    assert sorted(searched) == sorted(2 * list(range(shape[0])))


@pytest.mark.parametrize("left_out", ["mask", "saturation", "linearity"])
def test_corrections_can_be_left_out_of_two_passes(left_out):
    raw, chain = with_snowballs((1, 6, 40, 44), SnowballParameters(edge_size=5))
    chain = dataclasses.replace(chain, **{left_out: None})
    _, fit, n_primary = run_stepwise(raw, chain)
    result = calibrate(raw, chain, tile_bytes=30000)
    assert result.n_primary == n_primary
    assert_same_bits(result.fit, fit)


@pytest.mark.parametrize("nframes", [1, 4])
def test_likelihood_fused_equals_stepwise(nframes):
    raw, chain = make((2, 7, 37, 50), nframes=nframes)
    fit = chain.fit._replace(read_times=tuple(even_read_times(7, 2.7, nframes)))
    chain = dataclasses.replace(chain, fit=fit)
    _, expected, _ = run_stepwise(raw, chain)
    for options in ({}, {"threads": 2, "tile_bytes": 20000, "block": 7}):
        assert_same_bits(calibrate(raw, chain, **options).fit, expected)
    # A first group that is saturated everywhere is no special case here: the ramps are NaN.
    full = np.full_like(raw, 65535)
    result = calibrate(full, dataclasses.replace(chain, jump=None)).fit
    assert np.isnan(result.rate.slope).all()


LEFT_OUT = ["scale", "mask", "saturation", "superbias", "refpix", "linearity", "dark", "jump"]


@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_corrections_can_be_left_out(left_out):
    raw, chain = make((2, 6, 33, 40))
    chain = dataclasses.replace(chain, **{left_out: None})
    _, fit, count = run_stepwise(raw, chain)
    result = calibrate(raw, chain, tile_bytes=30000)
    assert result.n_primary == count
    assert_same_bits(result.fit, fit)


def test_products_are_filled_in_the_byte_order_of_fits():
    raw, chain = make((2, 6, 33, 40))
    expected = calibrate(raw, chain).fit

    def stored(shape):
        return RatePlanes(*(np.empty(shape, ">f4") for _ in range(4)), np.empty(shape, ">u4"))

    out = RampFit(stored((33, 40)), stored((2, 33, 40)))
    assert calibrate(raw.astype(">u2"), chain, out=out).fit is None
    for planes, others in zip(out, expected, strict=True):
        for name in planes._fields:
            np.testing.assert_array_equal(getattr(planes, name), getattr(others, name))


def big_endian(shape):
    """Places of slopes and of a calibrated ramp, as they lie in FITS files."""

    def planes(frames):
        return RatePlanes(*(np.zeros(frames, ">f4") for _ in range(4)), np.zeros(frames, ">u4"))

    ni, _, ny, nx = shape
    ramp = RampPlanes(np.zeros(shape, ">f4"), np.zeros(shape, np.uint8), np.zeros((ny, nx), ">u4"))
    return RampFit(planes((ny, nx)), planes((ni, ny, nx))), ramp


@pytest.mark.parametrize("snowballs", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_written_by_rows_are_those_filled_in_place(monkeypatch, threads, snowballs):
    shape = (2, 6, 45, 64)
    raw, chain = with_snowballs(shape, SnowballParameters()) if snowballs else make(shape)
    in_place, by_rows = big_endian(shape), big_endian(shape)
    outputs = [array for group in (*by_rows[0][:2], by_rows[1]) for array in group]
    called = []

    def writer_of(bits):
        (found,) = (one for one in outputs if one.ctypes.data == bits.ctypes.data)
        if found.dtype.itemsize == 1 and not snowballs:
            return None  # filled in place

        def write(first, rows):
            called.append((first, rows.shape[1]))
            planes = found.view(rows.dtype).reshape(-1, *shape[2:])
            assert not planes[:, first : first + rows.shape[1]].any()  # written once, and by nobody else
            planes[:, first : first + rows.shape[1]] = rows

        return write

    monkeypatch.setattr(_row_buffers, "LEAST_BYTES", 0)
    options = {"threads": threads, "block": 7, "tile_bytes": 20_000}
    calibrate(raw, refreshed(chain), out=in_place[0], ramp_out=in_place[1], **options)
    calibrate(raw, refreshed(chain), out=by_rows[0], ramp_out=by_rows[1], writer_of=writer_of, **options)
    assert {(7 * k, 7 if k < 6 else 3) for k in range(7)} == set(called)
    expected = [array for group in (*in_place[0][:2], in_place[1]) for array in group]
    for found, wanted in zip(outputs, expected, strict=True):
        assert found.tobytes() == wanted.tobytes()
    assert all(array.any() for array in expected)


def test_rules_about_whole_frames_are_left_to_the_stepwise_schedule():
    raw, chain = make((1, 6, 20, 20))
    unusable = raw.copy()
    unusable[:, 2] = 0
    with pytest.raises(WholeFrameRule, match="unusable in every pixel"):
        calibrate(unusable, chain)
    saturated = dataclasses.replace(chain, jump=None, scale=None)
    with pytest.raises(WholeFrameRule, match="saturated in the first group"):
        calibrate(np.full_like(raw, 65535), dataclasses.replace(saturated, mask=None))
    with pytest.raises(WholeFrameRule, match="2 groups"):
        calibrate(raw[:, :2].copy(), chain)


def test_what_does_not_fit_is_refused_before_any_work():
    raw, chain = make((1, 6, 20, 20))
    with pytest.raises(ShapeError, match="needs 40 x 20"):
        calibrate(np.zeros((1, 6, 40, 20), np.uint16), chain)
    with pytest.raises(ShapeError, match="expected"):
        calibrate(raw[0], chain)
    with pytest.raises(DTypeError, match="expected uint16"):
        calibrate(raw.astype(np.float32), chain)

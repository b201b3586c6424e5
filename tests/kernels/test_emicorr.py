"""Interference: the wave as a function of phase, the joint fit, and the sequential one."""

import numpy as np
import pytest
from tests.reference.emicorr import chi_squared, clocks, natural_wave

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import measure_and_subtract_emi, subtract_emi
from upramp.kernels._jit import kernel
from upramp.kernels._periodic_wave import fraction, wave_at, wave_at_every_value, wave_table
from upramp.kernels.emicorr import Readout, Wave, _Scatter
from upramp.kernels.emicorr_sequential import integrations_of_cycles

FREQUENCY = 390.625
ROW, SAMPLE, RESET = 30, 1, 9000  # not the clocks of an instrument: frames take no half number of periods


def shape_of_wave(phase):
    """Sine, overtone and a sharp feature."""
    return np.sin(2 * np.pi * phase) + 0.4 * np.cos(4 * np.pi * phase) + 0.2 * np.exp(-100 * (phase % 1 - 0.3) ** 2)


VALUES = shape_of_wave((np.arange(250) + 0.5) / 250).astype(np.float32)


def exposure(shape, amplitude=7.0, start=0.37, noise=4.0, frequency=FREQUENCY, reset=RESET, seed=0):
    """Ramps with slopes and noise, and the interference alone."""
    rng = np.random.default_rng(seed)
    _ni, ng, ny, nx = shape
    ramps = rng.normal(8000, 300, (1, 1, ny, nx)) + np.arange(ng)[:, None, None] * rng.uniform(0, 30, (ny, nx))
    ramps = ramps + noise * rng.standard_normal(shape)
    phase = clocks(shape, ROW, SAMPLE, reset) * 10e-6 * frequency + start
    emi = amplitude * np.repeat(shape_of_wave(phase), 4, axis=-1)
    return (ramps + emi).astype(np.float32), emi


@kernel
def evaluate(table, phases, out):
    for k in range(phases.size):
        out[k] = wave_at(table, fraction(phases[k]))


@kernel
def evaluate_all(table, phase, out):
    wave_at_every_value(out, table, phase)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 500])
def test_wave_is_the_spline_without_knots_at_the_ends(n):
    values = np.random.default_rng(n).standard_normal(n)
    table, expected = wave_table(values), natural_wave(values)
    phases = np.concatenate([np.linspace(0, 1, 400, endpoint=False), (np.arange(n) + 0.5) / n, [-0.25, 3.75]])
    found = np.empty(phases.size)
    evaluate(table, phases, found)
    np.testing.assert_allclose(found, expected(phases % 1), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[400 : 400 + n], values, rtol=1e-10, atol=1e-10)
    every = np.empty(n)
    for phase in (0.0, 0.5 / n, 0.1234, 0.999999, 1 / 3, 7.5, 1 - 1e-16):
        evaluate_all(table, phase, every)
        np.testing.assert_allclose(every, expected((phase + np.arange(n) / n) % 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("separately", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 40, 48), (1, 3, 64, 72), (2, 5, 80, 16)])
def test_amplitude_and_phase_are_found(shape, separately):
    data, emi = exposure(shape)
    before = data.copy()
    flags = np.zeros(shape[2:], np.uint32)
    waves, readout = [Wave(FREQUENCY, VALUES)], Readout(ROW, SAMPLE, RESET)
    found, fits = subtract_emi(data, flags, waves, readout, separately=separately, threads=1)
    again, _ = subtract_emi(data, flags, waves, readout, separately=separately, threads=2)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_allclose(fits[0].amplitudes, 7.0, atol=0.5)
    left = np.std(before - found - emi)
    assert left < 0.1 * np.std(emi)


def test_no_other_amplitude_or_phase_straightens_the_ramps_more():
    shape = (2, 6, 40, 48)
    data, _ = exposure(shape)
    flags = np.zeros(shape[2:], np.uint32)
    _, (fit,) = subtract_emi(data, flags, [Wave(FREQUENCY, VALUES)], Readout(ROW, SAMPLE, RESET))
    good = np.std(data, axis=1) < 2 * np.median(np.std(data, axis=1))
    good[:, :, 4:12] = False
    cycles = clocks(shape, ROW, SAMPLE, RESET) * 10e-6 * FREQUENCY
    wave = natural_wave(VALUES)

    def measure(amplitude, phase):
        noise = amplitude * np.repeat(wave((cycles + phase) % 1), 4, axis=-1)
        return chi_squared(data, good, noise)

    best = measure(fit.amplitudes[0], fit.phases[0])
    for amplitude, phase in ((0.1, 0), (-0.1, 0), (0, 0.01), (0, -0.01), (0, 0.5)):
        assert measure(fit.amplitudes[0] + amplitude, fit.phases[0] + phase) > best
    assert measure(0, 0) > 1.2 * best


@pytest.mark.parametrize("shape", [(1, 3, 5, 4), (2, 4, 6, 8), (7, 5, 33, 12)])
def test_median_scatter(shape):
    data = np.random.default_rng(1).normal(1000, 5, shape).astype(np.float32)
    data[0, :, 2, 1] = 7.0
    assert _Scatter(data, 1).median() == np.median(np.std(data, axis=1))
    data[0, 1, 3, 3] = np.nan
    assert np.isnan(_Scatter(data, 1).median())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_is_subtracted_if_a_sample_is_not_finite(value):
    data, _ = exposure((1, 4, 20, 16))
    data[0, 2, 3, 3] = value
    found, (fit,) = subtract_emi(data, np.zeros((20, 16), np.uint32), [Wave(FREQUENCY, VALUES)], Readout(ROW, SAMPLE))
    np.testing.assert_array_equal(found, data)
    assert fit.amplitudes[0] == 0


def test_flagged_and_noisy_pixels_take_no_part():
    data, _ = exposure((2, 6, 40, 48))
    flags = (np.random.default_rng(5).random((40, 48)) < 0.2).astype(np.uint32)
    waves, readout = [Wave(FREQUENCY, VALUES)], Readout(ROW, SAMPLE, RESET)
    _, expected = subtract_emi(data, flags, waves, readout)
    data[:, ::2, flags != 0] += 50
    data[0, 3:, 5, 20] += 60000
    _, found = subtract_emi(data, flags, waves, readout)
    np.testing.assert_allclose(found[0].amplitudes, expected[0].amplitudes, rtol=0.02)
    nothing, fits = subtract_emi(data, np.ones((40, 48), np.uint32), waves, readout)
    np.testing.assert_array_equal(nothing, data)
    assert not fits[0].amplitudes.any()


def test_two_waves_one_after_the_other():
    data, emi = exposure((2, 10, 64, 72))
    _, other = exposure((2, 10, 64, 72), amplitude=3.0, frequency=218.52055)
    waves = [Wave(FREQUENCY, VALUES), Wave(218.52055, VALUES)]
    found, fits = subtract_emi(
        data + other.astype(np.float32), np.zeros((64, 72), np.uint32), waves, Readout(ROW, SAMPLE, RESET)
    )
    np.testing.assert_allclose([fit.amplitudes[0] for fit in fits], [7, 3], atol=0.4)
    assert np.std(found - (data - emi)) < 0.6


@pytest.mark.parametrize("references", [None, [VALUES]])
def test_sequential(references):
    shape = (2, 14, 64, 72)
    data, emi = exposure(shape)
    before = data.copy()
    keywords = {"references": references, "n_bins": 64}
    found, (wave,) = measure_and_subtract_emi(data, [FREQUENCY], Readout(ROW, SAMPLE, RESET), threads=1, **keywords)
    again, _ = measure_and_subtract_emi(data, [FREQUENCY], Readout(ROW, SAMPLE, RESET), threads=2, **keywords)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(data, before)
    removed = before.astype(float) - found
    removed, expected = (one - one.mean(axis=1, keepdims=True) for one in (removed, emi))
    assert np.std(removed - expected) < 0.25 * np.std(expected)
    # The means are those of a wave of this amplitude, in the phases in which the samples are read.
    assert wave.means.shape == (64,) and 5 < (wave.means.max() - wave.means.min()) / 2 < 10


@pytest.mark.parametrize("ng", [3, 4, 5])
def test_sequential_on_straight_ramps_changes_nothing(ng):
    data = np.broadcast_to(np.arange(1, ng + 1, dtype=np.float32)[:, None, None], (2, ng, 20, 20)).copy()
    found, _ = measure_and_subtract_emi(data, [FREQUENCY], Readout(82, 1, 23968))
    np.testing.assert_allclose(found, data, atol=1e-6)


def test_sequential_leaves_a_frequency_with_an_empty_bin(caplog):
    data, _ = exposure((1, 12, 4, 16))
    found, (wave,) = measure_and_subtract_emi(data, [10.0], Readout(ROW, SAMPLE), n_bins=500)
    np.testing.assert_array_equal(found, data)
    assert np.isnan(wave.means).all()
    none, _ = measure_and_subtract_emi(data, [FREQUENCY], Readout(ROW, SAMPLE), n_phased=0, n_bins=20)
    np.testing.assert_array_equal(none, data)


def test_integrations_of_cycles():
    assert integrations_of_cycles(3, 390.625, 8512, 10) == 1
    assert integrations_of_cycles(3, 10.0, 8512, 1) == 4  # 30000 clocks in frames of 8512


def test_what_is_refused():
    data, _ = exposure((1, 4, 8, 16))
    flags, readout = np.zeros((8, 16), np.uint32), Readout(ROW, SAMPLE)
    waves = [Wave(FREQUENCY, VALUES)]
    with pytest.raises(ShapeError, match="at least 3 groups"):
        subtract_emi(data[:, :2], flags, waves, readout)
    with pytest.raises(ShapeError, match="multiple of 4 columns"):
        subtract_emi(data[..., :15], flags[:, :15], waves, readout)
    with pytest.raises(ShapeError, match="pixeldq has shape"):
        subtract_emi(data, flags[:5], waves, readout)
    with pytest.raises(ShapeError, match="at least 2 values"):
        subtract_emi(data, flags, [Wave(FREQUENCY, VALUES[:1])], readout)
    with pytest.raises(ShapeError, match="positive frequency"):
        subtract_emi(data, flags, [Wave(0.0, VALUES)], readout)
    with pytest.raises(DTypeError, match="dtype"):
        subtract_emi(data.astype(complex), flags, waves, readout)
    with pytest.raises(ShapeError, match="at least 16"):
        measure_and_subtract_emi(data[..., :8], [FREQUENCY], readout)
    with pytest.raises(ShapeError, match="0 bins"):
        measure_and_subtract_emi(data, [FREQUENCY], readout, n_bins=0)

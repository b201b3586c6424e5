"""Effects for the steps that are off by default."""

from dataclasses import replace

import asdf
import numpy as np

from upramp.simulate import SimulationConfig, Window, make_references, simulate_exposure
from upramp.simulate.optional_effects import ChargeTrails, emi_wave, migrated


def test_interference_is_a_wave_in_the_order_of_reading():
    config = SimulationConfig(detector="MIRIMAGE", subarray="SUB64", nints=2, ngroups=3).without("all")
    config = replace(config, emi=100.0, bias_level=8000.0)
    data = simulate_exposure(config).data.astype(float) - 8000
    # Clocks of 10 us: 28 from row to row, 960 rows of 7 are passed over, and a frame between integrations.
    frame = 64 * 28 + 960 * 7
    frames = np.array([[0, 1, 2], [4, 5, 6]])[..., None, None] * frame
    cycles = (frames + np.arange(64)[:, None] * 28 + np.arange(72) // 4) * 10e-6 * 390.625
    grid = np.linspace(0, 1, 1000, endpoint=False)
    errors = []
    for start in grid:
        phase = 2 * np.pi * (cycles[0, 0] + start)
        errors.append(np.abs(data[0, 0] - 100 * (np.sin(phase) + 0.3 * np.sin(2 * phase))).max())
    start = grid[np.argmin(errors)]
    phase = 2 * np.pi * (cycles + start)
    np.testing.assert_allclose(data, 100 * (np.sin(phase) + 0.3 * np.sin(2 * phase)), atol=1.6)


def test_reference_of_the_interference(tmp_path):
    config = SimulationConfig(detector="MIRIMAGE", subarray="SUB64", emi=3.0)
    assert "emicorr" not in make_references(SimulationConfig(detector="MIRIMAGE"), tmp_path / "without")
    path = make_references(config, tmp_path)["emicorr"]
    with asdf.open(path) as file:
        case = file["subarray_cases"]["SUB64"]
        assert (case["rowclocks"], case["frameclocks"]) == (28, 8512)
        assert file["subarray_cases"]["FULL_SLOW"]["frameclocks"] == 2388992
        wave = file["frequencies"][case["freqs"]["FAST"][0]]
        assert wave["frequency"] == 390.625
        np.testing.assert_array_equal(wave["phase_amplitudes"], emi_wave())


def test_charge_migrates_to_the_neighbours():
    before, charge = np.full((4, 5), 10.0), np.full((4, 5), 10.0)
    before[1, 1], charge[1, 1] = 900, 1100
    before[0, 4], charge[0, 4] = 1100, 1000
    sensitive = np.ones((4, 5), bool)
    sensitive[1, 2] = False
    found = migrated(charge, before, 0.2, 1000, sensitive)
    expected = charge.copy()
    expected[1, 1] -= 40
    for y, x in ((0, 1), (2, 1), (1, 0)):
        expected[y, x] += 10
    np.testing.assert_allclose(found, expected)


def test_trails_begin_with_the_next_integration_and_decay():
    config = SimulationConfig(persistence=8.0, persistence_decay=20.0)
    trails = ChargeTrails(config, (1, 2))
    trails.note(np.array([[True, False]]), 100.0)
    assert not trails.charge(100.0, 200.0).any()
    trails.begin_integration()
    first, second = trails.charge(100.0, 120.0), trails.charge(120.0, 140.0)
    np.testing.assert_allclose(first, [[8 * 20 * (1 - np.exp(-1)), 0]])
    np.testing.assert_allclose(second, first * np.exp(-1))


def test_in_an_exposure():
    """Bright stars lose charge to their neighbours, and glow later on."""
    base = {"window": Window(945, 945, 40, 40), "nints": 2, "ngroups": 5, "star_flux": (5e5, 5e6), "star_count": 4}
    plain = simulate_exposure(SimulationConfig(**base))
    for changes in ({"charge_migration": 0.3, "charge_migration_level": 8000.0}, {"persistence": 500.0}):
        found = simulate_exposure(SimulationConfig(**base, **changes))
        difference = found.data.astype(int) - plain.data
        assert np.abs(difference[1]).max() > 20, changes
        assert ("persistence" in changes) == (not difference[0].any())

"""IRS2 readouts: what is in them, and that their reference takes their noise out."""

from dataclasses import replace

import numpy as np
import pytest

from upramp.errors import ConfigError
from upramp.kernels._irs2_layout import science_rows, sector_rows
from upramp.kernels.irs2 import correct_interleaved, prepare_coefficients
from upramp.simulate import SimulationConfig, simulate_exposure
from upramp.simulate.irs2 import correction_table, interleaved_bias, interleaved_mask

IRS2 = SimulationConfig(detector="NRS2", subarray="FULL", readpatt="NRSIRS2RAPID", nints=1, ngroups=2)


def test_only_full_frames_of_nirspec():
    for changes in ({"detector": "NRCA1"}, {"subarray": "ALLSLITS"}, {"zero_frame": True}):
        with pytest.raises(ConfigError, match="IRS2"):
            replace(IRS2, **changes)
    assert IRS2.exposure_type == "NRS_FIXEDSLIT"
    assert IRS2.frame_time == pytest.approx(14.5889)
    assert IRS2.geometry.shape == (2048, 2048)


def test_noise_that_the_reference_takes_out():
    config = replace(IRS2.without("all"), one_over_f=20.0, refpix_offset=50.0, bias_level=9000.0, bias_spread=100.0)
    exposure = simulate_exposure(config)
    assert exposure.data.shape == (1, 2, 3200, 2048)
    maps, science = exposure.truth.maps, science_rows("NRS2")
    bias = interleaved_bias(config, maps.bias)
    np.testing.assert_array_equal(bias[science], maps.bias)
    data = exposure.data - bias
    before = np.diff(data[0][:, science], axis=0)
    flags = interleaved_mask(config, maps.dq)
    bad_rows = sector_rows("NRS2")[2, [8 + 20 * 17, 9 + 20 * 17]]
    np.testing.assert_array_equal(np.flatnonzero((flags & (1 << 17)).any(axis=1)), np.sort(bad_rows))
    table = correction_table(config)
    assert len(table) == 2 * 712 * 2048
    coefficients = prepare_coefficients(table.view(">f4").reshape(-1, 2, 8))
    result, bad = correct_interleaved(data, flags, "NRS2", coefficients)
    assert bad[bad_rows].all()
    after = np.diff(result[0], axis=0)
    # What is left is rounding (0.4 DN in a difference) and the noise that is faster than its references.
    assert before.std() > 30 and after.std() < 0.3 * before.std()

"""The fit of every segment of a ramp."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.reference.ramp_fit import segment_slope

from upramp.errors import ShapeError
from upramp.kernels import segment_details
from upramp.kernels.ramp_fit import fit_ramps
from upramp.kernels.segment_details import fit_segments

DNU, SAT, JUMP, PERS = 1, 2, 4, 32
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "jump_rampfit_vectors.json").read_text())["vectors"]
TIMES = {"group_time": 10.73677, "frame_time": 2.68419, "nframes": 4}


def numbers(values, dtype):
    names = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}

    def convert(value):
        return [convert(v) for v in value] if isinstance(value, list) else names.get(value, value)

    return np.array(convert(values), dtype)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["id"].startswith("OLS")], ids=lambda v: v["id"])
def test_vector(vector):
    p = vector["params"]
    data, gdq = numbers(vector["data"], np.float32), np.array(vector["groupdq"], np.uint8)

    def plane(name, dtype=np.float32):
        return np.broadcast_to(numbers(p[name], dtype), data.shape[-2:])

    options = {
        "group_time": p["group_time"],
        "frame_time": p["frame_time"],
        "nframes": p["nframes"],
        "suppress_one_group": p["suppress_one_group"],
        "zeroframe": None if p["zeroframe"] is None else numbers(p["zeroframe"], np.float32),
        "average_dark_current": plane("average_dark_current"),
        "miri": p["instrument"] == "MIRI",
        "threads": 1,
    }
    fit = fit_ramps(data, gdq, plane("pixeldq", np.uint32), plane("gain"), plane("readnoise"), **options)
    expected = vector["expected"]["fitopt"]
    slopes = data[:, 0] if fit is None else fit.integrations.slope
    gaps = {"groupgap": p["groupgap"], "drop_frames": p["drop_frames1"]}
    details = fit_segments(data, gdq, plane("gain"), plane("readnoise"), slopes, **options, **gaps)
    if expected is None:
        assert details is None
        return
    for name, found in details._asdict().items():
        wanted = numbers(expected[name], float)
        assert found.size == wanted.size
        if found.size:
            np.testing.assert_allclose(found, wanted, rtol=3e-6, atol=1e-6, err_msg=name)


def exposure(seed, ni=2, ng=9, frame=(4, 40)):
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.0, 5.0, 100.0, 5000.0, -10.0], frame)
    data = rng.normal(rate, np.sqrt(np.abs(rate) + 30), (ni, ng, *frame)).cumsum(axis=1)
    gdq = np.where(rng.random(data.shape) < 0.15, rng.choice([DNU, SAT, JUMP, JUMP, PERS], data.shape), 0)
    gdq[0, :, 0, :4] = np.array([DNU, SAT, JUMP, 0])
    gain, noise = rng.uniform(0.5, 4, frame), rng.uniform(3, 12, frame)
    return data.astype(np.float32), gdq.astype(np.uint8), gain.astype(np.float32), noise.astype(np.float32)


def test_segments_combine_to_the_slope_of_the_integration():
    data, gdq, gain, noise = exposure(1)
    fit = fit_ramps(data, gdq, np.zeros(gain.shape, np.uint32), gain, noise, **TIMES)
    details = fit_segments(data, gdq, gain, noise, fit.integrations.slope, **TIMES)
    used = details.weights > 0
    weights = np.where(used, details.weights, 0).astype(float)
    with np.errstate(invalid="ignore"):
        mean = (weights * details.slope).sum(axis=1) / weights.sum(axis=1)
    fitted = np.isfinite(fit.integrations.slope) & used.any(axis=1)
    assert fitted.sum() > 200
    np.testing.assert_allclose(mean[fitted], fit.integrations.slope[fitted], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(1 / weights.sum(axis=1)[fitted], fit.integrations.var_rnoise[fitted], rtol=1e-5)
    assert not used[:, 1:][(details.slope == 0)[:, 1:]].any()


def test_a_segment_equals_plain_numpy():
    """Slope, intercept and errors of unbroken ramps by the normal equations."""
    data, _, gain, noise = exposure(2, frame=(2, 10))
    gdq = np.zeros(data.shape, np.uint8)
    fit = fit_ramps(data, gdq, np.zeros(gain.shape, np.uint32), gain, noise, **TIMES)
    details = fit_segments(data, gdq, gain, noise, fit.integrations.slope, **TIMES)
    assert details.slope.shape == (2, 1, 2, 10) and details.crmag.shape == (2, 0, 2, 10)
    x = np.arange(9)
    for i, r, c in np.ndindex(2, 2, 10):
        y, g = data[i, :, r, c].astype(float), float(gain[r, c])
        rn = float(noise[r, c]) * g / np.sqrt(8)
        slope = segment_slope(y, g, rn, np.float32(TIMES["group_time"]))
        np.testing.assert_allclose(details.slope[i, 0, r, c], slope, rtol=1e-5, atol=1e-6)
        signal = (y[-1] - y[0]) * g
        ratio = max(signal, 0) / np.sqrt(rn**2 + max(signal, 0))
        power = [0, 0.4, 1, 3, 6, 10][int(np.searchsorted([5, 10, 20, 50, 100], ratio, side="right"))]
        w = np.abs((x - 4) / 4) ** power / rn**2
        matrix = np.linalg.inv(np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum()]]))
        intercept = matrix @ [(w * y).sum(), (w * x * y).sum()]
        np.testing.assert_allclose(details.yint[i, 0, r, c], intercept[0], rtol=2e-5, atol=1e-3)
        np.testing.assert_allclose(details.sigyint[i, 0, r, c], np.sqrt(matrix[0, 0]), rtol=1e-5)
        np.testing.assert_allclose(details.sigslope[i, 0, r, c], np.sqrt(matrix[1, 1]), rtol=1e-5)


def test_threads_inputs_and_signatures():
    inputs = exposure(3, frame=(150, 7))
    for array in inputs:
        array.flags.writeable = False
    slopes = inputs[0][:, 0].copy()
    one = fit_segments(*inputs, slopes, **TIMES, threads=1, suppress_one_group=False, zeroframe=inputs[0][:, 1].copy())
    two = fit_segments(*inputs, slopes, **TIMES, threads=2, suppress_one_group=False, zeroframe=inputs[0][:, 1].copy())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    fit_segments(*inputs, slopes, **TIMES, average_dark_current=inputs[2])
    assert len(segment_details._fit_tile.signatures) == len(segment_details._count_tile.signatures) == 1


def test_errors():
    data, gdq, gain, noise = exposure(4)
    with pytest.raises(ShapeError, match="slopes has shape"):
        fit_segments(data, gdq, gain, noise, data[:1, 0], **TIMES)
    gdq[:, 0] = SAT
    assert fit_segments(data, gdq, gain, noise, data[:, 0], **TIMES) is None

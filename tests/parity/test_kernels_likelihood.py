"""Likelihood fit and Casertano fit against stcal on random ramps with mixed flags."""

import numpy as np
import pytest
from tests.parity.test_kernels_fit import CHG, FLAGS, exposure

from upramp.kernels import even_read_times, fit_ramps_casertano, fit_ramps_likelihood

pytestmark = pytest.mark.parity


def peer_likelihood(data, gdq, pdq, gain, noise, times, zeroframe, dark):
    from stcal.ramp_fitting.ramp_fit import ramp_fit_data
    from stcal.ramp_fitting.ramp_fit_class import RampData

    ramp = RampData()
    ramp.set_arrays(data.copy(), gdq.copy(), pdq.copy(), dark.copy(), None, zeroframe)
    ramp.set_meta("NIRCAM", times["frame_time"], 50.0, times["groupgap"], times["nframes"], 0)
    ramp.set_dqflags(FLAGS)
    ramp.flags_chargeloss = CHG
    ramp.suppress_one_group_ramps = True
    ramp.start_row, ramp.num_rows = 0, data.shape[2]
    image, integrations, _ = ramp_fit_data(ramp, False, noise.copy(), gain.copy(), "LIKELY", "optimal", "none")
    return image, integrations, ramp.groupdq


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("ni", "ng", "nframes", "with_zeroframe"),
    [(1, 4, 1, False), (3, 8, 1, True), (2, 12, 4, False), (2, 6, 4, True), (1, 40, 1, False)],
)
def test_likelihood(ni, ng, nframes, with_zeroframe):
    data, gdq, pdq, gain, noise = exposure(ni * 10 + ng, ni, ng, (30, 40))
    times = {"frame_time": 10.73677, "nframes": nframes, "groupgap": 1}
    zeroframe = (data[:, 0] / 4).astype(np.float32) if with_zeroframe else None
    dark = np.random.default_rng(3).choice([0, 0.01], pdq.shape).astype(np.float32)
    image, integrations, flags = peer_likelihood(data, gdq, pdq, gain, noise, times, zeroframe, dark)
    fit = fit_ramps_likelihood(
        data,
        gdq,
        pdq,
        gain,
        noise,
        read_times=even_read_times(ng, **times),
        zeroframe=zeroframe,
        average_dark_current=dark,
    )
    # See docs/deviations.md: ties, ramps without photon noise, negative gains.
    good, samples = gdq == 0, data.astype(float)
    if zeroframe is not None and nframes > 1:
        good = np.concatenate([good[:, :1], good], axis=1)
        rest = (samples[:, :1] * nframes - zeroframe[:, None]) / (nframes - 1)
        samples = np.concatenate([zeroframe[:, None], rest, samples[:, 1:]], axis=1)
    n_diffs = samples.shape[1] - 1
    n_used = (good[:, 1:] & good[:, :-1]).sum(axis=1)
    tied = (n_used == 2) | ((n_used == 3) & (nframes > 1))
    # Times between samples are positive, and near enough the same for the sign of the median.
    bright = np.sum(np.diff(samples, axis=1) <= 0, axis=1) < n_diffs / 2
    sound = ~tied & ~(gain < 0) & bright
    assert sound.mean() > 0.4
    np.testing.assert_array_equal(np.moveaxis(fit.groupdq, 1, -1)[sound], np.moveaxis(flags, 1, -1)[sound])
    assert (flags[:, 1:] > gdq[:, 1:]).sum() > 50
    for planes, chi2, peer, chosen in (
        (fit.integrations, fit.chi2_integrations, integrations, sound),
        (fit.rate, fit.chi2, image, sound.all(axis=0)),
    ):
        np.testing.assert_array_equal(planes.dq[chosen], peer["dq"][chosen])
        for name in ("slope", "err", "var_poisson", "var_rnoise"):
            found, expected = getattr(planes, name)[chosen], peer[name][chosen]
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(chi2[chosen], peer["chisq"][chosen], rtol=2e-5, atol=1e-4)


PATTERNS = (
    [[1], [2, 3], [4, 5, 6], [7, 8, 9, 10], [11, 12], [13]],
    [[read] for read in range(1, 11)],
    [list(range(1 + 4 * k, 4 + 4 * k)) for k in range(16)],
)


@pytest.mark.parametrize("detect_jumps", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS, ids=len)
def test_casertano(pattern, detect_jumps):
    from stcal.ramp_fitting.ols_cas22_fit import fit_ramps_casertano as peer_casertano

    rng = np.random.default_rng(len(pattern))
    n_pixels = 20_000
    rate = rng.choice([0.3, 5.0, 100.0, 3000.0], n_pixels)
    reads = rng.poisson(np.broadcast_to(rate * 3, (pattern[-1][-1], n_pixels))).cumsum(axis=0)
    y = np.array([reads[np.array(one) - 1].mean(axis=0) for one in pattern])
    y += rng.normal(0, 6, y.shape) / np.sqrt([[len(one)] for one in pattern])
    y += ((rng.random(y.shape) < 0.005) * rng.uniform(20, 2000, y.shape)).cumsum(axis=0)
    y[rng.random(y.shape) < 1e-4] = np.nan
    y = y.astype(np.float32)
    dq = ((rng.random(y.shape) < 0.02) * rng.choice([1, 2, 16], y.shape)).astype(np.int32)
    noise = rng.uniform(4, 8, n_pixels).astype(np.float32)
    noise[:10] = 0
    expected = peer_casertano(y.copy(), dq.copy(), noise, 3.0, pattern, detect_jumps)
    fit = fit_ramps_casertano(y, dq, noise, read_time=3.0, read_pattern=pattern, detect_jumps=detect_jumps)
    np.testing.assert_array_equal(fit.dq, expected.dq)
    assert (fit.dq != dq).any() == detect_jumps
    error = np.sqrt(expected.variances[:, 2])
    assert (np.abs(fit.slope - expected.parameters[:, 1]) <= 1e-4 * error + 1e-6 * np.abs(fit.slope)).all()
    np.testing.assert_allclose(fit.var_read, expected.variances[:, 0], rtol=1e-5)
    np.testing.assert_allclose(fit.var_poisson, expected.variances[:, 1], rtol=1e-5, atol=1e-5 * error.max())

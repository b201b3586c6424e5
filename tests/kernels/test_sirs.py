"""Side pixels by convolution against the formulas with numpy, frame by frame in the orientation of the readout."""

import numpy as np
import pytest

from upramp.errors import ShapeError
from upramp.kernels.refpix import ORIENTATION, correct_reference_pixels
from upramp.kernels.sirs import convolve, correct_by_convolution_in_place, side_kernels

SIZE = 2048


def side_mean(columns, sigreject):
    middle = np.median(columns)
    distance = np.abs(columns - middle)
    good = distance <= sigreject * 1.48 * np.median(distance)
    return np.where(good, columns, 0).sum(axis=1) / 4, good.sum(axis=1) / 4


def subtract_by_numpy(frame, detector, kernels, sigreject):
    """A frame without offsets, float64, changed."""
    fast, slow = ORIENTATION[detector]
    image = frame if abs(fast) == 1 else frame.T
    read = image[:: 1 if slow > 0 else -1, :: 1 if fast > 0 else -1]
    sides = [side_mean(columns.copy(), sigreject) for columns in (read[:, :4], read[:, -4:])]
    with np.errstate(divide="ignore", invalid="ignore"):
        for amplifier in range(4):
            for (mean, part), taps in zip(sides, kernels[:, amplifier], strict=True):
                norm = np.convolve(np.ones(SIZE), taps, "same") / np.convolve(part, taps, "same")
                template = np.convolve(mean, taps, "same") * norm
                read[:, 512 * amplifier : 512 * (amplifier + 1)] -= template[:, np.newaxis]


def make_kernels(halfwidth):
    rng = np.random.default_rng(8)
    fall = 0.5 / (1 + np.arange(SIZE + 1) / 60)
    coefficients = fall * (1 + 0.2 * rng.random((2, 4, SIZE + 1)))
    return side_kernels(*coefficients, halfwidth=halfwidth)


@pytest.mark.parametrize("n", [1, 2, 5, 60, 61])
def test_convolution(n):
    rng = np.random.default_rng(1)
    values, taps, out = rng.normal(size=200), rng.normal(size=n), np.empty(200)
    convolve(out, values, taps, np.empty(200 + n))
    np.testing.assert_allclose(out, np.convolve(values, taps, "same"), atol=1e-13)


@pytest.mark.parametrize("detector", ["NRCA1", "NRCA2", "NRS1", "GUIDER2"])
def test_against_numpy(detector):
    rng = np.random.default_rng(2)
    data = rng.normal(100, 8, (1, 2, SIZE, SIZE)).astype(np.float32)
    data[0, 0, ::37] += 400
    data[0, 1, 300:420, :9] += 3000  # more outliers than a kernel is long
    data[0, 1, :9, 300:420] += 3000
    flags = np.zeros((SIZE, SIZE), np.uint32)
    kernels = make_kernels(25)
    first_reads = np.where(rng.random((1, SIZE, SIZE)) < 0.02, 0, data[:, 1]).astype(np.float32)
    expected = correct_reference_pixels(data, flags, detector, use_side_ref_pixels=False, zeroframe=first_reads)
    frames = [frame.astype(np.float64) for frame in (*expected.data[0], expected.zeroframe[0])]
    for frame in frames:
        subtract_by_numpy(frame, detector, kernels, 3.5)
    frames[2][first_reads[0] == 0] = 0
    results = []
    for threads in (1, 2):
        found, zeroframe = data.copy(), first_reads.copy()
        rules = {"sigreject": 3.5, "zeroframe": zeroframe, "threads": threads}
        correct_by_convolution_in_place(found, flags, detector, kernels, **rules)
        results.append((found, zeroframe))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
    # The first group is in single precision until then, the others are not.
    np.testing.assert_array_equal(found[0, 0], frames[0].astype(np.float32))
    np.testing.assert_allclose(found[0, 1], frames[1], rtol=2e-7, atol=1e-4)
    np.testing.assert_allclose(zeroframe[0], frames[2], rtol=2e-7, atol=1e-4)


def test_side_pixels_without_a_number():
    data = np.random.default_rng(3).normal(0, 8, (1, 1, SIZE, SIZE)).astype(np.float32)
    data[0, 0, 1000, 1] = np.nan
    correct_by_convolution_in_place(data, np.zeros((SIZE, SIZE), np.uint32), "NRCA2", make_kernels(3))
    assert np.isnan(data).all()


def test_wrong_shapes():
    data, flags = np.zeros((1, 1, SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.uint32)
    with pytest.raises(ShapeError, match="halfwidth"):
        correct_by_convolution_in_place(data, flags, "NRCA2", make_kernels(1025)[:, :, :2049])
    with pytest.raises(ShapeError, match="kernels"):
        correct_by_convolution_in_place(data, flags, "NRCA2", np.ones((2, 3, 5)))
    with pytest.raises(ShapeError, match="data"):
        correct_by_convolution_in_place(data[:, :, :64].copy(), flags, "NRCA2", make_kernels(3))

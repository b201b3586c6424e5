"""Which lines stripes hold, and how they become images again."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.reference import refpix as by_frames
from tests.reference import stripes as by_lines

from upramp.errors import ShapeError
from upramp.kernels.refpix import ORIENTATION, correct_reference_pixels
from upramp.kernels.stripes import (
    REFERENCE,
    StripePattern,
    image_span,
    reassemble,
    stripe_layout,
    stripe_read_times,
)

DO_NOT_USE, REFERENCE_PIXEL = 1, 2**31

# (pattern, first line, lines): one to four stripes, with and without reference lines, and superstripes.
PATTERNS = {
    "one": (StripePattern(1, 1526, 40, 85, 1, 1), 0, 41),
    "two without reference lines": (StripePattern(0, 1527, 40, 85), 0, 80),
    "four interleaved": (StripePattern(1, 1526, 40, 85, 1, 1), 0, 164),
    "four repeated": (StripePattern(1, 971, 40, 0, 1, 0), 0, 164),
    "SOSS": (StripePattern(4, 0, 204, 0, 1, 1, 204, 10), 0, 208),
    "repeats": (StripePattern(1, 165, 1, 0, 1, 0, 1, 64), 2, 8),
    "step": (StripePattern(0, 100, 0, 0, 0, 0, 8, 4), 0, 8),
}


@pytest.mark.parametrize("slow_axis", [2, -2])
@pytest.mark.parametrize("name", PATTERNS)
def test_layout(name, slow_axis):
    pattern, first, n_lines = PATTERNS[name]
    layout = stripe_layout(pattern, first, n_lines, slow_axis)
    assert layout.lines.shape == layout.stripe.shape == (pattern.positions or 1, n_lines)
    for p in range(pattern.positions or 1):
        lines, stripe = by_lines.lines_of_position(pattern, first, n_lines, p, slow_axis)
        np.testing.assert_array_equal(layout.lines[p], lines)
        np.testing.assert_array_equal(layout.stripe[p], stripe)


patterns = st.builds(
    StripePattern,
    reads1=st.integers(0, 3),
    skips1=st.integers(0, 40),
    reads2=st.integers(1, 9),
    skips2=st.integers(0, 20),
    repeat=st.integers(0, 1),
    interleave=st.integers(0, 1),
    step=st.integers(0, 9),
    positions=st.integers(0, 4),
)


@settings(max_examples=60, deadline=None)
@given(patterns, st.integers(1, 4), st.sampled_from([2, -2]), st.integers(0, 9))
def test_what_holds_for_every_layout(pattern, n_stripes, slow_axis, first):
    one = pattern.reads2 + pattern.reads1 * bool(pattern.repeat)
    n_lines = pattern.reads1 * (not pattern.repeat) + n_stripes * one
    layout = stripe_layout(pattern, first, n_lines, slow_axis)
    for p, (lines, stripe) in enumerate(zip(*layout, strict=True)):
        slow = by_lines.lines_of_position(pattern, first, n_lines, p, slow_axis)
        np.testing.assert_array_equal([lines, stripe], slow)
        assert lines.min() >= 0 and lines.max() < 2048
        # Lines of a stripe follow each other, and lines before a stripe are always the same ones.
        for s in range(n_stripes):
            assert (np.diff(lines[stripe == s]) == 1).all() and (stripe == s).sum() == pattern.reads2
        reference = lines[stripe == REFERENCE]
        assert len(np.unique(reference)) == pattern.reads1
    mirrored = stripe_layout(pattern, first, n_lines, -slow_axis)
    np.testing.assert_array_equal(mirrored.lines, 2047 - layout.lines[:, ::-1])
    span_first, span = image_span(layout)
    science = layout.lines[layout.stripe != REFERENCE]
    assert science.min() == span_first and science.max() == span_first + span - 1
    with pytest.raises(ShapeError, match="MSTR_RD1"):
        stripe_layout(pattern._replace(reads2=n_lines + 1), first, n_lines, slow_axis)


@settings(max_examples=30, deadline=None)
@given(patterns, st.integers(1, 3), st.sampled_from([2, -2]), st.sampled_from([-2, -1]))
def test_reassembly(pattern, n_stripes, slow_axis, axis):
    assume(pattern.positions > 0 and (pattern.repeat or n_stripes == 1))
    n_lines, n = n_stripes * (pattern.reads1 + pattern.reads2), pattern.positions
    layout = stripe_layout(pattern, 2, n_lines, slow_axis)
    first, size = image_span(layout)
    data = np.random.default_rng(3).normal(size=(2 * n, 2, n_lines, 3)).astype(np.float32)
    positions = [by_lines.lines_of_position(pattern, 2, n_lines, p, slow_axis) for p in range(n)]
    expected = by_lines.reassembled(data, positions, first, size, np.nan)
    given_array = data if axis == -2 else np.ascontiguousarray(data.swapaxes(-1, -2))
    before = given_array.copy()
    found = reassemble(given_array, layout, first, size, np.nan, axis=axis)
    np.testing.assert_array_equal(found if axis == -2 else found.swapaxes(-1, -2), expected)
    np.testing.assert_array_equal(given_array, before)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    # Images without groups: the last stripe of all on a line counts, so all lines of all stripes are there.
    flags = np.arange(n * n_lines, dtype=np.uint32).reshape(n, n_lines, 1) + 1
    image = reassemble(flags, layout, first, size, 0, by_group=False)
    assert image.shape == (1, size, 1)
    covered = np.isin(np.arange(first, first + size), layout.lines[layout.stripe != REFERENCE])
    np.testing.assert_array_equal(image[0, :, 0] > 0, covered)


def test_a_stripe_is_put_where_it_came_from():
    """Cutting an image into superstripes and putting them together gives it back."""
    pattern, first, n_lines = PATTERNS["SOSS"]
    layout = stripe_layout(pattern, first, n_lines, -1)
    image = np.random.default_rng(4).normal(size=(5, 2048)).astype(np.float32)
    stripes = np.ascontiguousarray(image[:, layout.lines].swapaxes(0, 1))  # (positions, 5, lines)
    again = reassemble(stripes, layout, 0, 2048, np.nan, axis=-1, by_group=False)[0]
    np.testing.assert_array_equal(again[:, 4:2044], image[:, 4:2044])
    assert np.isnan(again[:, :4]).all() and np.isnan(again[:, 2044:]).all()


def test_incomplete_sets_are_refused():
    layout = stripe_layout(PATTERNS["step"][0], 0, 8)
    with pytest.raises(ShapeError, match="multiple of the 4 positions .*SSTR_NST"):
        reassemble(np.zeros((7, 1, 8, 2)), layout, 100, 32, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reads2": 0}, "MSTR_RD2 of at least 1"),
        ({"skips1": -1}, "no negative numbers"),
        ({"reads2": 38}, "have 195 lines, but the exposure has 164 .*SUBSIZE"),
        ({"skips1": 2000}, "cover lines 1 to 2416, the detector has 2048"),
    ],
)
def test_stripes_that_are_not_possible(changes, message):
    with pytest.raises(ShapeError, match=message):
        stripe_layout(PATTERNS["four interleaved"][0]._replace(**changes), 0, 164)


def test_read_times():
    """Repeats follow each other by the time of their lines; the next group begins when all lines have been read."""
    pattern, _, n_lines = PATTERNS["repeats"]
    times = np.array(stripe_read_times(pattern, n_lines, 64, 1, 3))
    assert times.shape == (3 * 4, 1)
    stripe = (64 + 12) * 2 * 1e-5
    frame = (64 + 12) * (8 + 2) * 1e-5
    np.testing.assert_allclose(np.diff(times[:4, 0]), stripe)
    np.testing.assert_allclose(np.diff(times[::4, 0]), frame)
    averaged = np.array(stripe_read_times(pattern, n_lines, 64, 1, 2, nframes=2, groupgap=1))
    np.testing.assert_allclose(averaged[:, 1] - averaged[:, 0], frame)
    np.testing.assert_allclose(averaged[4] - averaged[0], 3 * frame)


@pytest.mark.parametrize("odd_even", [True, False])
@pytest.mark.parametrize(
    ("detector", "shape", "start"),
    [("NRCA1", (12, 2048), 0), ("NRCA2", (9, 700), 300), ("NRCA3", (9, 701), 900), ("NIS", (256, 21), 1792)],
)
def test_reference_pixels_of_stripes(detector, shape, start, odd_even):
    """Means of every amplifier and parity against a plain numpy version, with amplifiers that have none."""
    rng = np.random.default_rng(5)
    data = rng.normal(100, 8, (2, 3, *shape)).astype(np.float32)
    data[rng.random(data.shape) < 0.01] *= 7
    flags = np.where(rng.random(shape) < 0.2, REFERENCE_PIXEL, 0).astype(np.uint32)
    flags[rng.random(shape) < 0.1] |= DO_NOT_USE
    fast, slow = ORIENTATION[detector]
    along = np.s_[:, 100:] if abs(fast) == 1 else np.s_[100:]
    flags[along] &= ~np.uint32(REFERENCE_PIXEL)
    zeroframe = np.where(rng.random((2, *shape)) < 0.1, 0, data[:, 0] * 2).astype(np.float32)
    place = {"xstart": start + 1 if abs(fast) == 1 else 2046, "ystart": 2046 if abs(fast) == 1 else start + 1}
    inputs = data.copy(), flags.copy(), zeroframe.copy()
    results = [
        correct_reference_pixels(
            data, flags, detector, **place, noutputs=4, striped=True, odd_even_columns=odd_even, zeroframe=zeroframe,
            threads=threads,
        )
        for threads in (1, 2)
    ]  # fmt: skip
    assert results[0].data.tobytes() == results[1].data.tobytes()
    for array, before in zip((data, flags, zeroframe), inputs, strict=True):
        np.testing.assert_array_equal(array, before)
    usable = by_frames.to_detector(((flags & REFERENCE_PIXEL) != 0) & ((flags & DO_NOT_USE) == 0), fast, slow)
    for index in np.ndindex(data.shape[:2]):
        frame = by_frames.to_detector(data[index], fast, slow)
        expected = by_lines.amplifier_means(frame, usable, start, odd_even, by_frames.clipped_mean, 3.0)
        found = by_frames.to_detector(results[0].data[index], fast, slow)
        # The rounding of float32, of the result and (first group) of the mean.
        np.testing.assert_allclose(found, expected, rtol=1.2e-7, atol=1e-5)
    assert (results[0].data != data).any()
    assert (results[0].zeroframe[zeroframe == 0] == 0).all()
    assert (results[0].zeroframe != zeroframe).any()

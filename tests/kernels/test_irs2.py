"""The IRS2 correction: layout, bad reference pixels, and the whole of it against transforms of whole vectors."""

import numpy as np
import pytest
from tests.reference.irs2 import correct_group, read_order, rows_of_sectors

from upramp.kernels import _irs2_layout as layout
from upramp.kernels._irs2_means import level, sector_offsets
from upramp.kernels._layout import ShapeError
from upramp.kernels._pages import own_pages
from upramp.kernels.irs2 import (
    correct_integration,
    correct_interleaved,
    find_bad_reference_rows,
    plan_replacements,
    prepare_coefficients,
)

N = layout.SLOTS * layout.LINES
NO_FLAGS = np.zeros((3200, 2048), np.uint32)


def exposure(ngroups, seed=1):
    """Noise on the levels of each row, rounded so that some samples equal their mean."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(100, 20, (ngroups, 3200, 1)).astype(np.float32)
    noise = rng.standard_normal((ngroups, 3200, 2048), dtype=np.float32)
    return np.rint(levels + 5 * noise)[np.newaxis]


@pytest.fixture(scope="module")
def coefficients():
    """Random table (big-endian, as in files) and what is made of it."""
    table = np.random.default_rng(2).normal(0, 0.3, (N, 2, 8)).astype(">f4")
    return table, prepare_coefficients(table)


@pytest.mark.parametrize("detector", layout.DETECTORS)
def test_layout(detector):
    order = read_order()
    assert len(order) == layout.SLOTS
    for kind, slots, positions in (
        ("science", layout.SCIENCE_SLOTS, layout.SCIENCE_POSITIONS),
        ("reference", layout.REFERENCE_SLOTS, layout.REFERENCE_POSITIONS),
    ):
        found = [(c, position) for c, (what, position) in enumerate(order) if what == kind]
        assert found == list(zip(slots, positions, strict=True))
    np.testing.assert_array_equal(layout.sector_rows(detector), rows_of_sectors(detector))
    science = rows_of_sectors(detector)[1:, layout.SCIENCE_POSITIONS]
    np.testing.assert_array_equal(layout.science_rows(detector), np.sort(science.ravel()))
    rows = [layout.science_row(row, detector == "NRS2") for row in range(2048)]
    np.testing.assert_array_equal(rows, layout.science_rows(detector))


@pytest.mark.parametrize("detector", layout.DETECTORS)
def test_against_transforms_of_whole_vectors(coefficients, detector):
    table, prepared = coefficients
    data = exposure(2)
    result, bad = correct_interleaved(data.copy(), NO_FLAGS, detector, prepared, n_sigma=1e6, threads=2)
    assert not bad.any()
    again, _ = correct_interleaved(data.copy(), NO_FLAGS, detector, prepared, n_sigma=1e6, threads=1)
    assert again.tobytes() == result.tobytes()
    complex_table = table[:, 0].astype(np.float64) + 1j * table[:, 1]
    mean = data[0].mean(axis=0, dtype=np.float64)
    alpha, beta = complex_table.T[:4], complex_table.T[4:]
    science = layout.science_rows(detector)
    centred = (data[0, 1] - mean).astype(np.float32)
    assert (centred == 0).any()
    expected = correct_group(centred, detector, alpha, beta) + mean[science]
    difference = np.abs(result[0, 1] - expected)
    assert np.abs(expected - data[0, 1, science]).max() > 10
    assert difference.max() < 2e-4


def test_one_group_has_nothing_to_compare(coefficients):
    data = exposure(1)
    result, _ = correct_interleaved(data.copy(), NO_FLAGS, "NRS1", coefficients[1])
    np.testing.assert_array_equal(result, data[:, :, layout.science_rows("NRS1")])


def test_without_coefficients_lines_in_time_are_subtracted():
    """A pedestal of each group, and a drift along it, leave the mean of the groups."""
    table = np.zeros((N, 2, 8), np.float32)
    time = np.empty((3200, 2048), np.float32)
    rows = layout.sector_rows("NRS1")
    for positions, slots in (
        (layout.SCIENCE_POSITIONS, layout.SCIENCE_SLOTS),
        (layout.REFERENCE_POSITIONS, layout.REFERENCE_SLOTS),
    ):
        time[rows[:, positions]] = (np.arange(2048) * 712 + slots[:, None]) / N
    base = np.random.default_rng(3).normal(1000, 10, (3200, 2048)).astype(np.float32)
    data = np.stack([base + 30 + 8 * time, base - 30 - 4 * time])[np.newaxis]
    mean = data[0].mean(axis=0)[layout.science_rows("NRS1")]
    result, _ = correct_interleaved(data, NO_FLAGS, "NRS1", prepare_coefficients(table), n_sigma=1e6)
    np.testing.assert_allclose(result[0, 0], mean, atol=2e-3)
    np.testing.assert_allclose(result[0, 1], mean, atol=2e-3)


def test_bad_reference_pixels_are_found():
    rng = np.random.default_rng(4)
    data = rng.standard_normal((2, 3, 3200, 2048), dtype=np.float32)
    data[1, :, 648] += 100  # the two reads of a pixel differ, in one integration
    data[:, :, [1310, 1311]] += 30  # too high a mean
    data[0, 0, [2570, 2571], :1000] += 40  # too much scatter
    known = np.zeros(3200, bool)
    known[[30, 31]] = True
    bad = find_bad_reference_rows(lambda i, rows: data[i][:, rows], 2, known, n_sigma=5.0)
    assert np.flatnonzero(bad).tolist() == [30, 31, 648, 649, 1310, 1311, 2570, 2571]


def test_replacements():
    def plan(*bad, pairs=(), detector="NRS1"):
        mask = np.zeros(3200, bool)
        mask[list(bad)] = True
        return plan_replacements(mask, pairs, detector)

    assert plan(668) == [(668, [648, 688])]
    assert plan(648) == [(648, [668])]  # the sector starts at 640
    assert plan(668, 648) == [(648, [650]), (668, [688])]
    assert plan(648, 668, 650) == [(648, []), (650, [670]), (668, [688])]
    assert plan(650, 670) == [(650, [648]), (670, [690])]
    # Bit 1 of output 1, first pair; output 2 is read the other way round.
    assert plan(pairs=[(1, 1, 0b10)]) == [(668, [648, 688]), (669, [649, 689])]
    assert plan(pairs=[(2, 1, 0b10)]) == [(1310, [1290, 1330]), (1311, [1291, 1331])]
    turned = plan(pairs=[(1, 1, 0b10)], detector="NRS2")
    assert turned == [(2531, [2551, 2511]), (2530, [2550, 2510])]
    assert plan(668, 669, pairs=[(1, 1, 0b10)]) == plan(668, 669)


def test_tables_in_any_form_and_calls_after_groups(coefficients):
    table, prepared = coefficients
    flat = prepare_coefficients(table.reshape(-1, 8).astype(np.float32), threads=1)
    for one, other in zip(flat[:2], prepared[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    data, groups = exposure(3)[0], []

    def load(rows, group, first, last):
        rows[...] = data[group, first:last]

    out = np.empty((3, 2048, 2048), np.float32)
    correct_integration(out, load, flat, [], "NRS1", 2, groups.append)
    assert sorted(groups) == [0, 1, 2]
    np.testing.assert_array_equal(out, correct_interleaved(data[None], NO_FLAGS, "NRS1", prepared, n_sigma=1e6)[0][0])


def slow_offsets(frame, flags, detector, odd_even):
    """Offsets of the rows of a frame (3200, 2048), by lists: every place of a line is put into its class."""
    if detector == "NRS2":
        return slow_offsets(frame[::-1, ::-1], flags[::-1, ::-1], "NRS1", odd_even)[::-1]
    offsets = np.zeros(3200)
    references = [position for kind, position in read_order() if kind == "reference"]
    for sector in range(5):
        classes = [[], []]
        for place in range(640):
            first_pair = place in references and references.index(place) % 4 < 2
            first = first_pair if place in references else place % 2 == 0
            classes[0 if first or not odd_even else 1].append(640 * sector + place)
        means = [
            [clipped(frame[own][:, lines][(flags[own][:, lines] & 1) == 0]) for lines in (slice(4), slice(2044, 2048))]
            for own in classes
            if own
        ]
        if all(np.isfinite(ends).any() for ends in means):
            for own, ends in zip(classes, means, strict=False):
                offsets[own] = np.nanmean(ends)
    return offsets


def clipped(values):
    values = values.astype(float)
    while values.size:
        kept = values[np.abs(values - values.mean()) <= 3 * values.std()]
        if kept.size == values.size:
            return values.mean()
        values = kept
    return np.nan


@pytest.mark.parametrize("detector", layout.DETECTORS)
@pytest.mark.parametrize("odd_even", [True, False])
def test_offsets_of_sectors(detector, odd_even):
    data = exposure(2)[0] + np.where(np.arange(3200) % 2, 30, 0).astype(np.float32)[:, np.newaxis]
    data[:, 40:60, 2] += 500
    flags = NO_FLAGS.copy()
    flags[100:200, [1, 2046]] |= 1
    flags[640:1280, :4] |= 1  # one end is enough
    flags[1280:1920, layout.EDGE_LINES[:, np.newaxis]] |= 1
    data[:, 300, 1], flags[300, 1] = np.nan, 1

    def load(rows, group, first, last):
        rows[...] = data[group, first:last]

    edge_flags = flags[:, layout.EDGE_LINES]
    found = sector_offsets(load, 2, edge_flags, detector, odd_even, 3.0, threads=2)
    expected = [slow_offsets(frame, flags, detector, odd_even) for frame in data]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32 and not found[:, 1280:1920].any() and found[:, :1280].all()
    again = sector_offsets(load, 2, edge_flags, detector, odd_even, 3.0, threads=1)
    assert again.tobytes() == found.tobytes()
    rows = np.empty((10, 2048), np.float32)
    level(load, found)(rows, 1, 50, 60)
    np.testing.assert_array_equal(rows, data[1, 50:60] - found[1, 50:60, np.newaxis])
    data[1, 2000, 0] = np.nan
    spoilt = sector_offsets(load, 2, edge_flags, detector, odd_even, 3.0)
    assert np.isnan(spoilt[1, 1920:2560]).any() and np.isfinite(spoilt[0]).all()


def test_offsets_are_subtracted_first(coefficients):
    data, prepared = exposure(2), coefficients[1]

    def load(rows, group, first, last):
        rows[...] = data[0, group, first:last]

    offsets = sector_offsets(load, 2, NO_FLAGS[:, layout.EDGE_LINES], "NRS1", True, 3.0)
    before = data.copy()
    result, _ = correct_interleaved(data, NO_FLAGS, "NRS1", prepared, n_sigma=1e6, subtract_means=True)
    np.testing.assert_array_equal(data, before)
    by_hand = data - offsets[np.newaxis, :, :, np.newaxis]
    np.testing.assert_array_equal(result, correct_interleaved(by_hand, NO_FLAGS, "NRS1", prepared, n_sigma=1e6)[0])


def test_scratch_of_its_own():
    scratch = own_pages((1025, 1000), np.complex64)
    assert (scratch.shape, scratch.dtype, scratch.flags.c_contiguous) == ((1025, 1000), np.complex64, True)
    assert scratch.flags.writeable and not scratch.any()


def test_refusals(coefficients):
    with pytest.raises(ShapeError, match="holds 1600 numbers"):
        prepare_coefficients(np.zeros((200, 8), np.float32))
    with pytest.raises(ShapeError, match="3200 rows"):
        correct_interleaved(np.zeros((1, 1, 2048, 2048), np.float32), NO_FLAGS, "NRS1", coefficients[1])
    with pytest.raises(ValueError, match="NRS1 and NRS2"):
        correct_interleaved(np.zeros((1, 1, 3200, 2048), np.float32), NO_FLAGS, "NIS", coefficients[1])

"""Reference-pixel corrections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import refpix as by_frames
from tests.reference.tiling import run_in_tiles

from upramp.errors import ShapeError
from upramp.kernels import refpix
from upramp.kernels._refpix_statistics import edge_vectors_block, pairwise_sum, pooled_means_block
from upramp.kernels.refpix import correct_reference_pixels

DO_NOT_USE, REFERENCE_PIXEL = 1, 2**31
DEFAULTS = {
    "odd_even_columns": True,
    "use_side_ref_pixels": True,
    "side_smoothing_length": 11,
    "side_gain": 1.0,
    "siglimit": 3.0,
}


def detector_flags(row0, column0, ny, nx):
    flags = np.full((2048, 2048), REFERENCE_PIXEL, np.uint32)
    flags[4:2044, 4:2044] = 0
    return flags[row0 : row0 + ny, column0 : column0 + nx].copy()


def exposure(row0, column0, ny, nx, ngroup=2, seed=18):
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 8, (1, ngroup, ny, nx)).astype(np.float32)
    data += rng.normal(0, 30, (1, ngroup, 1, nx)).astype(np.float32)
    data[rng.random(data.shape) < 0.01] *= 7
    pixeldq = detector_flags(row0, column0, ny, nx)
    bad = rng.random(pixeldq.shape) < 0.05
    bad[min(40, ny - 1) : 60] = True
    pixeldq[bad] |= DO_NOT_USE
    data[:, 0, bad] = np.nan
    zeroframe = np.nan_to_num(data[:, -1]) * 2
    zeroframe[rng.random(zeroframe.shape) < 0.1] = 0
    for array in (data, pixeldq, zeroframe):
        array.flags.writeable = False
    return data, pixeldq, zeroframe


CASES = [
    ("NRCA1", 0, 0, 48, 2048, 4, None, {}),
    ("NRCA1", 1984, 0, 64, 2048, 4, None, {"side_smoothing_length": 6, "siglimit": 2.0}),
    ("NRCA2", 1984, 0, 64, 2048, 4, None, {"side_smoothing_length": 6, "side_gain": 0.5}),
    ("NRCB4", 984, 1000, 70, 1048, 4, None, {"odd_even_columns": False}),
    ("NIS", 0, 0, 2048, 64, 4, None, {"side_smoothing_length": 8}),
    ("NRS1", 0, 3, 2048, 33, 4, None, {"use_side_ref_pixels": False}),
    ("GUIDER2", 1000, 1, 512, 20, 4, None, {"side_smoothing_length": 1}),
    ("GUIDER1", 1000, 1000, 20, 30, 4, None, {}),
    ("NRCA3", 1984, 0, 64, 64, 1, None, {}),
    ("NIS", 1952, 0, 96, 700, 1, None, {"odd_even_columns": False}),
    ("NRS2", 0, 1537, 31, 511, 1, None, {"siglimit": 2.0}),
]


def compare(found, expected, single):
    """All bits where sums are float32; the order of float64 sums shows in few samples."""
    if single:
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1.2e-7, atol=0)
    assert (found != expected)[np.isfinite(expected)].mean() < 1e-4


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[3]}x{case[4]}-{case[5]}")
def test_subarrays_against_whole_frames(case):
    detector, row0, column0, ny, nx, noutputs, name, changed = case
    data, pixeldq, zeroframe = exposure(row0, column0, ny, nx)
    parameters = DEFAULTS | changed
    result = correct_reference_pixels(
        data, pixeldq, detector, column0 + 1, row0 + 1, noutputs, name, zeroframe=zeroframe, threads=2, **parameters
    )
    place = pixeldq, refpix.ORIENTATION[detector], row0, column0, noutputs
    expected = by_frames.correct(data, *place, *parameters.values())
    single = noutputs == 1 or not parameters["use_side_ref_pixels"]
    compare(result.data, expected, single)
    expected = by_frames.correct(zeroframe[:, None], *place, *parameters.values(), single_first=False)[:, 0]
    compare(result.zeroframe, np.where(zeroframe == 0, 0, expected), single)


def test_full_frame():
    data, pixeldq, _ = exposure(0, 0, 2048, 2048)
    expected = by_frames.correct(data, pixeldq, refpix.ORIENTATION["NRS2"], 0, 0, 4, *DEFAULTS.values())
    # A full frame is read by all amplifiers, whatever the keyword says.
    result = correct_reference_pixels(data, pixeldq, "NRS2", noutputs=1).data
    compare(result, expected, single=False)
    usable = np.isfinite(result[0, 1])
    assert abs(np.median(result[0, 1][usable])) < 1 < abs(np.median(data[0, 1][usable]))


def test_known_offsets_are_removed():
    """Amplifier and parity offsets on bottom and sides come out exactly; only the sky is left."""
    columns = np.arange(2048)
    offset = 10.0 * (columns // 512) + columns % 2
    drift = 3.0 * np.arange(64)
    data = np.broadcast_to(offset + drift[:, None], (1, 2, 64, 2048)).astype(np.float32)
    pixeldq = detector_flags(0, 0, 64, 2048)
    flat = correct_reference_pixels(data, pixeldq, "NRCA1", use_side_ref_pixels=False).data
    np.testing.assert_array_equal(flat[0, 0], np.broadcast_to(drift[:, None] - drift[:4].mean(), (64, 2048)))
    # Away from the ends of the window the running median of a straight line is the line.
    straight = correct_reference_pixels(data, pixeldq, "NRCA1").data
    np.testing.assert_array_equal(straight[0, :, 5:59], 0)


def test_edgeless_subarray_takes_its_outer_columns():
    rng = np.random.default_rng(19)
    data = rng.normal(50, 1, (1, 1, 512, 32)).astype(np.float32)
    data[..., :4], data[..., -4:] = 3, 4
    none = np.zeros((512, 32), np.uint32)
    result = correct_reference_pixels(data, none, "NRS1", 1001, 1001, 1, "SUB32").data
    np.testing.assert_allclose(result, data - 3.5, rtol=0, atol=1e-5)
    unchanged = correct_reference_pixels(data, none, "NRS1", 1001, 1001, 1, "SUB64").data
    np.testing.assert_array_equal(unchanged, data)


def test_one_parity_without_reference_pixels_changes_nothing():
    data = np.ones((1, 1, 6, 8), np.float32)
    pixeldq = np.zeros((6, 8), np.uint32)
    pixeldq[:, ::2] = REFERENCE_PIXEL
    place = ("NRCA1", 1001, 1001, 1)
    np.testing.assert_array_equal(correct_reference_pixels(data, pixeldq, *place).data, data)
    together = correct_reference_pixels(data, pixeldq, *place, odd_even_columns=False).data
    np.testing.assert_array_equal(together, 0)


def test_nan_in_an_unflagged_reference_pixel():
    """It spoils its amplifier and parity, and the medians of its side only where it is in the window."""
    data = np.ones((1, 1, 40, 2048), np.float32)
    pixeldq = detector_flags(0, 0, 40, 2048)
    data[0, 0, 2, 600] = np.nan
    data[0, 0, 20, 1] = np.nan
    result = correct_reference_pixels(data, pixeldq, "NRCA1").data[0, 0]
    expected = np.zeros((40, 2048), np.float32)
    expected[:, 512:1024:2] = np.nan
    expected[20, 1] = np.nan
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(-500, 500), st.integers(0, 1000))
def test_a_constant_added_to_the_ramp_disappears(constant, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 200, (1, 1, 24, 64)).astype(np.float32)
    pixeldq = detector_flags(0, 0, 24, 64)
    plain = correct_reference_pixels(data, pixeldq, "NRCA1").data
    np.testing.assert_allclose(
        correct_reference_pixels(data + constant, pixeldq, "NRCA1").data, plain, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("columns_first", [True, False])
def test_subtraction_in_tiles_and_threads(columns_first):
    rng = np.random.default_rng(20)
    data = rng.normal(100, 8, (2, 2, 90, 17)).astype(np.float32)
    by_column, by_row = rng.normal(0, 9, (2, 2, 20)), rng.normal(0, 9, (2, 2, 95))
    a, b = by_column[:, :, None, 2:19], by_row[:, :, 4:94, None]
    early, late = (a, b) if columns_first else (b, a)
    expected = ((data - early) - late).astype(np.float32)
    single = data[0, 0] - early[0, 0].astype(np.float32)
    expected[0, 0] = single - late[0, 0]
    tiled = data.copy()
    run_in_tiles(refpix.subtract_corrections_tile, tiled, by_column, by_row, columns_first, 4, 2)
    assert tiled.tobytes() == expected.tobytes()
    zeroframe = data[:, 0].copy()
    zeroframe[:, ::2] = 0
    run_in_tiles(refpix.subtract_corrections_zeroframe_tile, zeroframe, by_column, by_row, columns_first, 4, 2)
    np.testing.assert_allclose(zeroframe[0, 1::2], expected[0, 0, 1::2], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(zeroframe[1, 1::2], expected[1, 0, 1::2])
    assert not zeroframe[:, ::2].any()

    data, pixeldq, zeroframe = exposure(0, 0, 100, 300)
    one, two = (
        correct_reference_pixels(data, pixeldq, "NRCA1", zeroframe=zeroframe, threads=threads) for threads in (1, 2)
    )
    assert one.data.tobytes() == two.data.tobytes() and one.zeroframe.tobytes() == two.zeroframe.tobytes()
    for tile in (refpix.subtract_corrections_tile, refpix.subtract_corrections_zeroframe_tile):
        assert len(tile.signatures) == 1
    assert len(edge_vectors_block.signatures) == 1
    correct_reference_pixels(data, pixeldq, "NRCA1", noutputs=1)
    assert len(pooled_means_block.signatures) == 1


def test_the_pieces_make_the_whole():
    """What the fused schedule does: vectors from the edges alone, subtracted later."""
    data, pixeldq, _ = exposure(0, 0, 64, 2048)
    edges = refpix.cut_edges(data, pixeldq)
    corrections = refpix.edge_corrections(edges, *refpix.ORIENTATION["NRCA1"])
    assert corrections.columns_first
    assert corrections.by_column.shape == (1, 2, 2048) and corrections.by_row.shape == (1, 2, 64)
    result = ((data - corrections.by_column[:, :, None]) - corrections.by_row[..., None]).astype(np.float32)
    whole = correct_reference_pixels(data, pixeldq, "NRCA1").data
    np.testing.assert_array_equal(result[0, 1], whole[0, 1])
    np.testing.assert_allclose(result[0, 0], whole[0, 0], rtol=0, atol=2e-4)


def test_refusals():
    data, pixeldq = np.ones((1, 1, 8, 8), np.float32), np.zeros((8, 8), np.uint32)
    with pytest.raises(ShapeError, match="does not lie"):
        correct_reference_pixels(data, pixeldq, "NRCA1", xstart=2042)
    with pytest.raises(ValueError, match="MIRIMAGE"):
        correct_reference_pixels(data, pixeldq, "MIRIMAGE")
    with pytest.raises(ValueError, match="side_smoothing_length"):
        correct_reference_pixels(data, pixeldq, "NRCA1", side_smoothing_length=0)


@pytest.mark.parametrize("n", [*range(20), 127, 128, 129, 136, 137, 255, 256, 257, 1000, 1023, 1032, 4097, 16384])
def test_sums_have_the_roundings_of_numpy(n):
    values = np.random.default_rng(n).normal(8000, 300, n + 3).astype(np.float32)
    assert pairwise_sum(values, n) == values[:n].sum()


def test_edges_are_the_same_for_any_number_of_threads_and_rows():
    rng = np.random.default_rng(3)
    data = rng.normal(0, 10, (1, 2, 2048, 2048)).astype(np.float32)
    pixeldq = rng.integers(0, 4, (2048, 2048)).astype(np.uint32)
    expected = refpix.cut_edges(data, pixeldq)

    def read(first, last, left, right):
        return data[:, :, first:last, left:right], pixeldq[first:last, left:right]

    for threads, together in ((1, 64), (2, 64), (2, 100)):
        ends = []
        options = {"threads": threads, "together": together}
        edges = refpix.gather_edges(read, data.shape, after_block=lambda *rows, ends=ends: ends.append(rows), **options)
        assert sorted(ends) == [(first, min(first + together, 2048)) for first in range(0, 2048, together)]
        for one, other in zip(edges, expected, strict=True):
            np.testing.assert_array_equal(one, other)

"""The transform along the slots of an IRS2 line against that of numpy."""

import numpy as np
import pytest

from upramp.kernels import _irs2_transform as transform


def to_block(values, offsets):
    block = np.zeros(transform.SIZE, np.float32)
    for row, offset in zip(values, offsets, strict=True):
        block[offset : offset + transform.COLUMNS] = row.real
        block[offset + transform.LANES :][: transform.COLUMNS] = row.imag
    return block


def from_block(block, offsets):
    return np.stack(
        [block[o:][: transform.COLUMNS] + 1j * block[o + transform.LANES :][: transform.COLUMNS] for o in offsets]
    )


def test_places_cover_a_block():
    for offsets in (transform.SLOT_OFFSETS, transform.FREQUENCY_OFFSETS):
        lanes = offsets[:, None] + np.arange(transform.COLUMNS)
        every = np.sort(np.concatenate([lanes, lanes + transform.LANES], axis=None))
        np.testing.assert_array_equal(every, np.arange(transform.SIZE))


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_transform(direction):
    rng = np.random.default_rng(5)
    values = rng.standard_normal((712, transform.COLUMNS)) + 1j * rng.standard_normal((712, transform.COLUMNS))
    weights, work = transform.transform_tables(), np.full(transform.SIZE, np.nan, np.float32)
    if direction == "forwards":
        block = to_block(values, transform.SLOT_OFFSETS)
        transform.transform_slots(block, weights[0], np.float32(1), work)
        found, expected = from_block(block, transform.FREQUENCY_OFFSETS), np.fft.fft(values, axis=0)
    else:
        block = to_block(values, transform.FREQUENCY_OFFSETS)
        transform.transform_slots(block, weights[1], np.float32(-1), work)
        found, expected = from_block(block, transform.SLOT_OFFSETS), 712 * np.fft.ifft(values, axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)  # of values up to 120


def test_nan_stays_in_its_column():
    block, weights = np.ones(transform.SIZE, np.float32), transform.transform_tables()
    block[transform.SLOT_OFFSETS[100] + 3] = np.nan
    transform.transform_slots(block, weights[0], np.float32(1), np.empty_like(block))
    spoilt = np.isnan(from_block(block, transform.FREQUENCY_OFFSETS))
    assert spoilt[:, 3].all()
    assert np.delete(spoilt, 3, axis=1).sum() == 0

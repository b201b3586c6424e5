"""Decoding from and encoding into arrays as they lie on disk."""

from types import SimpleNamespace

import numpy as np
import pytest

from upramp.errors import DTypeError, ShapeError
from upramp.kernels import _bits

rng = np.random.default_rng(1)


def mapped(array, offset=0):
    """What the models hand over: unsigned bits, byte order, BZERO."""
    return SimpleNamespace(
        bits=array.view(f"=u{array.dtype.itemsize}"), swapped=not array.dtype.isnative, offset=offset
    )


RAW = rng.integers(0, 65536, (2, 3, 7, 9)).astype(np.uint16)


@pytest.mark.parametrize(
    "source",
    [RAW, RAW.astype(">u2"), mapped((RAW.astype(np.int32) - 32768).astype(">i2"), 32768), mapped(RAW)],
    ids=["native", "swapped", "fits", "mapped-native"],
)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_raw_samples_decode_to_their_value(source, scale):
    out = np.full((2, 3, 4, 5), np.nan, np.float32)
    _bits.decode_raw_tile(out, _bits.as_bits(source, np.uint16).record(), 3, scale, 2, 1)
    expected = RAW[:, :, 2:6, 1:6].astype(np.float32) * np.float32(scale)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_keep_every_bit_including_nan_payloads(order):
    words = rng.integers(0, 2**32, (4, 6, 8), dtype=np.uint64).astype(np.uint32)
    source = words.astype(f"{order}u4").view(f"{order}f4")
    out = np.zeros((2, 3, 4), np.float32)
    _bits.decode_float_tile(out, _bits.as_bits(source, np.float32, first_row=1, first_column=2).record(), 1, 2, 1)
    np.testing.assert_array_equal(out.view(np.uint32), words[1:3, 3:6, 3:7])

    target = np.zeros((4, 6, 8), f"{order}f4")
    bits = _bits.as_bits(target, np.float32, writable=True)
    _bits.encode_float_tile(bits.record(), out, 1, 1, 3, 0, 3, 3, 3)
    expected = np.zeros((4, 6, 8), np.uint32)
    expected[1:3, 4:6, 3:6] = words[1:3, 4:6, 3:6]
    np.testing.assert_array_equal(target.view(f"{order}u4").astype(np.uint32), expected)


@pytest.mark.parametrize("fits", [True, False])
def test_flags_round_trip_through_bzero(fits):
    flags = rng.integers(0, 2**32, (1, 5, 6), dtype=np.uint64).astype(np.uint32)
    stored = np.zeros((1, 5, 6), ">i4") if fits else np.zeros((1, 5, 6), np.uint32)
    source = mapped(stored, 2**31) if fits else stored
    target = _bits.as_bits(source, np.uint32, writable=True)
    _bits.encode_flags_tile(target.record(), flags, 0, 0, 5, 0, 6, 0, 0)
    if fits:
        np.testing.assert_array_equal(stored.astype(np.int64) + 2**31, flags)
    out = np.zeros((3, 4), np.uint32)
    _bits.decode_flags_tile(out, _bits.as_bits(source, np.uint32).record(), 1, 2)
    np.testing.assert_array_equal(out, flags[0, 1:4, 2:6])


def test_group_flags_are_stored_where_they_belong():
    flags = rng.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    target = np.zeros((2, 3, 10, 12), np.uint8)
    bits = _bits.as_bits(target, np.uint8, writable=True)
    _bits.encode_bytes_tile(bits.record(), flags, 1, 3, 1, 5, 6, 7)
    expected = np.zeros_like(target)
    expected[:, :, 7:9, 8:12] = flags[:, :, 1:3, 1:5]
    np.testing.assert_array_equal(target, expected)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(DTypeError, match="float64.*expected float32"):
        _bits.as_bits(np.zeros((3, 3)), np.float32)
    with pytest.raises(DTypeError, match="expected numbers of 4 bytes"):
        _bits.as_bits(mapped(RAW), np.float32)
    with pytest.raises(ShapeError, match="1 dimensions"):
        _bits.as_bits(np.zeros(3, np.float32), np.float32)
    with pytest.raises(ShapeError, match="not in C order"):
        _bits.as_bits(np.zeros((4, 3), np.float32).T, np.float32, writable=True)


def test_one_compiled_signature():
    for function in (_bits.decode_raw_tile, _bits.decode_float_tile, _bits.encode_float_tile):
        assert len(function.signatures) <= 1

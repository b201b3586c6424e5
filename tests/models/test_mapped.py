"""Arrays as bits and as values."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.errors import OutputError
from upramp.models._fits_file import FitsFile
from upramp.models._mapped import decode, encode, in_file, map_file, temporary_array


def values_of(mapped):
    """What the bits mean."""
    bits = mapped.bits.byteswap() if mapped.swapped else mapped.bits
    if mapped.offset:
        bits = bits ^ bits.dtype.type(mapped.offset)
    return bits.view(mapped.kind)


def test_bits_of_a_raw_file(uncal):
    with fits.open(uncal) as hdus:
        expected = hdus["SCI"].data.copy()
    for model in (models.Level1bModel(uncal), models.RampModel(uncal)):
        mapped = model.mapped("data")
        assert (mapped.kind, mapped.swapped, mapped.offset) == ("u2", True, 32768)
        assert mapped.bits.dtype == np.uint16
        assert mapped.bits.shape == (2, 3, 4, 5)
        assert mapped.bits.flags.c_contiguous
        assert not mapped.bits.flags.writeable
        np.testing.assert_array_equal(values_of(mapped), expected)
        np.testing.assert_array_equal(model.data, expected)
    assert models.RampModel(uncal).data.dtype == np.float32


@pytest.mark.parametrize(("name", "dtype"), [("data", "f4"), ("pixeldq", "u4"), ("groupdq", "u1")])
def test_bits_of_each_kind(tmp_path, name, dtype):
    rng = np.random.default_rng(2)
    model = models.RampModel(rng.normal(size=(2, 3, 4, 5)))
    model.pixeldq = rng.integers(0, 2**32, (4, 5), dtype=np.uint64)
    model.groupdq = rng.integers(0, 256, (2, 3, 4, 5))
    path = model.save(tmp_path / "a_ramp.fits")
    reread = models.open(path)
    mapped = reread.mapped(name)
    assert mapped.kind == dtype
    assert mapped.bits.dtype.kind == "u"
    np.testing.assert_array_equal(values_of(mapped), getattr(model, name))
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus[reread._schema.arrays[name].hdu].data, getattr(model, name))
    np.testing.assert_array_equal(getattr(reread, name), getattr(model, name))


def test_native_array_is_the_users_own(uncal):
    model = models.RampModel(uncal)
    data = model.data
    assert data is model.data
    assert data.dtype.isnative
    assert data.flags.c_contiguous
    assert data.flags.writeable
    data[0, 0, 0, 0] = -3.5
    mapped = model.mapped("data")
    assert (mapped.kind, mapped.swapped, mapped.offset, mapped.source) == ("f4", False, 0, None)
    assert values_of(mapped)[0, 0, 0, 0] == -3.5
    assert np.shares_memory(mapped.bits, data)
    assert models.RampModel(uncal).data[0, 0, 0, 0] != -3.5


def test_opening_reads_no_pixels_and_makes_no_arrays(uncal):
    model = models.RampModel(uncal)
    assert not model.has_array("pixeldq")
    assert model.mapped("pixeldq") is None
    assert model.array_shape("data") == (2, 3, 4, 5)
    assert model._slots["data"]._value is None
    assert model.pixeldq.shape == (4, 5)
    assert model.groupdq.dtype == np.uint8
    assert not model.groupdq.any()
    assert model.has_array("pixeldq")


def test_release_keeps_values(uncal):
    model = models.RampModel(uncal)
    mapped = model.mapped("data")
    before = mapped.bits.copy()
    mapped.release(0, 4)
    mapped.release(1, 2)
    np.testing.assert_array_equal(mapped.bits, before)
    _ = model.data
    model.mapped("data").release(0, 4)


def test_tables_of_mixed_columns_have_no_bits(uncal):
    with pytest.raises(TypeError, match="int_times is a table with columns of several types"):
        models.open(uncal).mapped("int_times")
    with pytest.raises(AttributeError, match="no array 'nothing'"):
        models.open(uncal).mapped("nothing")


def test_tables_of_numbers_of_one_type(tmp_path):
    names = [f"{kind}_{sector}" for kind in ("alpha", "beta") for sector in range(4)]
    numbers = np.arange(24, dtype=np.float32).reshape(3, 8)
    made = models.IRS2Model(irs2_table=numbers.view([(name, np.float32) for name in names]).ravel())
    read = models.IRS2Model(made.save(tmp_path / "irs2.fits"))
    for model, swapped in ((made, False), (read, True)):
        mapped = model.mapped("irs2_table")
        assert (mapped.kind, mapped.swapped, mapped.offset) == ("f4", swapped, 0)
        np.testing.assert_array_equal(values_of(mapped), numbers)
        mapped.release(0, 3)
        np.testing.assert_array_equal(values_of(mapped), numbers)
    assert read.mapped("irs2_table").source is not None
    np.testing.assert_array_equal(read.irs2_table, made.irs2_table)
    # Other columns in the file: those of the schema are picked out, in a copy.
    columns = [fits.Column(name, "E", array=column) for name, column in zip(names, numbers.T, strict=True)]
    for others in (columns[::-1], [fits.Column("ALPHA_0", "J", array=[0, 8, 16]), *columns[1:]]):
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(others, name="IRS2")]).writeto(
            tmp_path / "others.fits", overwrite=True
        )
        mapped = models.IRS2Model(tmp_path / "others.fits").mapped("irs2_table")
        assert mapped.source is None
        np.testing.assert_array_equal(values_of(mapped), numbers)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_encode_and_decode_are_inverse(kind):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2**7, (3, 4, 5)).astype(kind)
    if kind[0] == "u":
        values[0, 0, 0] = np.iinfo(kind).max
    for plane in values:
        stored = encode(plane, kind)
        assert stored.dtype == np.dtype(f">{kind}")
        np.testing.assert_array_equal(decode(stored, kind), plane)
    if kind == "u2":
        assert encode(np.array([[0, 65535]], "u2"), "u2").tobytes() == b"\x80\x00\x7f\xff"


def test_bits_are_found_in_their_file(uncal):
    mapped = models.RampModel(uncal).mapped("data")
    for bits, start in ((mapped.bits.reshape(6, 4, 5), mapped.start), (mapped.bits[1, 2], mapped.start + 5 * 40)):
        found = in_file(bits)
        assert (found.source, found.start) == (mapped.source, start) and found.bits is bits
        found.release(0, 4)
    assert in_file(mapped.bits[..., 1:]) is None  # not in one piece
    assert in_file(np.zeros((2, 3), np.uint32)) is None


def test_temporary_arrays_go_with_the_array(tmp_path):
    array = temporary_array((3, 4, 5, 6), "u1", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert (array.bits.shape, array.kind, array.swapped, array.offset) == ((3, 4, 5, 6), "u1", False, 0)
    assert not array.bits.any()
    array.bits[...] = np.arange(3 * 4 * 5 * 6, dtype=np.uint8).reshape(3, 4, 5, 6)
    expected = array.bits.copy()
    one = array.part(1)
    assert one.start == 4 * 5 * 6
    np.testing.assert_array_equal(one.bits, expected[1])
    array.release(0, 5)
    one.release(0, 5)
    np.testing.assert_array_equal(array.bits, expected)
    numbers = temporary_array((2, 3), "f4", tmp_path)
    assert (numbers.bits.dtype, numbers.kind, numbers.swapped) == (np.uint32, "f4", False)
    with pytest.raises(OutputError, match="missing"):
        temporary_array((2, 2), "u1", tmp_path / "missing")


def test_no_room_for_a_temporary_array(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(OutputError, match=f"no room for 8 MB of scratch in {tmp_path}: .* Free space there"):
            temporary_array((2000, 1000), "f4", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_one_pixel_of_every_plane(uncal, tmp_path):
    raw, ramp = models.Level1bModel(uncal), models.RampModel(np.arange(24.0).reshape(1, 2, 3, 4) - 3.5)
    read = models.RampModel(ramp.save(tmp_path / "ramp.fits"))
    for model in (raw, ramp, read):
        found = [model.mapped("data").pixel(y, x) for y, x in ((1, 2), (-1, 0))]
        for values, (y, x) in zip(found, ((1, 2), (-1, 0)), strict=True):
            assert values.dtype == model.data.dtype
            np.testing.assert_array_equal(values, model.data[..., y, x])
    with pytest.raises(IndexError):
        read.mapped("data").pixel(3, 0)


def test_the_ramp_of_one_pixel_needs_no_memory_of_the_size_of_the_file(tmp_path):
    header = Path(models.RampModel(np.zeros((1, 1, 1, 1), "f4")).save(tmp_path / "small.fits")).read_bytes()
    for axis, length in ((1, 1024), (2, 1024), (3, 100), (4, 1)):
        header = header.replace(
            f"NAXIS{axis}  =                    1".encode(), f"NAXIS{axis}  = {length:>20}".encode()
        )
    file = FitsFile("x.fits", (tmp_path / "small.fits").read_bytes())
    path, sci = tmp_path / "large.fits", file.find("SCI")
    with path.open("wb") as handle:  # sparse: 400 MiB of zeros
        handle.write(header[: sci.data_start])
        handle.truncate(sci.data_start + -(-4 * 100 * 1024**2 // 2880) * 2880)
    code = f"""
import resource
from upramp import models
model = models.RampModel({str(path)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
values = model.mapped("data").pixel(500, 700)
assert values.shape == (1, 100) and not values.any()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) < 50  # MiB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RssFile is of Linux")
def test_no_more_of_a_file_comes_into_memory_than_is_looked_at(tmp_path):
    path, piece, count = tmp_path / "planes.bin", 8 << 20, 20
    with path.open("wb") as handle:
        for value in range(count):
            handle.write(bytes([value]) * piece)  # written at once, so that the system keeps large pieces
        handle.write(b"the end")

    def resident():
        (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssFile"))
        return int(line.split()[1]) * 1024

    with path.open("rb") as handle:
        content = map_file(handle)
    before = resident()
    assert [content[k * piece + piece // 2] for k in range(count)] == list(range(count))
    assert resident() - before < count << 18  # 256 KiB for every byte, not the 2 MiB around it
    assert len(content) == count * piece + 7
    assert content[-7:] == b"the end"
    with pytest.raises(TypeError):
        content[0] = 1


def test_a_mapped_file_ends_where_the_file_does(tmp_path):
    path = tmp_path / "one.bin"
    path.write_bytes(b"x")
    with path.open("rb") as handle:
        assert map_file(handle)[:] == b"x"

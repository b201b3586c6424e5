"""Vectors of pixels in compiled code against the same functions on numpy arrays."""

import ctypes
import mmap

import numpy as np
import pytest

from upramp.kernels._jit import kernel
from upramp.kernels._median import median_exchanges, network_exchanges, network_size
from upramp.kernels._scratch import empty, zeros
from upramp.kernels._vectors import (
    LANES,
    MOST_ROWS,
    absolute,
    any_of,
    bits_of,
    count_of,
    doubles,
    first_bit,
    floats,
    larger,
    load,
    load_some,
    middle_rows,
    select,
    smaller,
    splat,
    sqrt,
    store,
    store_some,
)


def arithmetic(a, b, out):
    x, y = load(a, 3), load(b, 0)
    store(out[0], 0, x + y * np.float32(3))
    store(out[1], 0, (x - y) / y)
    store(out[2], 0, absolute(x))
    store(out[3], 0, sqrt(x))
    store(out[4], 0, floats(doubles(x) * 0.1 + doubles(y)))
    store(out[5], 0, splat(np.float32(7)) - x)


def comparisons(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out[0], 0, x < y)
    store(out[1], 0, x <= y)
    store(out[2], 0, x > y)
    store(out[3], 0, x >= y)
    store(out[4], 0, x == y)
    store(out[5], 0, x != y)
    store(out[6], 0, ((x < y) | (x > np.float32(0))) & ((x == y) ^ True))


def selections(a, b, flags, words, out, numbers, found):
    x, y = load(a, 0), load(b, 0)
    store(out[0], 0, select(x < y, x, y))
    store(out[1], 0, select(x < y, np.float32(1), y))
    store(out[2], 0, select(x < y, np.float32(1), np.float32(2)))
    store(numbers, 0, (load(flags, 0) | np.uint8(8)) & 12 ^ load(flags, 0))
    found[0] = bits_of(x < y)
    found[1] = bits_of((load(flags, 0) & 3) != 0)
    found[2] = bits_of((load(words, 0) & np.uint32(1 << 31)) == 0)
    found[3] = any_of(x > np.float32(1e30))
    found[4] = any_of(x > np.float32(-1e30))


def extremes(a, b, out):
    store(out[0], 0, smaller(load(a, 0), load(b, 0)))
    store(out[1], 0, larger(load(a, 0), load(b, 0)))


def medians(values, out):
    for n in range(1, MOST_ROWS + 1):
        low, high = middle_rows(values, n)
        store(out[n - 1], 0, low + high)


def numbers(seed, size=LANES, odd=True):
    random = np.random.default_rng(seed)
    values = random.normal(0, 100, size).astype(np.float32)
    if odd:
        values[::5] = random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], values[::5].size)
    return values


@pytest.mark.parametrize("function, dtype", [(arithmetic, np.float32), (comparisons, np.uint8)])
def test_operators_are_those_of_numpy(function, dtype):
    a, b = numbers(1, LANES + 5), numbers(2, LANES)
    b[5] = a[5]
    compiled, plain = np.zeros((2, 7, LANES), dtype)
    kernel(function)(a, b, compiled)
    with np.errstate(all="ignore"):
        function(a, b, plain)
    np.testing.assert_array_equal(compiled, plain)
    assert np.unique(compiled).size > 1


def test_selections_and_bits_are_those_of_numpy():
    a, b = numbers(3), numbers(4)
    random = np.random.default_rng(5)
    flags = random.integers(0, 256, LANES).astype(np.uint8)
    words = random.integers(0, 2**32, LANES).astype(np.uint32)
    results = []
    for function in (kernel(selections), selections):
        out, bits, found = np.zeros((3, LANES), np.float32), np.zeros(LANES, np.uint8), np.zeros(5, np.int64)
        function(a, b, flags, words, out, bits, found)
        results.append((out, bits, found))
    for compiled, plain in zip(*results, strict=True):
        np.testing.assert_array_equal(compiled, plain)
    assert results[0][2].tolist()[3:] == [bool((a > 1e30).any()), True]


def test_extremes_and_medians_are_those_of_numpy():
    a, b = numbers(6, odd=False), numbers(7, odd=False)
    out = np.zeros((2, LANES), np.float32)
    kernel(extremes)(a, b, out)
    np.testing.assert_array_equal(out, [np.minimum(a, b), np.maximum(a, b)])

    values = np.round(numbers(8, MOST_ROWS * LANES, odd=False) / 30).reshape(MOST_ROWS, LANES).astype(np.float32)
    compiled, plain = np.zeros((2, MOST_ROWS, LANES), np.float32)
    kernel(medians)(values, compiled)
    medians(values, plain)
    np.testing.assert_array_equal(compiled, plain)
    np.testing.assert_array_equal(compiled / 2, [np.median(values[: n + 1], axis=0) for n in range(MOST_ROWS)])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 31, 32, 33, 100])
def test_exchanges_sort_or_bring_the_median_to_the_middle(n):
    """A network sorts everything if it sorts zeros and ones (Knuth); here some of all kinds of numbers too."""
    pairs = np.empty((network_size.py_func(n), 2), np.int64)
    size = network_exchanges.py_func(pairs, n)
    all_pairs = pairs[:size].copy()
    chosen = pairs[: median_exchanges.py_func(pairs, size, np.empty(n, bool), n)]
    random = np.random.default_rng(n)
    counts = random.integers(0, n + 1, 400)
    lanes = [random.permutation(np.arange(n) < count).astype(float) for count in counts]
    rows = np.stack([*lanes, random.permutation(n), np.arange(n), np.arange(n)[::-1]], axis=1).astype(float)

    def exchanged(pairs):
        result = rows.copy()
        for low, high in pairs:
            result[[low, high]] = np.minimum(result[low], result[high]), np.maximum(result[low], result[high])
        return result

    np.testing.assert_array_equal(exchanged(all_pairs), np.sort(rows, axis=0))
    middle = exchanged(chosen)
    np.testing.assert_array_equal((middle[(n - 1) // 2] + middle[n // 2]) / 2, np.median(rows, axis=0))


def parts(n, singles, doubles, bytes_, words, found):
    """Move the first ``n`` of 16 by one place, and count what is above the middle."""
    store_some(singles, 1, n, load_some(singles, 2, n))
    store_some(doubles, 1, n, load_some(doubles, 2, n))
    store_some(bytes_, 1, n, load_some(bytes_, 2, n))
    store_some(words, 1, n, load_some(words, 2, n))
    found[0] = count_of(load(singles, 1) > np.float32(0))
    found[1] = count_of(load(bytes_, 1) > np.uint8(127))


@pytest.mark.parametrize("n", [0, 1, 7, 15, 16])
def test_parts_of_vectors_are_those_of_numpy(n):
    random = np.random.default_rng(n)
    before = [
        *(random.normal(size=LANES + 2).astype(dtype) for dtype in (np.float32, np.float64)),
        *(random.integers(0, np.iinfo(dtype).max, LANES + 2, dtype) for dtype in (np.uint8, np.uint32)),
    ]
    compiled, plain = ([array.copy() for array in before] + [np.zeros(2, np.int64)] for _ in range(2))
    kernel(parts)(n, *compiled)
    parts(n, *plain)
    for one, other, array in zip(compiled, plain, [*before, None], strict=True):
        np.testing.assert_array_equal(one, other)
        if array is not None:
            np.testing.assert_array_equal(one[1 : 1 + n], array[2 : 2 + n])
            np.testing.assert_array_equal(one[1 + n :], array[1 + n :])
    assert compiled[-1][0] == (compiled[0][1 : 1 + LANES] > 0).sum()


def test_parts_of_rows_stay_inside():
    """A part at the end of memory that cannot be read or written behind it."""
    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    start = libc.mmap(None, 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(start + page, page, 0) == 0
    for dtype in (np.float32, np.uint8):
        row = np.frombuffer((ctypes.c_char * page).from_address(start), dtype)
        row[:] = 0
        row[-4:] = 1, 2, 3, 4
        kernel(shift)(row, row.size - 3, 3)
        assert row[-5:].tolist() == [0, 2, 3, 4, 4]


def shift(row, x, n):
    store_some(row, x - 1, n, load_some(row, x, n))


def lowest_bits(numbers, out):
    for k in range(numbers.size):
        out[k] = first_bit(numbers[k])


def test_first_bit():
    places = np.arange(63)
    random = np.random.default_rng(6)
    numbers = np.array([(1 << k) | (int(random.integers(0, 2**62)) >> (k + 1) << (k + 1)) for k in range(63)], np.int64)
    assert (numbers > 0).all() and sum(bin(number).count("1") > 2 for number in numbers.tolist()) > 40
    compiled, plain = np.zeros((2, places.size), np.uint64)
    kernel(lowest_bits)(numbers, compiled)
    lowest_bits(numbers, plain)
    np.testing.assert_array_equal(compiled, places)
    np.testing.assert_array_equal(plain, places)


def new_arrays(n, out):
    a, b = zeros((2, n), np.float32), zeros(n, np.uint8)
    c = empty((n, 3, 2), np.float64)
    c[...] = 1.0
    out[0], out[1], out[2] = a.sum(), b.sum(), c.sum()
    out[3], out[4], out[5] = a.size, b.itemsize, c.strides[0]


def test_new_arrays_are_those_of_numpy():
    compiled, plain = np.zeros((2, 6))
    kernel(new_arrays)(5, compiled)
    new_arrays(5, plain)
    np.testing.assert_array_equal(compiled, plain)
    assert plain.tolist() == [0, 0, 30, 10, 1, 48]

"""What the executor does besides calling kernels: pages of finished rows."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from upramp.framework import executor
from upramp.framework.executor import Products, Stage, _references, _Release, _releases, _releases_of_passes, _Rows
from upramp.kernels import corrections as c
from upramp.kernels._bits import as_bits
from upramp.kernels.chain import Chain
from upramp.models import ImageModel, MappedArray, temporary_array


class Recorder:
    def __init__(self):
        self.released = []

    def release(self, first, last):
        self.released.append((first, last))


@pytest.mark.parametrize("rows", [16, 64, 100, 130])
def test_every_row_is_released_once_when_all_around_it_is_finished(rows):
    blocks = [(first, min(first + 16, rows)) for first in range(0, rows, 16)]
    expected = [(first, min(first + 64, rows)) for first in range(0, rows, 64)]
    for order in itertools.islice(itertools.permutations(blocks), 0, 5000, 37):
        things = [Recorder(), Recorder()]
        release, finished = _Release(things, rows, 64), set()
        for first, last in order:
            before = len(things[0].released)
            release(first, last)
            finished.update(range(first, last))
            assert all(finished.issuperset(range(*edges)) for edges in things[0].released[before:])
        assert sorted(things[0].released) == sorted(things[1].released) == expected


def test_references_in_files_are_released_by_rows_of_the_exposure(tmp_path):
    gain, noise, threshold = (temporary_array((1, 80, 1024), "f4", tmp_path) for _ in range(3))
    gain.bits[...] = noise.bits[...] = threshold.bits[...] = 7
    planes = [as_bits(array, np.float32, first_row=3) for array in (gain, noise)]
    chain = Chain(
        mask=c.StaticMask(True, as_bits(np.zeros((80, 1024), np.uint32), np.uint32)),
        saturation=c.Saturation(True, as_bits(threshold, np.float32)),
        jump=c.JumpDetection(*planes, *[None] * (len(c.JumpDetection._fields) - 2)),
        persistence=c.Persistence(),
        gain_factor=2.0,
    )
    found = _references(replace(chain, fit=chain.jump))
    places = {array.source: first_row for array, first_row in found}
    assert places == {threshold.source: 0, gain.source: 3, noise.source: 3}
    recorder = Recorder()
    recorder.bits = gain.bits
    rows = np.arange(3, 67)
    arrays = [*(array for array, _ in found), recorder]
    release = _releases([_Rows(array, rows) for array in arrays], 64, 16 * 2 * 4 * 4096)
    for first in range(0, 64, 16):
        release(first, first + 16)
    assert recorder.released == [(3, 35), (35, 67)]
    assert (gain.bits == 7).all() and (threshold.bits == 7).all()


def test_only_what_is_filled_in_place_is_released(tmp_path, monkeypatch):
    path = tmp_path / "some_rate.fits"
    arrays = {"data": (64, 1024), "err": (64, 1024)}
    with Products({"rate": Stage(ImageModel(), arrays, str(path))}) as products:
        assert products.row_bytes == 2 * 4096
        mapped = products.mapped
        write = products.writer_of(mapped["rate", "data"].bits)
        assert products.writer_of(np.zeros((1, 64, 1024), np.uint32)) is None
        write(0, np.full((1, 64, 1024), 7, np.uint32).byteswap())
        mapped["rate", "err"].bits[...] = np.uint32(8).byteswap()
        released = []
        with monkeypatch.context() as patched:
            patched.setattr(MappedArray, "release", lambda array, *rows: released.append((array.start, *rows)))
            products.release(0, 32)
        assert released == [(mapped["rate", "err"].start, 0, 32)]
        products.release(0, 64)
    with ImageModel(str(path)) as rate:
        assert (rate.data.view(np.uint32) == 7).all() and (rate.err.view(np.uint32) == 8).all()


@pytest.mark.parametrize("kept", [True, False])
def test_a_small_raw_exposure_keeps_its_pages_until_it_is_calibrated(tmp_path, monkeypatch, kept):
    raw, scratch = temporary_array((2, 3, 64, 1024), "u2", tmp_path), temporary_array((2, 3, 64, 1024), "u1", tmp_path)
    monkeypatch.setattr(executor, "KEPT_BYTES", raw.bits.nbytes - (not kept))
    after_block, after_rows = _releases_of_passes(Chain(), raw, Products({}), [scratch], np.arange(64), 64)
    released = []
    monkeypatch.setattr(MappedArray, "release", lambda array, *rows: released.append((array.source, *rows)))
    after_block(0, 64)
    assert released == [(scratch.source, 0, 64)] + [(raw.source, 0, 64)] * (not kept)
    released.clear()
    after_rows(0, 64)
    assert released == [(raw.source, 0, 64)] * kept

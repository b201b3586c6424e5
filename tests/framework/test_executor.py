"""What the executor does besides calling kernels: pages of finished rows."""

import itertools

import pytest

from upramp.framework.executor import _Release


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

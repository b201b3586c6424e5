"""Outputs of the fused driver that go to files a block of rows at a time.

The operating system takes 2.4 to 4 microseconds for each page of a mapped file that is written to for the first time:
it is filled with zeros, and noted one by one. More than a quarter of the processor time of a full frame went there.
Rows that are written to the file cost a quarter of that (252 MB: 42 ms instead of 140 to 250), so that is what finished
rows of products are, as long as they are long enough.
"""

from contextlib import contextmanager

import numpy as np

from upramp.kernels import corrections as c
from upramp.kernels._work import Work

__all__ = ["LEAST_BYTES", "BlockOutputs"]

LEAST_BYTES = 32_768  # of a plane in a block; less is written to the mapped file


class BlockOutputs:
    """Places of the outputs of blocks of rows, as compiled code takes them.

    Parameters
    ----------
    work : Work
    block : int
        Most rows of a block.
    writer_of : callable
        Gives for the bits of an output the function that writes rows of it, called with the first row and the rows
        (planes, n, nx); or None for those that are filled in place.
    """

    def __init__(self, work, block, writer_of=None):
        self._work, self._block = work, block
        self._writers = {}
        filled = ("rate", "integrations", "ramp") if work.chain.fit.active else ("ramp",)
        for target in filled:
            planes = getattr(work.outputs, target)
            for name, source in planes._asdict().items():
                columns = source.bits.shape[-1] * source.bits.itemsize
                wanted = writer_of is not None and source.bits.size and block * columns >= LEAST_BYTES
                writer = writer_of(source.bits) if wanted else None
                if writer is not None:
                    self._writers[target, name] = writer
        self._all = _Places(work, {})
        self._free = []

    @contextmanager
    def of_rows(self, first, last):
        """The address of a record of `Work` for these rows; they are written when the context is left."""
        if not self._writers:
            yield self._all.address
            return
        try:
            places = self._free.pop()
        except IndexError:
            places = self._new_places()
        places.move_to(first)
        yield places.address
        for which, write in self._writers.items():
            write(first, places.buffers[which].bits[:, : last - first])
        self._free.append(places)

    def _new_places(self):
        """Places with buffers of their own: as many as there are threads at work."""
        outputs, buffers = self._work.outputs, {}
        for target, name in self._writers:
            source = getattr(getattr(outputs, target), name)
            shape = (source.bits.shape[0], self._block, source.bits.shape[2])
            buffers[target, name] = source._replace(bits=np.empty(shape, source.bits.dtype))
        targets = {
            target: planes._replace(**{name: bits for (of, name), bits in buffers.items() if of == target})
            for target, planes in outputs._asdict().items()
        }
        return _Places(self._work._replace(outputs=outputs._replace(**targets)), buffers)


class _Places:
    """A record of `Work`, some of whose outputs are buffers.

    It holds addresses, and kernels get its own: this object keeps the arrays alive until the kernels are done.
    """

    def __init__(self, work, buffers):
        self._work, self.buffers = work, buffers
        records = np.zeros(1, c.record_dtype(Work))
        self.address = records.ctypes.data  # the array interface would describe all fields: 0.3 ms
        self._record = records[0]
        c.fill_record(self._record, work)

    def move_to(self, row):
        """Let the buffers hold the rows from ``row`` on."""
        for target, name in self.buffers:
            self._record["outputs"][target][name]["first_row"] = -row

"""The executor: which schedule a chain of corrections takes, and where its results go.

Steps describe their corrections; the fused schedule makes all of them in one pass through the raw file and fills the
products, a block of rows at a time. It is taken unless somebody wants to see something in between, or a correction
needs whole frames; then the steps run one after the other. Both give the same numbers.
"""

import contextlib
import logging
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from upramp.models import create_product, in_file, temporary_array

__all__ = ["Products", "Stage", "intermediates_wanted", "run_fused"]

log = logging.getLogger(__name__)

# Of rows whose pages are dropped together, unless a block of rows is more: of the exposure and its products, and of
# references, whose pages go with the process anyway.
RELEASED_BYTES, RELEASED_REFERENCES = 32_000_000, 200_000_000
# A raw exposure that is no larger keeps its pages until they are calibrated. To get them back after the passes over the
# reference pixels took 3 to 8 % of the time (353 to 344 ms of 168 MB for NIRCam, 318 to 294 of 127 MB for MIRI).
KEPT_BYTES = 200_000_000

RATE_ARRAYS = {"slope": "data", "err": "err", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise", "dq": "dq"}
RAMP_ARRAYS = {"data": "data", "gdq": "groupdq", "pdq": "pixeldq"}


class Stage(NamedTuple):
    """A model without arrays, what they are to be, and the file they go to (None: into memory)."""

    model: object
    shapes: dict
    path: str | None


def intermediates_wanted(steps):
    """Why a chain of steps cannot be fused, as far as its configuration and code say; None if it can.

    Parameters
    ----------
    steps : dict of str to Step
    """
    for key, step in steps.items():
        if step.skip:
            continue
        if step.save_results or step.output_file is not None:
            return f"the result of {key} is to be saved"
        if step.pre_hooks or step.post_hooks:
            return f"{key} has hooks"
        foreign = _foreign_method(step)
        if foreign is not None:
            return f"{foreign}() of {key} is not that of upramp"
    return None


# What the stepwise schedule calls and the fused one does not: it asks a step for its correction instead.
_NOT_CALLED = ("__call__", "run", "process", "finalize_result", "prepare_output")


def _foreign_method(step):
    """Name of a method that somebody has written or put there, and that would be passed over; None if there is none."""
    for name in _NOT_CALLED:
        method = getattr(step, name)
        # The module of the code itself: a wrapper that has taken over the name of what it wraps is told by it.
        module = getattr(getattr(method, "__func__", method), "__globals__", {}).get("__name__", "")
        if not module.startswith(("upramp.steps.", "upramp.framework.step")):
            return name
    return None


class Products:
    """Results of a fused pass: laid out on disk and filled there, or in memory.

    As a context manager: files appear under their names when it is left without an error, and not at all otherwise.

    Parameters
    ----------
    stages : dict of str to Stage
    on_saved : callable, optional
        Called with the name of every file that has appeared.
    """

    def __init__(self, stages, on_saved=None):
        self._stages, self._on_saved = stages, on_saved
        self._stack = contextlib.ExitStack()
        self._files, self._by_rows = {}, set()

    def __enter__(self):
        self._stack.__enter__()
        for name, stage in self._stages.items():
            if stage.path is not None:
                product = create_product(stage.path, stage.model, stage.shapes)
                self._files[name] = self._stack.enter_context(product)
            else:
                for array, shape in stage.shapes.items():
                    setattr(stage.model, array, stage.model.new_array(array, shape))
        return self

    def __exit__(self, *exception):
        self._stack.__exit__(*exception)
        if exception[0] is None:
            for name, stage in self._stages.items():
                if name in self._files:
                    stage.model.attach(stage.path)
                    if self._on_saved is not None:
                        self._on_saved(stage.path)

    def arrays(self, name):
        """The arrays of a stage that are to be filled, by name."""
        stage = self._stages[name]
        if name in self._files:
            return {array: self._files[name].bits(array) for array in stage.shapes}
        return {array: getattr(stage.model, array) for array in stage.shapes}

    @property
    def folder(self):
        """Folder of the files; None if there are none."""
        paths = [stage.path for stage in self._stages.values() if stage.path is not None]
        return Path(paths[0]).parent if paths else None

    @property
    def mapped(self):
        """The mapped arrays of the files, by stage and name."""
        return {
            (name, array): file.bits(array) for name, file in self._files.items() for array in self._stages[name].shapes
        }

    @property
    def row_bytes(self):
        """Of one row in all arrays of the files."""
        return sum(map(_row_bytes, self.mapped.values()))

    def writer_of(self, bits):
        """The function that writes rows of an array of a file, given its bits; None if it is none."""
        for (name, array), mapped in self.mapped.items():
            if mapped.bits.ctypes.data == bits.ctypes.data:
                self._by_rows.add((name, array))
                return partial(self._files[name].write_rows, array)
        return None

    def release(self, first, last):
        """Drop the pages of rows that were filled in place."""
        for which, mapped in self.mapped.items():
            if which not in self._by_rows:
                mapped.release(first, last)


class _Release:
    """Drops the pages of finished rows, some blocks of rows at a time: block by block it took 0.1 s of a full frame.

    Called with the first and last row of every finished block, by any thread.
    """

    def __init__(self, things, n_rows, step):
        self._things, self._n_rows, self._step = things, n_rows, step
        self._finished = {}
        self._lock = threading.Lock()

    def __call__(self, first, last):
        if last - first < self._step:
            begin = first - first % self._step
            finished, first, last = last - first, begin, min(begin + self._step, self._n_rows)
            with self._lock:
                self._finished[begin] = self._finished.get(begin, 0) + finished
                if self._finished[begin] < last - first:
                    return
                self._finished[begin] = 0  # there may be another pass
        for thing in self._things:
            thing.release(first, last)


class _Rows:
    """Drops the pages of a mapped array by rows of the exposure, which lie at ``places`` in the array."""

    def __init__(self, array, places):
        self._array, self._places = array, places
        self.row_bytes = _row_bytes(array)

    def release(self, first, last):
        self._array.release(int(self._places[first]), int(self._places[last - 1]) + 1)


def _row_bytes(array):
    """Of one row in all planes of a mapped array."""
    return array.bits.nbytes // array.bits.shape[-2]


def _references(chain):
    """Arrays of the references of a chain that lie in files, each once: (array, row of the exposure's first row)."""
    found = {}
    for op in vars(chain).values():
        for source in op if isinstance(op, tuple) else ():
            array = in_file(source.bits) if hasattr(source, "first_row") else None
            if array is not None:
                found[id(array.source), array.start] = array, source.first_row
    return list(found.values())


def _releases(things, n_rows, limit):
    """A `_Release` of things with a method ``release`` and ``row_bytes``."""
    from upramp.kernels.chain import BLOCK_ROWS

    row_bytes = sum(thing.row_bytes for thing in things)
    blocks = max(1, limit // (BLOCK_ROWS * max(1, row_bytes)))
    return _Release(things, n_rows, blocks * BLOCK_ROWS)


def _releases_of_passes(chain, raw, products, scratch, of_readout, n_rows):
    """What drops pages after rows of any pass, and what does after rows that have been calibrated.

    ``scratch`` are arrays besides the products, which every pass may fill or read; ``of_readout`` are the places of the
    rows of the exposure in the raw samples.
    """
    rows = np.arange(n_rows)
    every_pass, calibrated = [_Rows(array, rows) for array in scratch], [products]
    (calibrated if raw.bits.nbytes <= KEPT_BYTES else every_pass).append(_Rows(raw, of_readout))
    references = [
        _Rows(array, of_readout if array.bits.shape[-2] == raw.bits.shape[-2] else first_row + rows)
        for array, first_row in _references(chain)
    ]
    of_exposure = _releases(calibrated, n_rows, RELEASED_BYTES)
    of_references = _releases(references, n_rows, RELEASED_REFERENCES)

    def after_rows(first, last):
        of_exposure(first, last)
        of_references(first, last)

    return _releases(every_pass, n_rows, RELEASED_BYTES), after_rows


def run_fused(chain, raw, products, threads=None):
    """Run a chain in one pass.

    Parameters
    ----------
    chain : upramp.kernels.chain.Chain
    raw : MappedArray
        Raw samples.
    products : Products
        Entered; with the stages "rate" and "rateints", "ramp", or all of them.
    threads : int or None

    Returns
    -------
    upramp.kernels.chain.Calibrated
        Its fit is None: the products hold it.

    Raises
    ------
    WholeFrameRule
        The chain has to be done stepwise.
    """
    from upramp.kernels._irs2_layout import science_rows
    from upramp.kernels.chain import RampPlanes, calibrate
    from upramp.kernels.corrections import InterleavedReference
    from upramp.kernels.ramp_fit import RampFit, RatePlanes
    from upramp.kernels.warmup import DRIVER, compile_kernels

    def planes(name, names, kind):
        arrays = products.arrays(name)
        return kind(**{field: arrays[array] for field, array in names.items()})

    stages = products._stages
    out = ramp = None
    if "rate" in stages:
        out = RampFit(planes("rate", RATE_ARRAYS, RatePlanes), planes("rateints", RATE_ARRAYS, RatePlanes))
    if "ramp" in stages:
        ramp = planes("ramp", RAMP_ARRAYS, RampPlanes)

    flags = frames = None
    shape = (*raw.bits.shape[:2], *next(iter(stages.values())).shapes["data"][-2:])
    if chain.jump is not None and chain.jump.snowballs is not None:
        flags = ramp.gdq if ramp is not None else _room_for_flags(shape, products.folder)
    of_readout = np.arange(shape[-2])
    if isinstance(chain.refpix, InterleavedReference):
        frames, of_readout = temporary_array(shape, "f4", products.folder), science_rows(chain.refpix.detector)
    scratch = [array for array in (flags, frames) if hasattr(array, "release")]
    after_block, after_rows = _releases_of_passes(chain, raw, products, scratch, of_readout, shape[-2])

    def release_integration(i):
        if hasattr(flags, "release"):
            flags.part(i).release(0, shape[-2])

    def release_group(i, group):
        for array in (raw, frames):
            array.part(i).part(group).release(0, array.bits.shape[-2])
        chain.refpix.table.release(0, len(chain.refpix.table.bits))

    def compile_ahead(names):
        compile_kernels([*names, DRIVER])

    return calibrate(
        raw,
        chain,
        out=out,
        ramp_out=ramp,
        flags_out=flags,
        frames_out=frames,
        threads=threads,
        after_block=after_block,
        after_rows=after_rows,
        after_integration=release_integration,
        after_group=release_group,
        before_compiling=compile_ahead,
        writer_of=products.writer_of,
    )


def _room_for_flags(shape, folder):
    """Array for all group flags, in a file next to the products if it is larger than the ramp of one integration."""
    if shape[0] <= 4:
        return np.empty(shape, np.uint8)
    return temporary_array(shape, "u1", folder)

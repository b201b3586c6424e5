"""The one place that names numba's flags, owns the kernel cache and runs kernels on threads.

Kernels are serial and release the interpreter lock; `run_rows` runs one over blocks of detector rows in some
threads. Against `parallel=True` with `prange` this measured the same speed at half the compile time,
and it has none of the hazards of numba's threading layers. Each block writes only its own rows, so results
do not depend on the number of threads.

The disk cache has a folder for every module, named after a hash of its source and of all kernel sources that it
imports: numba itself does not notice when a helper in another file was edited, and an edit of one module leaves the
others compiled. Every kernel has one signature, so that two processes which compile at the same moment write the same
entry; a lock makes the others wait for the first instead of compiling too.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import sys
import tempfile
import threading
from _thread import start_new_thread
from collections import deque
from pathlib import Path
from queue import SimpleQueue

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.codegen import JITCodeLibrary, ll
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.typed_passes import NativeLowering

from upramp.kernels._cores import available_cores

try:
    import fcntl
except ImportError:  # not POSIX: the cache works without the lock, processes may compile twice
    fcntl = None

__all__ = [
    "cache_folder",
    "helper",
    "is_cached",
    "kernel",
    "resolve_threads",
    "run_rows",
    "set_compile_listener",
    "set_row_watcher",
]

log = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent
THREADS_VARIABLE = "UPRAMP_THREADS"
CACHE_VARIABLE = "UPRAMP_CACHE_DIR"


# Names of kernel modules in an import, in both ways to write it.
_IMPORTED = re.compile(rb"upramp\.kernels\.(\w+)|from upramp\.kernels import (\([^)]*\)|[^\n]*)")


@functools.cache
def _sources():
    """Source of every kernel module, and the names of those that it imports itself."""
    sources = {path.stem: path.read_bytes() for path in sorted(_SOURCES.glob("*.py"))}
    imports = {}
    for name, source in sources.items():
        words = {word.decode() for match in _IMPORTED.findall(source) for word in re.findall(rb"\w+", b" ".join(match))}
        imports[name] = sources.keys() & (words | {"_jit"})
    return sources, imports


def _source_hash(module):
    """Hash of all sources that the kernels of a module are made from; of all there are for one from elsewhere."""
    sources, imports = _sources()
    room, _, name = module.rpartition(".")
    digest = hashlib.sha256(numba.__version__.encode())
    if room == __name__.rpartition(".")[0] and name in sources:
        found, pending = set(), {name}
        while pending:
            found |= pending
            pending = set().union(*(imports[one] for one in pending)) - found
    else:
        found = sources.keys()
        with contextlib.suppress(AttributeError, TypeError, OSError):
            digest.update(Path(sys.modules[module].__file__).read_bytes())
    for one in sorted(found):
        digest.update(one.encode())
        digest.update(sources[one])
    return digest.hexdigest()[:16]


@functools.cache
def _module_folder(module):
    return _folder / f"{module.rpartition('.')[2]}-{_source_hash(module)}"


def _first_writable_folder():
    candidates = [os.environ.get(CACHE_VARIABLE)]
    if not candidates[0]:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        candidates = [root, str(Path(tempfile.gettempdir()) / f"upramp-cache-{os.getuid()}")]
    for candidate in candidates:
        folder = Path(candidate).expanduser() / "upramp" / "kernel-cache"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    log.warning(
        "No folder for compiled kernels is writable (tried %s): kernels are compiled anew in every process. "
        "Set %s to a writable folder.",
        ", ".join(candidates),
        CACHE_VARIABLE,
    )
    return None


_folder = _first_writable_folder()


def cache_folder():
    """Folder of the compiled kernels, or None when nothing is writable."""
    return _folder


class _Locator(_CacheLocator):
    """Tells numba where the cache of one function lies; the name of the folder already carries the sources."""

    def __init__(self, function):
        self._function = function

    def get_cache_path(self):
        return str(_module_folder(self._function.__module__))

    def get_source_stamp(self):
        return _module_folder(self._function.__module__).name

    def get_disambiguator(self):
        return None

    @classmethod
    def from_function(cls, function, path):
        return cls(function)


class _LoadedLibrary(JITCodeLibrary):
    """Machine code from the disk, without the intermediate code that goes with it.

    Only the compilation of another kernel that calls this one needs that. Parsing it took more than half of the 0.4 s
    for the kernels of a chain, which call each other by address.
    """

    @classmethod
    def _unserialize(cls, codegen, state):
        name, _, (code, symbols, bitcode) = state
        library = codegen.create_library(name)
        library.enable_object_caching()
        library._set_compiled_object(code)
        library._bitcode = bitcode
        library._finalize_final_module()
        codegen._engine._defined_symbols.update(symbols)
        return library

    def _get_module_for_linking(self):
        if self._shared_module is None:
            self._shared_module = ll.parse_bitcode(self._bitcode)
        return super()._get_module_for_linking()


class _Implementation(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - numba's name

    def reduce(self, result):
        (name, kind, (code, bitcode)), *rest = super().reduce(result)
        module = result.library._get_module_for_linking()
        values = [*module.functions, *module.global_variables]
        symbols = [value.name for value in values if not value.is_declaration]
        return (name, kind, (code, symbols, bitcode)), *rest

    def rebuild(self, target_context, payload):
        codegen = target_context.codegen()
        codegen._library_class = _LoadedLibrary  # hides the attribute of its class; numba's lock is held
        try:
            return super().rebuild(target_context, payload)
        finally:
            del codegen._library_class


class _Cache(FunctionCache):
    _impl_class = _Implementation

    def load_overload(self, sig, target_context):
        # numba would first import what it needs to compile (0.5 s, half of it scipy, which it tries for BLAS).
        # Machine code from the disk needs the runtime alone; a compilation imports the rest by itself.
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
        if found is None:
            _announce(self._py_func.__name__)
        return found

    def save_overload(self, sig, data):
        with _folder_lock():
            super().save_overload(sig, data)


_listener = None
_lock_depth = threading.local()


def set_compile_listener(listener):
    """Call ``listener(name)`` whenever a kernel has to be compiled; None to stop. Returns the previous one."""
    global _listener
    previous, _listener = _listener, listener
    return previous


def _announce(name):
    if _listener is not None:
        _listener(name)


@contextlib.contextmanager
def _folder_lock():
    if fcntl is None:
        yield
        return
    try:
        handle = (_folder / "lock").open("a")
    except OSError:
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def kernel(function):
    """Compile a function on its first call: no interpreter lock, IEEE arithmetic, cached on disk.

    ``error_model="numpy"`` gives inf and NaN for divisions by zero instead of exceptions. fastmath is off:
    NaN has a meaning in this field, and results must not depend on how loops are vectorised.
    """
    compiled = numba.njit(nogil=True, error_model="numpy", fastmath=False, no_cfunc_wrapper=True)(function)
    if _folder is not None and not numba.config.DISABLE_JIT:
        compiled._cache = _Cache(function)
    return compiled


@register_pass(mutates_CFG=True, analysis_only=False)
class _LinkedLowering(NativeLowering):
    """Make code that is only linked into that of its callers, who optimise it: no machine code of its own."""

    _name = "linked_lowering"

    def run_pass(self, state):
        state.flags.no_compile = True
        super().run_pass(state)
        result, target, library = state["cr"], state.targetctx, state.library
        library._optimize_final_module = lambda: None
        # Were it known to the linker, callers would be bound to this code, which nobody has optimised.
        library._finalize_final_module = lambda: setattr(library, "_finalized", True)
        # numba knows compiled functions by an object of this kind; this one is never called (`_Helper`).
        name = threading.Lock().release
        target.insert_user_function(name, result.fndesc, [library])
        state.reload_init.extend(library._reload_init)
        state["cr"] = result._replace(cfunc=name)
        return True


class _LinkedCompiler(CompilerBase):
    def define_pipelines(self):
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_LinkedLowering if stage is NativeLowering else stage, name) for stage, name in pipeline.passes
        ]
        pipeline.finalize()
        return [pipeline]


class _Helper(CPUDispatcher):
    def __call__(self, *args, **keywords):
        raise TypeError(f"{self.py_func.__name__} is a part of kernels and has no code of its own to be called")


def helper(function=None, *, counted=True, inlined=False):
    """Compile a function as a part of the kernels that call it; Python cannot call it.

    numba gives every function machine code, wrappers and an entry in the cache. For the parts of a kernel, which has
    their code in its own, all that is thrown away: without it the kernels compile in two thirds of the time.

    One that makes no arrays, nor gets them from what it calls, can do without the counts of references, which every
    slice of an array changes in atomic steps: ``counted=False``. Without it the ramp fit took
    6 % more time and the search for jumps up to 15 %.

    What is ``inlined`` becomes a part of its caller however long it is: a call puts all vectors into memory.
    """
    if function is None:
        return functools.partial(helper, counted=counted, inlined=inlined)
    compiled = numba.njit(
        nogil=True,
        error_model="numpy",
        fastmath=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        forceinline=inlined,
        pipeline_class=_LinkedCompiler,
        **({} if counted else {"_nrt": False}),
    )(function)
    if not numba.config.DISABLE_JIT:
        compiled.__class__ = _Helper
    return compiled


def is_cached(function):
    """Whether a kernel has been compiled into the cache on disk."""
    cache = getattr(function, "_cache", None)
    return isinstance(cache, _Cache) and Path(cache._cache_file._index_path).exists()


def resolve_threads(threads=None):
    """Number of threads to use: the argument, else the environment variable UPRAMP_THREADS, else all cores.

    Raises
    ------
    ValueError
        Not a positive integer.
    """
    if threads is None:
        threads = os.environ.get(THREADS_VARIABLE) or available_cores()
    try:
        count = int(threads)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise ValueError(f"threads is {threads!r}; expected a positive integer (or None for all cores)")
    return count


_row_watcher = None


def set_row_watcher(watcher):
    """Call ``tick = watcher(n_rows)`` when a pass over rows begins, ``tick(rows)`` in any thread when some are done.

    None to stop. Returns the previous watcher.
    """
    global _row_watcher
    previous, _row_watcher = _row_watcher, watcher
    return previous


def run_rows(function, n_rows, *args, threads=None, block=64, after_block=None):
    """Run ``function(first_row, last_row, *args)`` over blocks of rows that cover ``range(n_rows)``.

    The blocks are the same for every thread count. The calling thread does its part; its helpers have gone when it
    returns. (A pool of threads takes 0.2 ms for each pass, of which the calling thread is idle for all of its start.)
    ``after_block(first, last)`` is called when a block is done (release of pages); who wants to know about
    all passes over rows, to show progress, uses `set_row_watcher`.
    """
    watcher = _row_watcher
    tick = watcher(n_rows) if watcher is not None else None
    edges = [(first, min(first + block, n_rows)) for first in range(0, n_rows, block)]

    def work(edge):
        function(edge[0], edge[1], *args)
        if after_block is not None:
            after_block(*edge)
        if tick is not None:
            tick(edge[1] - edge[0])

    helpers = min(resolve_threads(threads), len(edges)) - 1
    if helpers < 1:
        for edge in edges:
            work(edge)
        return
    pending, ended, gone = deque(edges), SimpleQueue(), SimpleQueue()
    started = 0
    try:
        for _ in range(helpers):
            start_new_thread(_take_blocks, (work, pending, ended, gone))
            started += 1
        _take_blocks(work, pending, ended)
        errors = [ended.get() for _ in edges]
    except BaseException:
        # An interruption: the arrays must outlive the blocks under way.
        pending.clear()
        for _ in range(started):
            gone.get()
        raise
    for error in filter(None, errors):
        raise error


def _take_blocks(work, pending, ended, gone=None):
    """Do blocks until none is left, and tell of each that it has ended: None, or an error.

    After an error the rest is not begun. A helper that comes too late finds nothing to do, and nobody waits for it
    (``gone`` tells that it has left).
    """
    error = None
    try:
        while True:
            try:
                edge = pending.popleft()
            except IndexError:
                return
            if error is None:
                try:
                    work(edge)
                except BaseException as found:
                    error = found
            ended.put(error)
    finally:
        if gone is not None:
            gone.put(None)

"""The decorator, the cache folder and the threads."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from upramp.kernels import _jit

SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    from upramp.kernels import _bits, _jit

    compiled = []
    _jit.set_compile_listener(compiled.append)
    raw = np.arange(24, dtype=np.uint16).reshape(1, 2, 3, 4)
    out = np.zeros((1, 2, 3, 4), np.float32)
    _bits.decode_raw_tile(out, _bits.as_bits(raw, np.uint16).record(), 2, 1.0, 0, 0)
    assert (out == raw).all()
    print(len(compiled), _jit.cache_folder())
    """
)


def run(environment, count=1):
    command = [sys.executable, "-c", SCRIPT]
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    answers = [child.communicate(timeout=120) for child in children]
    for child, (_, errors) in zip(children, answers, strict=True):
        assert child.returncode == 0, errors
    return [output.split(maxsplit=1) for output, _ in answers], [errors for _, errors in answers]


@pytest.fixture
def environment(monkeypatch, tmp_path):
    import os

    return {**os.environ, "UPRAMP_CACHE_DIR": str(tmp_path)}


def test_several_processes_on_a_cold_cache_and_a_warm_start(environment, tmp_path):
    cold, _ = run(environment, count=4)
    assert all(folder.startswith(str(tmp_path)) for _, folder in cold)
    warm, _ = run(environment, count=2)
    assert [count for count, _ in warm] == ["0", "0"]


def test_without_a_writable_folder_kernels_still_run(environment, tmp_path):
    file = tmp_path / "not-a-folder"
    file.write_text("")
    blocked = {**environment, "UPRAMP_CACHE_DIR": str(file)}
    answers, errors = run(blocked)
    assert answers[0][1].strip() == "None"
    assert "UPRAMP_CACHE_DIR" in errors[0]


def test_a_kernel_from_the_disk_can_be_called_by_one_that_is_compiled_later(environment, tmp_path):
    module = """
        from upramp.kernels._jit import kernel

        @kernel
        def inner(x):
            return 2 * x

        @kernel
        def outer(x):
            total = 1
            for i in range(x):
                total += inner(i)
            return total
    """
    (tmp_path / "pair.py").write_text(textwrap.dedent(module))
    for name, argument, expected, compiled in (
        ("inner", 3, 6, ["inner"]),
        ("outer", 4, 13, ["outer"]),
        ("outer", 5, 21, []),
        ("inner", 4, 8, []),
    ):
        code = (
            "from upramp.kernels import _jit; import pair; found = []; _jit.set_compile_listener(found.append)\n"
            f"print(pair.{name}({argument}), found)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{expected} {compiled}\n"


def test_a_module_is_compiled_anew_for_its_own_sources_alone(monkeypatch):
    sources, imports = _jit._sources()
    assert {"_jit", "_tiles", "_flags"} <= imports["saturation"]
    assert "corrections" in imports["fused"]  # from upramp.kernels import corrections as c
    before = {name: _jit._source_hash(f"upramp.kernels.{name}") for name in sources}
    edited = {**sources, "_segments": sources["_segments"] + b"#"}
    monkeypatch.setattr(_jit, "_sources", lambda: (edited, imports))
    changed = {name for name in sources if _jit._source_hash(f"upramp.kernels.{name}") != before[name]}
    assert {"_segments", "ramp_fit", "fused"} <= changed
    assert not {"saturation", "refpix", "dark", "_bits"} & changed


def test_loading_kernels_does_not_import_what_compiling_needs(environment):
    command = [sys.executable, "-c", SCRIPT + "print('numba.np.arraymath' in sys.modules)"]
    for expected in ("True", "False"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == expected


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("rows", "block"), [(1, 64), (64, 64), (130, 7)])
def test_every_row_is_done_once_in_the_same_blocks(threads, rows, block):
    seen = np.zeros(rows, int)
    blocks = []

    def work(first, last, step):
        seen[first:last] += step

    _jit.run_rows(work, rows, 1, threads=threads, block=block, after_block=lambda *edge: blocks.append(edge))
    assert (seen == 1).all()
    assert sorted(blocks) == [(first, min(first + block, rows)) for first in range(0, rows, block)]


def test_an_error_in_a_block_reaches_the_caller_and_no_thread_stays():
    def work(first, last):
        if first == 64:
            raise ZeroDivisionError("block 64")

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="block 64"):
        _jit.run_rows(work, 1000, threads=2)
    assert threading.active_count() == before


def test_an_error_in_a_helper_reaches_the_caller():
    caller, helper_has_a_block = threading.get_ident(), threading.Event()

    def work(first, last):
        if threading.get_ident() == caller:
            assert helper_has_a_block.wait(60)
        else:
            helper_has_a_block.set()
            raise ZeroDivisionError(f"block {first}")

    with pytest.raises(ZeroDivisionError, match="block"):
        _jit.run_rows(work, 1000, threads=2)


def test_an_interruption_waits_for_the_blocks_under_way():
    """The caller may unmap what they work on."""
    caller, helper_has_a_block, ended = threading.get_ident(), threading.Event(), []

    def work(first, last):
        if threading.get_ident() == caller:
            assert helper_has_a_block.wait(60)
        else:
            helper_has_a_block.set()
            time.sleep(0.2)  # so that the caller has nothing left to do but wait
            signal.pthread_kill(caller, signal.SIGINT)
            time.sleep(0.2)
            ended.append(first)

    with pytest.raises(KeyboardInterrupt):
        _jit.run_rows(work, 128, threads=2)
    assert len(ended) == 1


def test_the_calling_thread_does_not_wait_for_helpers_that_come_late(monkeypatch):
    late = []
    monkeypatch.setattr(_jit, "start_new_thread", lambda *call: late.append(call))
    seen = np.zeros(300, int)

    def work(first, last):
        seen[first:last] += 1

    _jit.run_rows(work, 300, threads=3)
    for function, arguments in late:
        function(*arguments)
    assert len(late) == 2
    assert (seen == 1).all()


def test_number_of_threads(monkeypatch):
    monkeypatch.delenv("UPRAMP_THREADS", raising=False)
    assert _jit.resolve_threads() >= 1
    monkeypatch.setenv("UPRAMP_THREADS", "3")
    assert _jit.resolve_threads() == 3
    assert _jit.resolve_threads(2) == 2
    for wrong in (0, -1, "many"):
        with pytest.raises(ValueError, match="positive integer"):
            _jit.resolve_threads(wrong)

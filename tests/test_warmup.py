"""The command ``upramp warmup``."""

import logging
import subprocess
import sys

from upramp.framework import strun
from upramp.kernels import _jit
from upramp.kernels._jit import cache_folder

RUN = [sys.executable, "-c", "import sys; from upramp.cli import main; sys.exit(main(['warmup']))"]


def test_everything_is_compiled_once():
    """A second process finds every kernel on disk."""
    first = subprocess.run(RUN, capture_output=True, text=True, check=True).stdout.split("\n")
    assert first[0] == f"Kernels are kept in {cache_folder()}"
    assert first[1].startswith(("Compiled ", "All kernels were compiled already"))
    second = subprocess.run(RUN, capture_output=True, text=True, check=True).stdout.split("\n")
    assert second[1] == "All kernels were compiled already."


def test_without_a_cache_it_says_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = (
        "import os, sys, tempfile\n"
        f"os.environ['UPRAMP_CACHE_DIR'] = {str(blocked)!r}\n"
        "from upramp.cli import main\n"
        "sys.exit(main(['warmup']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "set UPRAMP_CACHE_DIR" in done.stdout


def test_strun_says_once_that_it_compiles(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(_jit, "_folder", tmp_path)
    caplog.set_level(logging.INFO, "upramp")
    listener = _jit.set_compile_listener(None)
    with strun._compile_notice():
        for offset in (1, 2):

            @_jit.kernel
            def add(x, offset=offset):
                return x + offset

            assert add(1) == 1 + offset
    assert [record.message for record in caplog.records] == [strun.COMPILE_MESSAGE]
    assert _jit.set_compile_listener(listener) is None

"""The command ``upramp warmup``."""

import subprocess
import sys

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

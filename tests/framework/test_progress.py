"""Progress on a terminal: on a real one (a pseudo-terminal), in a pipe, and what it costs."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from upramp.framework import progress
from upramp.kernels import _jit

STEPS = Path(__file__).parent / "steps_for_tests"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
PICTURE = re.compile(r"(\w+)(?:, pass (\d+))? +[━╸╺ ]+ +rows (\d+)/640 +\d+ s")


def _command(*arguments):
    code = "import sys; from upramp.framework.strun import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments, "--disable-crds-steppars"]


def _environment(**more):
    return {**os.environ, "PYTHONPATH": str(STEPS), "TERM": "xterm-256color", "COLUMNS": "100", **more}


def _on_terminal(*arguments, stdout=subprocess.PIPE, **environment):
    """Run strun with standard error on a terminal (and standard output, if wanted); what it wrote there, and status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        _command(*arguments),
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        stdin=slave,
        env=_environment(**environment),
    )
    os.close(slave)
    pieces = []

    def read():
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says so when the last one has closed the terminal
                return
            if not piece:
                return
            pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    out = process.stdout.read() if process.stdout else b""
    status = process.wait(60)
    reader.join(10)
    os.close(master)
    return b"".join(pieces).decode(), out.decode(), status


def _screen(text):
    """Lines as they stay on the screen: a line that was erased is gone."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        lines.append(CONTROL.sub("", line.rpartition("\r\x1b[K")[2]).rpartition("\r")[2])
    return [line for line in lines if line.strip()]


def _messages(lines):
    """Log lines without times and seconds."""
    return [re.sub(r"^\S+ \S+ |\d+\.\d\d s.*|\S+T\S+", "", line) for line in lines]


def test_a_terminal_shows_progress_and_keeps_the_log_whole(exposure):
    shown, out, status = _on_terminal("slow_steps.SlowPipeline", exposure)
    assert status == 0 and out == ""
    pictures = PICTURE.findall(CONTROL.sub("", shown))
    assert {step for step, _, _ in pictures} == {"sluggish", "lazy"}
    assert {number for _, number, _ in pictures} == {"", "2"}
    rows = [int(done) for step, number, done in pictures if step == "lazy" and number == "2"]
    assert rows == sorted(rows) and len(set(rows)) > 1 and all(done % 64 == 0 for done in rows)
    piped = subprocess.run(
        _command("slow_steps.SlowPipeline", exposure), env=_environment(), capture_output=True, text=True
    )
    assert _messages(_screen(shown)) == _messages(piped.stderr.splitlines())
    assert "\x1b[?25l" not in shown  # a cursor that is hidden stays hidden after a kill
    assert not _screen(shown)[-1].startswith("lazy")


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_pipe_gets_the_log_alone(exposure, stream):
    command = _command("slow_steps.SlowStep", exposure, f"--log-stream={stream}")
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
    assert "rows" not in done.stdout + done.stderr


def test_a_log_in_a_pipe_beside_a_terminal(exposure):
    shown, out, status = _on_terminal("slow_steps.SlowStep", exposure, "--log-stream=stdout")
    assert status == 0
    assert PICTURE.search(CONTROL.sub("", shown)) and _screen(shown) == []
    assert "\x1b" not in out and out.count("a pass is done") == 2


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {"UPRAMP_PROGRESS": "0"}),
        ((), {"TERM": "dumb"}),
        (("--log-stream=stdout",), {"both": True}),
        (("--seconds=0.001",), {}),
    ],
)
def test_where_no_progress_is_shown(exposure, arguments, environment):
    stdout = None if environment.pop("both", False) else subprocess.PIPE
    shown, _, status = _on_terminal("slow_steps.SlowStep", exposure, *arguments, stdout=stdout, **environment)
    assert status == 0 and "\x1b" not in shown and "rows" not in shown


def test_the_line_is_erased_after_an_error(exposure):
    shown, out, status = _on_terminal("slow_steps.SlowStep", exposure, "--post_hooks=exit 3,")
    assert status == 1 and "ERROR RUNNING STEP" in out
    assert PICTURE.search(CONTROL.sub("", shown))
    assert not any(PICTURE.search(line) for line in _screen(shown))


def test_a_narrow_terminal(exposure):
    shown, _, status = _on_terminal("slow_steps.SlowStep", exposure, COLUMNS="30")
    assert status == 0
    lines = [CONTROL.sub("", part).split("\r")[0].split("\n")[0] for part in shown.split("\r\x1b[K")]
    assert lines and all(len(line) <= 30 for line in lines if "━" in line)


def test_nothing_is_shown_without_the_command_line(tiny, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    import slow_steps

    slow_steps.SlowStep(seconds=0.001).run(tiny.ImageModel((2, 2)))
    assert sys.stderr.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_watcher_is_put_back(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress.display():
        assert _jit._row_watcher is not None
        with progress.display():  # once is enough
            pass
        assert _jit._row_watcher is not None
        with progress.working_on("a"):
            _jit.run_rows(lambda first, last: None, 1000, threads=2)
    assert _jit._row_watcher is None
    assert sys.stderr.getvalue() == ""


def test_what_it_costs(monkeypatch):
    """A pass over 2048 rows in blocks of 8 takes less than 3 ms more."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")

    def passes():
        started = time.thread_time()
        for _ in range(20):
            _jit.run_rows(lambda first, last: None, 2048, threads=1, block=8)
        return (time.thread_time() - started) / 20

    with progress.display(), progress.working_on("a"):
        watched = min(passes() for _ in range(5))
    assert watched - min(passes() for _ in range(5)) < 3e-3


# ---- the record of the run -----------------------------------------------------------------------------------


def test_the_record_on_request(strun_here, exposure, workdir):
    before = set(workdir.iterdir())
    assert strun_here("tiny_steps.TinyPipeline", exposure).status == 0
    assert {path.name for path in set(workdir.iterdir()) - before} == {"x_nrca1_tinypipeline.fits"}
    assert strun_here("tiny_steps.TinyPipeline", exposure, "--run-record=r.json").status == 0
    record = json.loads(Path("r.json").read_text())
    assert [step["name"] for step in record["steps"]] == ["TinyPipeline", "TinyPipeline.one", "TinyPipeline.two"]
    assert strun_here("tiny_steps.FailStep", exposure, "--run-record=f.json").status == 1
    assert json.loads(Path("f.json").read_text())["steps"][0]["status"] == "FAILED"
    done = strun_here("tiny_steps.AddStep", exposure, "--run-record=nowhere/r.json")
    assert done.status == 1 and "the folder nowhere does not exist" in " ".join(done.out.split())

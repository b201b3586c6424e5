"""Progress of a run on a terminal: the step at work, and how many rows of its present pass are done.

One line, drawn by a thread of its own that only begins when the kernels have been at work for a while, and erased
before anything is logged and at the end. Where standard error is not a terminal nothing is shown.
"""

import contextlib
import os
import sys
import threading
import time

__all__ = ["display", "is_wanted", "working_on", "write_between"]

VARIABLE = "UPRAMP_PROGRESS"
DELAY = 0.5  # seconds that the kernels work before the line appears: rich, which draws it, takes 0.1 s to import
INTERVAL = 0.1  # seconds between two pictures of the line

_ERASE = "\r\x1b[K"
_display = None


class _Display:
    """The line on one terminal.

    Attributes
    ----------
    stream : text stream
        The terminal.
    """

    def __init__(self, stream):
        self.stream = stream
        self._terminal = threading.Lock()  # for what is written
        self._numbers = threading.Lock()  # for what is counted
        self._stopped = threading.Event()
        self._thread = None
        self._steps, self._drawn = [], False
        self._passes = self._done = self._total = 0

    def enter(self, name):
        """A step begins."""
        with self._numbers:
            self._steps.append((name, time.monotonic()))
            self._passes = self._done = self._total = 0

    def leave(self):
        """It ends."""
        with self._numbers:
            self._steps.pop()
            self._passes = self._done = self._total = 0

    def watch(self, n_rows):
        """A pass over rows begins; what is returned is called with the number of rows that have been done."""
        with self._numbers:
            self._passes, self._done, self._total = self._passes + 1, 0, n_rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._draw_until_stopped, name="upramp-progress", daemon=True)
                self._thread.start()
        return self._tick

    def _tick(self, rows):
        with self._numbers:
            self._done += rows

    def write(self, text):
        """Write something else to the terminal: the line makes room."""
        with self._terminal:
            self._erase()
            self.stream.write(text)
            self.stream.flush()

    def close(self):
        """Stop, and erase the line."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        with self._terminal:
            self._erase()
            self.stream.flush()

    def _erase(self):
        if self._drawn:
            self.stream.write(_ERASE)
            self._drawn = False

    def _draw_until_stopped(self):
        if self._stopped.wait(DELAY):
            return
        from rich.console import Console

        console = Console(file=self.stream)
        while not self._stopped.wait(INTERVAL):
            with contextlib.suppress(OSError):  # the terminal has gone; the run goes on
                self._draw(console)

    def _draw(self, console):
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        with self._numbers:
            if not self._steps or not self._total:
                return
            (name, began), passes, done, total = self._steps[-1], self._passes, self._done, self._total
        text = f"{name}, pass {passes}" if passes > 1 else name
        line = Table.grid(padding=(0, 1))
        for width in (max(12, len(text)), 24, None, None):
            line.add_column(width=width, no_wrap=True)
        bar = ProgressBar(total=total, completed=done, width=24)
        line.add_row(text, bar, f"rows {done}/{total}", f"{time.monotonic() - began:.0f} s")
        with console.capture() as captured:
            console.print(line, end="", crop=True, no_wrap=True)
        picture = captured.get().partition("\n")[0]
        with self._terminal:
            if not self._stopped.is_set():
                self.stream.write(_ERASE + picture)
                self.stream.flush()
                self._drawn = True


def is_wanted(log_stream="stderr"):
    """Whether progress is shown on standard error.

    Parameters
    ----------
    log_stream : str
        Where the log goes: one on standard output and on a terminal would get mixed up with the line.
    """
    if os.environ.get(VARIABLE, "").strip().lower() in ("0", "no", "off", "false"):
        return False
    if os.environ.get("TERM", "dumb") == "dumb" or not _is_terminal(sys.stderr):
        return False
    return log_stream != "stdout" or not _is_terminal(sys.stdout)


def _is_terminal(stream):
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # none, or closed
        return False


@contextlib.contextmanager
def display(log_stream="stderr"):
    """Show the progress of everything that runs meanwhile, where that is wanted (`is_wanted`)."""
    global _display
    if _display is not None or not is_wanted(log_stream):
        yield
        return
    from upramp.kernels._jit import set_row_watcher

    _display = _Display(sys.stderr)
    before = set_row_watcher(_display.watch)
    try:
        yield
    finally:
        set_row_watcher(before)
        shown, _display = _display, None
        shown.close()


@contextlib.contextmanager
def working_on(name):
    """Say that a step is at work."""
    shown = _display
    if shown is None:
        yield
        return
    shown.enter(name)
    try:
        yield
    finally:
        shown.leave()


def write_between(stream, text):
    """Write text to a stream, without mixing it up with the line if that is on the same terminal."""
    shown = _display
    if shown is not None and shown.stream is stream:
        shown.write(text)
    else:
        stream.write(text)
        stream.flush()

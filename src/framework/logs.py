"""Log handlers of the command line, and the log records that go into the products.

The library itself only emits. Handlers are attached to named loggers, never to the root logger, for the
duration of one run, and removed afterwards.
"""

import contextlib
import getpass
import ipaddress
import logging
import re
import socket
import sys
import threading
import time
from configparser import ConfigParser
from configparser import Error as IniError
from dataclasses import dataclass
from pathlib import Path

from upramp.errors import ConfigError
from upramp.framework.progress import write_between

__all__ = ["LogOptions", "configured", "is_configured", "recording", "scrub", "shared"]

LOGGERS = ("upramp", "stpipe", "jwst", "stcal", "stdatamodels", "CRDS", "py.warnings")
FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_STREAMS = ("stdout", "stderr", "null")


@dataclass(frozen=True)
class LogOptions:
    """What is logged where.

    Attributes
    ----------
    level : str or int
        Name or number of the lowest level.
    file : str or None
        File for all records; made when the first record comes.
    stream : str
        ``stdout``, ``stderr`` or ``null``.
    format : str
        Format of one record.
    append : bool
        Continue an existing ``file``.
    break_level : int or None
        A record of this level or a higher one ends the run.
    """

    level: str | int = "INFO"
    file: str | None = None
    stream: str = "stderr"
    format: str = FORMAT
    append: bool = False
    break_level: int | None = None

    def __post_init__(self):
        if self.stream not in _STREAMS:
            raise ConfigError(f"Can't parse handler {self.stream!r}; expected one of {', '.join(_STREAMS)}")
        object.__setattr__(self, "level", level_number(self.level))

    @classmethod
    def from_file(cls, path):
        """Read the ini form: section ``[*]`` with level, break_level, handler, format."""
        if not Path(path).is_file():
            raise ConfigError(f"Logging config {str(path)!r} not found")
        ini = ConfigParser(interpolation=None)
        try:
            ini.read(path)
        except IniError as error:
            raise ConfigError(f"Logging config {str(path)!r} is not readable: {error}") from error
        section = next((ini[name] for name in ("*", ".", "root") if name in ini), None)
        if section is None:
            raise ConfigError(f"Logging config {str(path)!r} has no section [*]; it has {ini.sections()}")
        unknown = set(section) - {"level", "break_level", "handler", "format"}
        if unknown:
            raise ConfigError(f"Logging config {str(path)!r}: unknown {sorted(unknown)} in [{section.name}]")
        options = {"format": _plain(section.get("format", FORMAT)), "level": _plain(section.get("level", "INFO"))}
        if section.get("break_level"):
            options["break_level"] = level_number(_plain(section["break_level"]))
        for handler in filter(None, map(str.strip, _plain(section.get("handler", "stderr")).split(","))):
            kind, _, name = handler.partition(":")
            if kind in ("file", "append") and name:
                options |= {"file": name, "append": kind == "append"}
            else:
                options["stream"] = handler
        return cls(**options)


def _plain(text):
    return text.strip().strip("\"'")


def level_number(level):
    """Number of a log level given as name (any case) or number."""
    text = str(level).strip().upper()
    if text.isdigit():
        return int(text)
    number = logging.getLevelNamesMapping().get(text)
    if number is None:
        raise ConfigError(f'Error parsing logging configuration:\nthe value "{text}" is of the wrong type.')
    return number


class _Terminal(logging.StreamHandler):
    """Writes to a stream, which may show the progress of the run too."""

    def emit(self, record):
        try:
            write_between(self.stream, self.format(record) + self.terminator)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)


class _Breaker(logging.Handler):
    """Ends the run when a record of its level comes."""

    def emit(self, record):
        raise RuntimeError(f"A record reached the break level of the log: {record.getMessage()}")


_depth = 0


def is_configured():
    """Whether handlers of ours are attached at present."""
    return _depth > 0


@contextlib.contextmanager
def configured(options, extra=()):
    """Attach handlers to the loggers of the pipeline for the duration of a run.

    Parameters
    ----------
    options : LogOptions
    extra : iterable of str
        Names of more loggers (the package of a user's own steps).
    """
    global _depth
    handlers = _handlers(options)
    previous = []
    for name in dict.fromkeys([*LOGGERS, *extra]):
        logger = logging.getLogger(name)
        # CRDS brings a console handler of its own and does not propagate: what goes to the terminal is said here now.
        consoles = [] if logger.propagate else [one for one in logger.handlers if _is_console(one)]
        previous.append((logger, logger.level, consoles))
        logger.setLevel(options.level)
        for handler in consoles:
            logger.removeHandler(handler)
        for handler in handlers:
            logger.addHandler(handler)
    capturing = logging._warnings_showwarning is not None
    logging.captureWarnings(True)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not capturing:
            logging.captureWarnings(False)
        for logger, level, consoles in previous:
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)
            for handler in consoles:
                logger.addHandler(handler)
        for handler in handlers:
            handler.close()


def _is_console(handler):
    return isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)


_users = 0
_users_lock = threading.Lock()
_for_users = contextlib.ExitStack()


@contextlib.contextmanager
def shared(options, extra=()):
    """Like `configured`, for runs that may overlap in several threads.

    The first one to come attaches the handlers, and they stay until the last one has gone. Where handlers are attached
    already nothing happens.
    """
    global _users
    with _users_lock:
        takes_part = _users > 0 or not is_configured()
        if takes_part:
            if not _users:
                _for_users.enter_context(configured(options, extra))
            _users += 1
    try:
        yield
    finally:
        if takes_part:
            with _users_lock:
                _users -= 1
                if not _users:
                    _for_users.close()


def _handlers(options):
    handlers = []
    if options.stream != "null":
        handlers.append(_Terminal(getattr(sys, options.stream)))
    if options.file:
        mode = "a" if options.append else "w"
        handlers.append(logging.FileHandler(options.file, mode=mode, encoding="utf-8", delay=True))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(options.format))
    if options.break_level is not None:
        handlers.append(_Breaker(options.break_level))
    return handlers or [logging.NullHandler()]


_recording = {}  # thread -> the recorders of the runs that it is in, outermost first
_recording_lock = threading.Lock()


class _Recorder(logging.Handler):
    """Keeps formatted, scrubbed records of one run, not those of a run in another thread."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self._names = _private_names()
        formatter = logging.Formatter("%(asctime)s.%(msecs)03d - %(name)s - %(levelname)s - %(message)s")
        formatter.converter = time.gmtime
        formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
        self.setFormatter(formatter)

    def emit(self, record):
        runs = _recording.get(record.thread)
        if runs is None or self in runs:  # None: a thread that a step has started
            self.lines.append(scrub(self.format(record), self._names))

    def note(self, logger, message, *arguments):
        """Log at INFO, and keep the line even if the logger is not interested."""
        if logger.isEnabledFor(logging.INFO):
            logger.info(message, *arguments)
        else:
            self.emit(logger.makeRecord(logger.name, logging.INFO, "", 0, message, arguments, None))


@contextlib.contextmanager
def recording(extra=()):
    """Collect the records of the pipeline's loggers; yields the recorder, whose ``lines`` grow.

    Levels are left alone: without `configured` only warnings and errors are seen, and what is given to
    ``recorder.note``. Runs in several threads at once get their own records each.
    """
    recorder, thread = _Recorder(), threading.get_ident()
    loggers = [logging.getLogger(name) for name in dict.fromkeys([*LOGGERS, *extra])]
    with _recording_lock:
        _recording[thread] = (*_recording.get(thread, ()), recorder)
    for logger in loggers:
        logger.addHandler(recorder)
    try:
        yield recorder
    finally:
        for logger in loggers:
            logger.removeHandler(recorder)
        with _recording_lock:
            _recording[thread] = _recording[thread][:-1]
            if not _recording[thread]:
                del _recording[thread]


_PATH = re.compile(r"(?<![\w:/.])~?/(?:[^\s/'\",:;()\[\]]+/)+")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:.-])[0-9a-fA-F]{1,4}:[0-9a-fA-F:]*:[0-9a-fA-F]{0,4}(?![\w:])")


def scrub(line, names=None):
    """Remove private things from a log line: paths lose their folders, a line with a name becomes empty.

    Names (if None) are those of the user and the host; IP addresses count as such.
    """
    line = _PATH.sub("", line)
    names = _private_names() if names is None else names
    return "" if _has_address(line) or any(_mentions(line, name) for name in names) else line


def _has_address(line):
    return _IPV4.search(line) is not None or any(_is_ipv6(found) for found in _IPV6.findall(line))


def _is_ipv6(text):
    # Not hours:minutes:seconds, which is no address: it has too few parts for one without "::".
    if "::" not in text and text.count(":") != 7:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _mentions(line, name):
    # A short name only as a word of its own: it is part of too many others.
    return name in line if len(name) > 2 else re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line) is not None


def _private_names():
    names = {socket.gethostname(), socket.gethostname().split(".")[0]}
    try:
        names.add(getpass.getuser())
    except (KeyError, OSError):  # a user without an entry, as in containers, has no name to hide
        return names
    return {name for name in names if name}

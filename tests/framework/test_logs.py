"""Logging: handlers only during a run, never on the root logger; scrubbed records."""

import getpass
import io
import logging
import socket
import sys

import pytest

from upramp.errors import ConfigError
from upramp.framework import logs


def _state():
    names = [None, *logs.LOGGERS]
    return [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names]


def test_handlers_and_levels_are_removed(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = _state()
    with logs.configured(logs.LogOptions(level="warning")):
        assert logs.is_configured()
        assert logging.getLogger().handlers == before[0][1]
        logging.getLogger("upramp.x").warning("seen")
        logging.getLogger("upramp.x").info("not seen")
    assert not logs.is_configured()
    assert _state() == before
    assert stream.getvalue().endswith(" - upramp.x - WARNING - seen\n")


@pytest.mark.parametrize("stream", ["stderr", "null"])
def test_the_console_of_a_logger_is_replaced_for_a_while(monkeypatch, stream):
    ours, theirs = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", ours)
    logger, handler = logging.getLogger("CRDS"), logging.StreamHandler(theirs)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [handler])
    with logs.configured(logs.LogOptions(stream=stream)):
        logger.warning("here")
    logger.warning("there")
    assert ours.getvalue().endswith("here\n") if stream == "stderr" else ours.getvalue() == ""
    assert theirs.getvalue() == "there\n"
    assert logger.handlers == [handler]


def test_log_file_is_made_when_needed(workdir):
    with logs.configured(logs.LogOptions(file="a.log", stream="null")):
        pass
    assert not (workdir / "a.log").exists()
    with logs.configured(logs.LogOptions(file="a.log", stream="null")):
        logging.getLogger("upramp").info("größer")
    assert "größer" in (workdir / "a.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(("level", "number"), [("debug", 10), ("INFO", 20), (35, 35), ("7", 7)])
def test_levels(level, number):
    assert logs.LogOptions(level=level).level == number


def test_bad_options():
    with pytest.raises(ConfigError, match='the value "FOO" is of the wrong type.'):
        logs.LogOptions(level="FOO")
    with pytest.raises(ConfigError, match="Can't parse handler 'paper'"):
        logs.LogOptions(stream="paper")


def test_logging_configuration_file(workdir):
    (workdir / "log.cfg").write_text(
        '[*]\nlevel = debug\nhandler = append:all.log, stdout\nbreak_level = ERROR\nformat = "%(message)s"\n'
    )
    options = logs.LogOptions.from_file("log.cfg")
    assert (options.level, options.file, options.append, options.stream) == (10, "all.log", True, "stdout")
    with logs.configured(options), pytest.raises(RuntimeError, match="break level of the log: stop"):
        logging.getLogger("upramp").error("stop")
    assert (workdir / "all.log").read_text() == "stop\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Logging config 'log.cfg' not found"),
        ("[other]\n", r"has no section \[\*\]"),
        ("[*]\nnix = 1\n", "unknown"),
        ("level = 1\n", "is not readable"),
    ],
)
def test_bad_configuration_files(workdir, text, message):
    if text is not None:
        (workdir / "log.cfg").write_text(text)
    with pytest.raises(ConfigError, match=message):
        logs.LogOptions.from_file("log.cfg")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Saved model in /data/some/where/x_rate.fits", "Saved model in x_rate.fits"),
        ("args ('/a/b/c.fits', '~/d/e.fits').", "args ('c.fits', 'e.fits')."),
        ("ratio 3/4 and MJy/sr", "ratio 3/4 and MJy/sr"),
        ("see https://jwst-crds.stsci.edu/x/y", "see https://jwst-crds.stsci.edu/x/y"),
        ("connected to 130.167.1.20", ""),
        ("version 1.20.0", "version 1.20.0"),
        ("at 08:17:05.881 in 2026-11-22", "at 08:17:05.881 in 2026-11-22"),
        ("from 2001:db8:0:0:1:0:0:1", ""),
        ("from 2001:db8::ff00:42:8329 on", ""),
        ("2001:db8:4006:812::200e", ""),
        ("at 12:30:05 UTC, upramp::jump, [::2]", "at 12:30:05 UTC, upramp::jump, [::2]"),
        ("janet ran", ""),
        ("/data/jane/x.fits", "x.fits"),
        ("../file.txt, relative/file.txt and file I/O error", "../file.txt, relative/file.txt and file I/O error"),
    ],
)
def test_scrub(monkeypatch, line, expected):
    monkeypatch.setattr(logs, "_private_names", lambda: {"jane", "host7"})
    assert logs.scrub(line) == expected


def test_private_names_are_removed():
    assert logs.scrub(f"I am {getpass.getuser()}") == ""
    assert logs.scrub(f"This is {socket.gethostname()} speaking") == ""


def test_recording_leaves_levels_alone():
    with logs.recording() as recorder:
        logging.getLogger("upramp").warning("kept")
        logging.getLogger("upramp").debug("too low")
    assert [line.split(" - ", 1)[1] for line in recorder.lines] == ["upramp - WARNING - kept"]
    assert recorder.lines[0][10] == "T" and recorder.lines[0][19] == "."

"""The command line ``strun [OPTIONS] CFG_FILE_OR_CLASS [ARG ...] [--PARAM VALUE ...]``.

Two passes: the first knows only the global options and finds the class, the second has a parser made from
the spec of that class.
"""

import argparse
import contextlib
import gc
import inspect
import logging
import os
import sys
import textwrap
import traceback
import warnings
from pathlib import Path

from upramp.errors import ConfigError, ReferenceNotFoundError, UprampError
from upramp.framework import logs, progress, specs
from upramp.framework.classes import PeerStepError
from upramp.framework.references import import_client_lightly

__all__ = ["COMPILE_MESSAGE", "command", "configured", "failing", "main", "reporting", "run_command"]

log = logging.getLogger(__name__)

COMPILE_MESSAGE = "Compiling kernels (first run only; about half a minute)"

_WIDTH = 70
_RESERVED = ("debug", "logcfg", "verbose", "log-level", "log-file", "log-stream")
_LOG_OPTIONS = ("verbose", "log_level", "log_file", "log_stream")
_LOG_FILES = ("stpipe-log.cfg", "~/.stpipe-log.cfg", "/etc/stpipe-log.cfg")


def _global_parser():
    parser = argparse.ArgumentParser(
        prog="strun",
        description="Run a step or a pipeline.",
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cfg_file_or_class", help="Parameter file, alias or Python class of the step")
    parser.add_argument("args", nargs="*", default=[], help="Arguments of the step, such as the input file")
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="Show this help and stop")
    add("--version", action="store_true", help="Show the versions and stop")
    add("--debug", action="store_true", help="After an error, enter the debugger")
    add("--save-parameters", metavar="FILE", help="Write the final parameters to a parameter file (ASDF)")
    add("--run-record", metavar="FILE", help="Write what ran, its times, memory and counts to this file (JSON)")
    add("--disable-crds-steppars", action="store_true", help="Do not look for parameters in CRDS")
    add("--threads", metavar="N", help="Number of threads of the kernels [all cores]")
    add("--logcfg", metavar="FILE", help="Logging configuration (deprecated; use --log-*)")
    add("--verbose", "-v", action="store_true", help="Log everything (level DEBUG)")
    add("--log-level", metavar="LEVEL", help="Lowest level that is logged [INFO]")
    add("--log-file", metavar="FILE", help="Write the log to this file too")
    add("--log-stream", metavar="STREAM", help="stdout, stderr or null [stderr]")
    return parser


def _add_parameters(parser, spec, prefix=""):
    for key in spec.scalars:
        if not prefix and key.replace("_", "-") in _RESERVED:
            raise ConfigError(f"The Step's spec is trying to override a built-in parameter '--{key}'")
        name = f"{prefix}{key}"
        parser.add_argument(
            f"--{name}",
            dest=f"parameter:{name}",
            metavar="",
            default=argparse.SUPPRESS,
            help=_parameter_help(spec[key], spec.inline_comments.get(key)).replace("%", "%%"),
        )
    for key in spec.sections:
        _add_parameters(parser, spec[key], f"{prefix}{key}.")


def _parameter_help(check, comment):
    text = (comment or "").lstrip("# ").strip()
    arguments = check.partition("(")[2].rpartition(")")[0]
    arguments = arguments.partition("(")[0]
    shown = arguments and arguments.replace(" ", "") not in ("default=None", "default=''", 'default=""')
    return f"{text} [{arguments}]" if shown else text


def _nested(options):
    """``{"parameter:steps.jump.skip": "true"}`` -> ``{"steps": {"jump": {"skip": "true"}}}``."""
    values = {}
    for dest, text in options.items():
        if not dest.startswith("parameter:"):
            continue
        *sections, key = dest.removeprefix("parameter:").split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = specs.parse_value(text)
    return values


def _box(header, error):
    lines = [line for part in (str(error) or type(error).__name__).splitlines() for line in _wrapped(part)]
    rule = "-" * _WIDTH
    return "\n".join([rule, header, *lines, rule])


def _wrapped(text):
    indent = " " * (4 + len(text) - len(text.lstrip()))
    wrapped = textwrap.wrap(
        text.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return wrapped or [""]


def _versions():
    from importlib.metadata import entry_points

    import upramp

    found = {entry.dist.name: entry.dist.version for entry in entry_points(group="stpipe.steps")}
    found["upramp"] = upramp.__version__
    return "\n".join(f"{name}: {version}" for name, version in sorted(found.items()))


class _Failure(Exception):
    """An error together with what the command line says about it."""

    def __init__(self, header, error, help_text=""):
        super().__init__(str(error))
        self.header = header
        self.error = error
        self.help_text = help_text


def _find(target):
    """The class, and the parameter file or the plan when the target is one."""
    from upramp.framework import config
    from upramp.framework.classes import find_class
    from upramp.framework.step import Step

    if not Path(target).is_file():
        return find_class(target), None
    plan = _read_plan(target)
    if plan is not None:
        return plan.step_class, plan
    found = config.read_parameter_file(target)
    if not found.class_name:
        raise ConfigError(f"{target} does not say which step it is for; it needs a line 'class = ...'")
    return Step.class_of_file(found), target


def _read_plan(path):
    from upramp.framework.plans import Plan  # here, because few need it

    return Plan.read(path)


def _log_options(options):
    if not any(getattr(options, name) for name in _LOG_OPTIONS):
        found = (path for path in map(os.path.expanduser, _LOG_FILES) if Path(path).is_file())
        file = options.logcfg or next(found, None)
        if file:
            text = f"A logcfg configuration file ({file}) is deprecated; use --log-level, --log-file and --log-stream"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return logs.LogOptions.from_file(file)
    folder = Path(options.log_file or "").parent
    if not folder.is_dir():
        raise ConfigError(f"--log-file is {options.log_file!r}, but there is no folder {str(folder)!r}")
    return logs.LogOptions(
        level="DEBUG" if options.verbose else options.log_level or "INFO",
        file=options.log_file,
        stream=options.log_stream or "stderr",
    )


def _threads(text):
    if text is not None and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"--threads is {text!r}; expected a positive integer")
    return text


@contextlib.contextmanager
def _environment(name, value):
    """Set an environment variable for a while; None leaves it alone."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif value is not None:
            del os.environ[name]


@contextlib.contextmanager
def _compile_notice():
    """Say once why a run takes its time when kernels are not in the cache yet."""
    from upramp.kernels._jit import set_compile_listener  # here, because it imports numba

    def announce(_):
        set_compile_listener(None)
        log.info("%s", COMPILE_MESSAGE)

    before = set_compile_listener(announce)
    try:
        yield
    finally:
        set_compile_listener(before)


def _parser_of(step_class):
    parser = _global_parser()
    parser.description = inspect.cleandoc(step_class.__doc__ or "")
    _add_parameters(parser, step_class.load_spec_file())
    return parser


def _parse(arguments):
    """Parse the command line: class, parameter file or plan (or None), options, parser, log options."""
    first = _global_parser()
    options, _ = first.parse_known_intermixed_args(arguments)
    try:
        step_class, file = _find(options.cfg_file_or_class)
        log_options = _log_options(options)
        _threads(options.threads)
        parser = _parser_of(step_class)
    except PeerStepError:
        raise
    except Exception as error:  # a module that is imported here may raise anything
        raise _Failure("ERROR PARSING CONFIGURATION:", error, first.format_help()) from error
    if options.help:
        sys.stdout.write(parser.format_help())
        raise SystemExit(0)
    return step_class, file, parser.parse_intermixed_args(arguments), parser, log_options


def _configured_step(step_class, file, options, parser):
    try:
        pars = _nested(vars(options))
        if file is None or isinstance(file, str):
            step = step_class.configure(
                _dataset(options, pars),
                config_file=file,
                pars=pars,
                origin="command line",
                use_crds=not options.disable_crds_steppars,
            )
        else:
            step = _step_of_plan(file, pars, options)
        if options.save_parameters:
            step.export_config(options.save_parameters, include_metadata=True)
            log.info("Step/Pipeline parameters saved to %r", options.save_parameters)
    except ReferenceNotFoundError as error:  # of a plan; nothing is wrong with the command line
        raise _Failure(f"ERROR RUNNING STEP {step_class.__name__!r}:", error) from error
    except Exception as error:  # so may the code of a hook, and of a step when it is made
        raise _Failure("ERROR PARSING CONFIGURATION:", error, parser.format_help()) from error
    if options.args:
        step.set_parameter("save_results", True, "strun")
    return step


def _dataset(options, pars):
    """The input file, which selects the parameters in CRDS."""
    dataset = options.args[0] if options.args else None
    if dataset and "input_dir" in pars and Path(dataset).parent == Path():
        dataset = str(Path(pars["input_dir"], dataset))
    return dataset


def _step_of_plan(plan, pars, options):
    """The step of a plan; its exposure is that of the plan when none is given."""
    plan.check_input(_dataset(options, pars))
    options.args = options.args or [plan.input_path]
    return plan.step(pars)


@contextlib.contextmanager
def configured(arguments):
    """Make the step of a command line, with the log that it asks for.

    Parameters
    ----------
    arguments : list of str
        What follows ``strun``.

    Yields
    ------
    step : Step
        Ready to run.
    options : argparse.Namespace
        The global options, and ``args`` for the step.
    """
    step_class, file, options, parser, log_options = _parse(arguments)
    with (
        _environment("UPRAMP_THREADS", options.threads),
        logs.configured(log_options, step_class.get_stpipe_loggers()),
        _compile_notice(),
        progress.display(log_options.stream),
    ):
        if options.logcfg:
            log.warning("--logcfg is deprecated; use --log-level, --log-file and --log-stream")
        yield _configured_step(step_class, file, options, parser), options


@contextlib.contextmanager
def failing(step_class):
    """An error inside is reported as one of this step."""
    try:
        yield
    except Exception as error:
        raise _Failure(f"ERROR RUNNING STEP {step_class.__name__!r}:", error) from error


def _run(arguments):
    with configured(arguments) as (step, options), failing(type(step)):
        _run_recorded(step, options)
    return step


def _check_arguments(step, arguments):
    if step.pre_hooks:
        return  # what comes from them is known when they have run
    signature = inspect.signature(step.process)
    try:
        signature.bind(*arguments)
    except TypeError as error:
        found = " ".join(arguments) or "none"
        raise ConfigError(f"{type(step).__name__} works on {signature}, arguments given: {found} ({error})") from error


def _run_recorded(step, options):
    _check_arguments(step, options.args)
    try:
        step.run(*options.args)
    finally:
        if options.run_record and step.run_record is not None:
            step.run_record.save(options.run_record)


def run_command(arguments):
    """Run a command line; errors are shown as `main` does, without a traceback, and raised as they are.

    Parameters
    ----------
    arguments : list of str
        What follows ``strun``.

    Returns
    -------
    Step
        The step, after its run; one of stpipe when the class is one of its own.
    """
    try:
        return _run(arguments)
    except PeerStepError:
        return sys.modules["stpipe"].Step.from_cmdline(arguments)
    except _Failure as failure:
        _show(failure)
        raise failure.error from None


def command():
    """Entry point of the process ``strun``: `main`, with less garbage collection.

    The modules that are imported are 100 000 objects, which stay; looking through them again and again, and three times
    at the end, took 0.2 s of the 1.9 s of a small exposure.
    """
    gc.set_threshold(50_000, 20, 100)
    try:
        return main()
    finally:
        gc.disable()


def main(arguments=None):
    """The command ``strun``.

    Returns
    -------
    int
        0: success. 1: the configuration is wrong or the step failed; or the status of the step's own error.
        255: CRDS is needed and cannot be had at all. 130: interrupted.
        A wrong command line ends in ``SystemExit(2)`` of argparse.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if "--version" in arguments:
        sys.stdout.write(_versions() + "\n")
        return 0
    import_client_lightly()
    try:
        return reporting(_run, arguments)
    except PeerStepError:
        return _hand_over(arguments)


def reporting(action, arguments):
    """Do something with a command line, and report errors as ``strun`` does.

    Parameters
    ----------
    action : callable
        Takes the arguments; what it returns does not matter.
    arguments : list of str

    Returns
    -------
    int
        Exit status.
    """
    try:
        action(arguments)
    except _Failure as failure:
        return _report(failure, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        return 130
    return 0


def _hand_over(arguments):
    """Run the command ``strun`` of stpipe in this process; it ends in ``SystemExit`` with its own status."""
    from importlib.metadata import distribution

    (script,) = distribution("stpipe").entry_points.select(group="console_scripts", name="strun")
    before, sys.argv = sys.argv, ["strun", *arguments]
    try:
        return script.load()()
    finally:
        sys.argv = before


def _show(failure):
    sys.stdout.write(_box(failure.header, failure.error) + "\n")
    if failure.help_text:
        sys.stdout.write(failure.help_text)
    sys.stdout.flush()


def _report(failure, arguments):
    error = failure.error
    _show(failure)
    status = getattr(error, "exit_status", None)
    talkative = any(option in arguments for option in ("--debug", "--verbose", "-v"))
    if status is None and (talkative or not isinstance(error, UprampError | OSError)):
        # A message of ours says what to do, and one about a file is clear; else the place in the code matters.
        traceback.print_exception(error)
    if "--debug" in arguments and not failure.help_text:
        import pdb

        pdb.post_mortem(error.__traceback__)
        return 0
    return 1 if status is None else status


if __name__ == "__main__":
    # Under its own name, so that the log records are those of the package.
    from upramp.framework import strun

    sys.exit(strun.command())

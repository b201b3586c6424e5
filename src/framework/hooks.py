"""Hooks: functions, steps or shell commands that run before and after a step."""

import ast
import inspect
import logging
import re
import subprocess
from pathlib import Path

from upramp.errors import ConfigError, HookError
from upramp.framework.classes import import_dotted
from upramp.framework.specs import is_model

__all__ = ["make_hooks"]

log = logging.getLogger(__name__)


def make_hooks(step, kind, entries):
    """Resolve the entries of ``pre_hooks`` or ``post_hooks``.

    Parameters
    ----------
    step : Step
        The step they belong to.
    kind : str
        ``pre_hook`` or ``post_hook``; names those that have no name of their own.
    entries : list
        Step class or instance, function, dotted name of one, ``package.Class(name=literal)``, or a shell
        command.

    Returns
    -------
    list of callable
        Each is called with the arguments (pre) or the result (post); None keeps these, anything else
        replaces them.
    """
    return [_make_hook(step, f"{kind}{number}", entry) for number, entry in enumerate(entries or [])]


def _make_hook(step, name, entry):
    from upramp.framework.step import Step

    if isinstance(entry, str):
        keywords = _call_form(entry)
        target = import_dotted(keywords[0] if keywords else entry)
        if target is None:
            return _shell(step, name, entry)
        entry = target(name=target.class_alias or name, **keywords[1]) if keywords else target
    if isinstance(entry, type) and issubclass(entry, Step):
        entry = entry(name=entry.class_alias or name, parent=step, output_ext=step.output_ext)
    if isinstance(entry, Step):
        return entry.run
    if inspect.isclass(entry) or not callable(entry):
        raise ConfigError(
            f"{name} of {step.name}: {entry!r} is not a hook; expected a function, a Step, the dotted name of "
            "one, or a shell command"
        )
    return entry


def _call_form(text):
    """Split ``package.Class(name=literal, ...)`` into name and keywords; None when it is not of that form."""
    found = re.fullmatch(r"\s*([A-Za-z_][\w.]*)\s*\((.*)\)\s*", text, re.DOTALL)
    if found is None or import_dotted(found[1]) is None:
        return None
    try:
        call = ast.parse(text.strip(), mode="eval").body
        return found[1], {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"hook {text!r}: the arguments must be name=literal pairs ({error})") from error


def _shell(step, name, command):
    def run(*arguments):
        line = command.format(*(_for_shell(step, name, number, arg) for number, arg in enumerate(arguments)))
        log.info("Spawning %r", line)
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        for stream, text in (("STDOUT", done.stdout), ("STDERR", done.stderr)):
            if text:
                log.info("%s: %s", stream, text.rstrip())
        log.info("Done with errorcode %d", done.returncode)
        if done.returncode:
            raise HookError(f"{line!r} returned error code {done.returncode}")

    return run


def _for_shell(step, name, number, argument):
    """A model is written to a file in the current folder, and the command gets its name."""
    if not is_model(argument):
        return argument
    path = Path(f"{step.qualified_name}.{name}.{number:04d}.{step.output_ext.lstrip('.')}")
    return argument.save(path) or path

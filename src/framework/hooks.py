"""Hooks: functions, steps or shell commands that run before and after a step."""

import ast
import functools
import inspect
import logging
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from upramp.errors import ConfigError, HookError
from upramp.framework.classes import import_dotted
from upramp.framework.config import folder_of
from upramp.framework.specs import as_ours, is_model

__all__ = ["HookList", "make_hooks"]

log = logging.getLogger(__name__)


class HookList:
    """The hooks of one kind of a step, made again when the parameter has been given another value.

    Parameters
    ----------
    step : Step
    kind : str
        ``pre_hook`` or ``post_hook``; with an ``s``, the parameter that has the entries.
    """

    def __init__(self, step, kind):
        self._step, self._kind = step, kind
        self._make()

    def _make(self):
        entries = getattr(self._step, f"{self._kind}s")
        if isinstance(entries, str):
            raise ConfigError(
                f"{self._kind}s of {self._step.name} is the text {entries!r}; expected a list, such as [{entries!r}] "
                f"(on the command line and in a parameter file with a comma at the end: {entries},)"
            )
        self._entries = list(entries or [])
        self._hooks = make_hooks(self._step, self._kind, self._entries)

    def run(self, *arguments):
        """Call the hooks one after the other. None keeps the arguments, anything else replaces all of them.

        Returns
        -------
        tuple
            The arguments for what comes next.
        """
        if list(getattr(self._step, f"{self._kind}s") or []) != self._entries:
            self._make()
        for number, hook in enumerate(self._hooks):
            try:
                replaced = hook(*arguments)
            except Exception as error:
                error.add_note(f"This came from {self._kind}{number} of the step {self._step.qualified_name}")
                raise
            arguments = arguments if replaced is None else (as_ours(replaced),)
        return arguments


def make_hooks(step, kind, entries):
    """Resolve the entries of ``pre_hooks`` or ``post_hooks``.

    Parameters
    ----------
    step : Step
        The step they belong to.
    kind : str
        ``pre_hook`` or ``post_hook``; names those that have no name of their own.
    entries : list
        Step class or instance (of the reference pipeline too), function or other callable, dotted name of one,
        ``package.Class(name=literal)`` or the same with a function, or a shell command. An instance without a name of
        its own gets the alias of its class or the name of the hook.

    Returns
    -------
    list of callable
        Each is called with the arguments (pre) or the result (post); None keeps these, anything else
        replaces them.

    Raises
    ------
    ConfigError
        An entry is none of these, or names something that is not there.
    """
    return [_make_hook(step, f"{kind}{number}", entry) for number, entry in enumerate(_rejoined(entries))]


def _rejoined(entries):
    """Put calls together whose commas were taken for those of the list: ``a.B(c=1, d=2)``."""
    result = []
    for entry in entries:
        before = result[-1] if result else None
        if isinstance(entry, str) and isinstance(before, str) and _is_open_call(before):
            result[-1] = f"{before}, {entry}"
        else:
            result.append(entry)
    return result


def _is_open_call(text):
    return re.match(r"\s*[A-Za-z_][\w.]*\.\w+\(", text) is not None and text.count("(") > text.count(")")


def _make_hook(step, name, entry):
    from upramp.framework.guest_steps import is_guest, run_guest, step_class_of
    from upramp.framework.step import Step

    given = entry
    if isinstance(entry, str):
        entry = _named(step, name, entry)
    step_class = step_class_of(entry)
    if step_class is not None:
        entry = step_class(name=step_class.class_alias or name, parent=step, output_ext=step.output_ext)
    if isinstance(entry, Step):
        if entry is given and entry.parent is None and entry.name == type(entry).__name__:
            entry.name = entry.class_alias or name
        return entry.run
    if is_guest(entry):
        return functools.partial(run_guest, entry)
    if inspect.isclass(entry) or not callable(entry):
        raise ConfigError(
            f"{name} of {step.name}: {entry!r} is not a hook; expected a function, a Step, the dotted name of "
            "one, or a shell command"
        )
    return entry


def _named(step, name, text):
    """What the text of an entry means: a class, an instance, a function, or the call of a command."""
    folder = folder_of(step.config_file) if step.config_file else None
    call = re.fullmatch(r"\s*([A-Za-z_][\w.]*)\s*\((.*)\)\s*", text, re.DOTALL)
    target = import_dotted(call[1] if call else text.strip(), folder)
    if target is not None:
        if not call:
            return target
        return target(**_keywords(text)) if isinstance(target, type) else functools.partial(target, **_keywords(text))
    if re.fullmatch(r"\s*[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\s*(\(.*\))?\s*", text, re.DOTALL) and (
        call or shutil.which(text.strip()) is None
    ):
        raise ConfigError(f"{name} of {step.name}: there is neither a function or class {text!r}, nor such a command")
    log.info("SystemCall instance created.")
    return functools.partial(_run_command, step, name, text)


def _keywords(text):
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if call.args:
            raise ValueError("there is one without a name")
        return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"hook {text!r}: the arguments must be name=literal pairs ({error})") from error


def _run_command(step, name, command, *arguments):
    """Run a shell command; models among the arguments are written to files that exist as long as it runs."""
    with tempfile.TemporaryDirectory(prefix=".upramp-hook-", dir=Path.cwd()) as folder:
        values = [_for_shell(step, name, number, one, folder) for number, one in enumerate(arguments)]
        script, words, shown = _script(command, values, name)
        log.info("Spawning %s", shown)
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *words], capture_output=True, text=True, errors="replace", check=False
        )
    for stream, text in (("STDOUT", done.stdout), ("STDERR", done.stderr)):
        if text:
            log.info("%s: %s", stream, text.rstrip())
    log.info("Done with errorcode %d", done.returncode)
    if done.returncode:
        raise HookError(f"{shown} returned error code {done.returncode}")


def _for_shell(step, name, number, argument, folder):
    if not is_model(argument):
        return str(argument)
    path = Path(Path(folder).name, f"{step.qualified_name}.{name}.{number:04d}.{step.output_ext.lstrip('.')}")
    meta = getattr(argument, "meta", None)
    filename = getattr(meta, "filename", None)
    path = str(argument.save(path) or path)
    if meta is not None:
        meta.filename = filename  # of the data, not of this copy
    return path


# A placeholder, a doubled brace, or a piece of shell that tells whether what follows is inside of quotes.
_PIECES = re.compile(r"\{\{|\}\}|\{(\d*)\}|\\.|\$\(|.", re.DOTALL)


def _script(command, values, name):
    """The command with positional parameters of the shell in the place of ``{0}``.

    The shell never parses the values, so that nothing in the name of a file can become part of the command; they stay
    one word each inside of quotes and outside.

    Returns
    -------
    script : str
    words : list of str
        Values of the positional parameters.
    shown : str
        The command as one would type it.
    """
    parts, shown, words, n_counted = [], [], [], 0
    contexts = [""]  # the quote that is open, for every level of $( )
    for piece in _PIECES.finditer(command):
        text, quote = piece[0], contexts[-1]
        if text in ("{{", "}}"):
            text = text[0]
        elif piece[1] is not None:
            index = int(piece[1] or n_counted)
            n_counted += not piece[1]
            if index >= len(values):
                raise HookError(f"{name}: {command!r} wants argument {{{index}}}, but gets {len(values)}")
            words.append(values[index])
            parts.append({"": '"%s"', '"': "%s", "'": "'\"%s\"'"}[quote] % f"${{{len(words)}}}")
            shown.append(shlex.quote(values[index]))
            continue
        elif text[0] == "\\" and quote == "'":
            contexts[-1] = "" if text[1] == "'" else quote
        elif text == "$(" and quote != "'":
            contexts.append("")
        elif text == ")" and quote == "" and len(contexts) > 1:
            contexts.pop()
        elif text in ("'", '"') and quote in ("", text) and not (text == "'" and quote == '"'):
            contexts[-1] = "" if quote else text
        parts.append(text)
        shown.append(text)
    return "".join(parts), words, repr("".join(shown))

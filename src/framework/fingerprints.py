"""Fingerprints of everything that a result depends on: files, models, parameters, code."""

import functools
import hashlib
import importlib.metadata
import inspect
from pathlib import Path

import numpy as np

import upramp
from upramp.framework.classes import import_dotted
from upramp.framework.specs import is_model

__all__ = ["checksum", "describe_step", "differences", "file_checksum"]

# Where results go and what they are called does not change them; hooks are described by themselves.
_WITHOUT_EFFECT = {
    "output_file", "output_dir", "output_ext", "output_use_model", "output_use_index", "save_results", "suffix",
    "search_output_file", "input_dir", "pre_hooks", "post_hooks", "start_step", "end_step", "resume", "keep_state",
}  # fmt: skip
_NOT_CONTENT = ("meta.date", "meta.filename", "meta.model_type")


def file_checksum(path):
    """SHA-256 of the content of a file, in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksum(thing):
    """SHA-256 of a file (given by name), or of the metadata and arrays of a model.

    Returns
    -------
    str or None
        None for a text that names no file, such as ``'N/A'``.
    """
    if not is_model(thing):
        return file_checksum(thing) if Path(thing).is_file() else None
    digest = hashlib.sha256(type(thing).__qualname__.encode())
    for name, value in sorted(thing.to_flat_dict().items()):
        if name in _NOT_CONTENT or name.startswith("cal_logs."):
            continue
        digest.update(f"{name}={value!r};".encode() if not isinstance(value, np.ndarray) else name.encode())
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def describe_step(step):
    """What the result of a step depends on besides its input and references.

    Returns
    -------
    dict
        Of strings, numbers, lists and dictionaries, equal for equal results.
    """
    spec = step.load_spec_file()
    pars = {key: value for key, value in step.get_pars().items() if key != "steps" and key not in _WITHOUT_EFFECT}
    found = {
        "class": f"{type(step).__module__}.{type(step).__qualname__}",
        "version": _version(type(step)),
        "code": _code_checksum(type(step)),
        "parameters": {key: _described(value, spec.get(key)) for key, value in pars.items()},
        "hooks": {
            kind: [_described_hook(hook) for hook in getattr(step, kind) or []] for kind in ("pre_hooks", "post_hooks")
        },
    }
    if hasattr(step, "sub_steps"):
        found["steps"] = {key: describe_step(sub_step) for key, sub_step in step.sub_steps.items()}
    return found


def differences(before, now, what=""):
    """Say in words where two descriptions differ.

    Parameters
    ----------
    before, now : dict
        Nested.
    what : str
        What they describe.

    Returns
    -------
    list of str
    """
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        name = f"{what}.{key}" if what else key
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, name)
        elif old != new:
            found.append(f"{name} has changed" if _is_checksum(old, new) else f"{name} was {old!r} and is {new!r}")
    return found


def _is_checksum(*values):
    return any(isinstance(value, str) and len(value) == 64 and " " not in value for value in values)


def _described(value, check):
    if is_model(value):
        return checksum(value)
    if isinstance(value, str) and str(check).startswith("input_file"):
        return checksum(value) or value
    if isinstance(value, list | tuple):
        return [_described(one, None) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _described_hook(hook):
    if isinstance(hook, functools.partial):
        return [_described_hook(hook.func), repr(hook.args), repr(sorted(hook.keywords.items()))]
    if isinstance(hook, str):
        target = import_dotted(hook)
        return hook if target is None else [hook, _described_hook(target)]
    if hasattr(hook, "load_spec_file") and not isinstance(hook, type):
        return describe_step(hook)
    name = f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"
    code = getattr(hook, "__code__", None)
    content = repr((_described_code(code), hook.__defaults__)) if code else str(_code_checksum(hook))
    return [name, hashlib.sha256(content.encode()).hexdigest()]


def _described_code(code):
    """Code and constants of a function; the functions in it are among its constants."""
    constants = [_described_code(one) if hasattr(one, "co_code") else repr(one) for one in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _version(cls):
    package = cls.__module__.partition(".")[0]
    if package == "upramp":
        return upramp.__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _code_checksum(thing):
    """Checksum of the source file of a class; of all of ours for one of ours, for its kernels lie elsewhere."""
    cls = thing if isinstance(thing, type) else type(thing)
    if cls.__module__.partition(".")[0] == "upramp":
        return _own_code_checksum()
    try:
        return file_checksum(inspect.getfile(cls))
    except (TypeError, OSError):  # typed in at a prompt
        return None


@functools.cache
def _own_code_checksum():
    digest = hashlib.sha256()
    for path in sorted(Path(upramp.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

"""Subcommands of ``upramp`` that look at steps: list, describe, plan, run-plan."""

import argparse
import fnmatch
import re
import sys
from pathlib import Path

from upramp.errors import ConfigError
from upramp.framework import specs, strun
from upramp.framework.classes import PeerStepError, full_name, registered_steps
from upramp.framework.step import Step

__all__ = ["describe", "list_steps", "plan", "run_plan"]

# Nothing is run: only what goes wrong is worth a line. An option of the user comes later and wins.
_QUIET = "--log-level=warning"
_GUIDER_TYPES = ("FGS_ID", "FGS_ACQ", "FGS_TRACK", "FGS_FINEGUIDE")
_UNIT = re.compile(r",\s*(sigma|DN/s|DN|s|pixels?|Hz|electrons|e-)$|\[([^\[\]]+)\]$")


def _parser(name, description, **keywords):
    return argparse.ArgumentParser(
        prog=f"upramp {name}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **keywords,
    )


def list_steps(arguments):
    """The command ``upramp list``: full class names and aliases of every registered step, sorted.

    Returns
    -------
    int
        0, also if nothing matches.
    """
    parser = _parser("list", "List the steps and pipelines of all installed packages.")
    parser.add_argument("pattern", nargs="?", help="whole class name or alias, any case; * stands for anything")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--pipelines-only", action="store_true", help="leave out the steps")
    kind.add_argument("--steps-only", action="store_true", help="leave out the pipelines")
    options = parser.parse_args(arguments)
    pattern = re.compile(".*".join(map(re.escape, (options.pattern or "*").lower().split("*"))), re.DOTALL)
    found = sorted(
        (name, alias)
        for _, name, alias, is_pipeline in registered_steps()
        if not ((options.pipelines_only and not is_pipeline) or (options.steps_only and is_pipeline))
        and any(pattern.fullmatch(text.lower()) for text in (name, alias) if text)
    )
    for name, alias in found:
        print(f"{name} ({alias})" if alias else name)
    if not found:
        print("(no matching classes)", file=sys.stderr)
    return 0


def describe(arguments):
    """The command ``upramp describe``: the parameters of a step, or with an exposure their values and origins.

    Returns
    -------
    int
        Exit status, as that of ``strun``.
    """
    parser = _parser(
        "describe",
        "Show the parameters of a step: type, unit, default, meaning. With an exposure: the values that a run would\n"
        "take, and where each came from (command line, parameter file, CRDS, default).",
        epilog="Options of strun count too, such as --steps.jump.skip=true or --disable-crds-steppars.",
    )
    parser.add_argument("step", help="alias, class, or parameter file")
    parser.add_argument("file", nargs="?", help="exposure, which selects the parameters in CRDS")
    parser.add_argument("--all", action="store_true", help="also the parameters that every step has")
    options, rest = parser.parse_known_args(arguments)
    target = [options.step, *([options.file] if options.file else ["--disable-crds-steppars"])]

    def show(command_line):
        with strun.configured(command_line) as (step, _):
            print("\n".join(_description(step, options.all, options.file is not None)))

    return _reported(show, [_QUIET, *target, *rest], options.step)


def _reported(action, command_line, target):
    try:
        return strun.reporting(action, command_line)
    except PeerStepError as error:
        raise ConfigError(f"{error}; try: strun {target} --help") from error


def _description(step, everything, with_origins, prefix=""):
    """Lines about a step and the steps below it."""
    base = specs.merged_spec(Step).scalars
    title = f"{prefix.removesuffix('.') or step.class_alias or step.name}: {full_name(type(step))}"
    yield title
    yield "=" * len(title)
    yield (type(step).__doc__ or "").strip().partition("\n")[0]
    if step.reference_file_types:
        yield f"References: {', '.join(step.reference_file_types)}"
    spec = type(step).load_spec_file()
    rows = []
    for key in spec.scalars:
        row = _row(step, key, spec, with_origins)
        if everything or key not in base or row[3].endswith("*"):
            rows.append(row)
    heading = ("parameter", "type", "unit", "value", *(["origin"] if with_origins else []), "meaning")
    yield ""
    yield from _table([heading, *rows] if rows else [("(no parameters of its own)",)])
    if any(row[3].endswith("*") for row in rows):
        yield "* not the default"
    for key, below in step.sub_steps.items():
        yield ""
        yield from _description(below, everything, with_origins, f"{prefix}steps.{key}.")


def _row(step, key, spec, with_origins):
    kind, default = _kind_and_default(spec[key])
    comment = spec.inline_comments.get(key, "").lstrip("# ").strip()
    unit = _UNIT.search(comment)
    meaning = comment[: unit.start()] if unit else comment
    origin = step.origin(key)
    value = repr(getattr(step, key))
    if origin != "default":
        value += f" (default {default}) *"
    row = [key, kind, (unit[1] or unit[2]) if unit else "", value]
    return (*row, *([origin] if with_origins else []), meaning)


def _kind_and_default(check):
    """``float(default=4.0, min=0)`` -> ``("float, min=0", "4.0")``; the default is None when there is none."""
    name, _, inside = check.partition("(")
    parts = re.findall(r"""(?:[^,'"()]|'[^']*'|"[^"]*"|\([^()]*\))+""", inside.rpartition(")")[0])
    parts = [part.strip() for part in parts]
    default = next((part.partition("=")[2].strip() for part in parts if part.startswith("default")), "None")
    names = {"is_string_or_datamodel": "file or model", "is_datamodel": "model", "input_file": "existing file"}
    kind = ", ".join([names.get(name, name), *(part for part in parts if not part.startswith("default"))])
    return kind, default.replace("list()", "[]")


def _table(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def plan(arguments):
    """The command ``upramp plan``: what a run would do, without doing any of it.

    Returns
    -------
    int
        0 if the run could begin; else as ``strun``: 1, or 255 when there is no CRDS to ask.
    """
    parser = _parser(
        "plan",
        "Show what a run would do: its steps, parameters with their origins, references with their checksums, and the\n"
        "names of the products. Nothing is run or written but the plan.",
        epilog="Options of strun count too, such as --steps.jump.skip=true or --output_dir=products.",
    )
    parser.add_argument("file", help="exposure")
    parser.add_argument(
        "step", nargs="?", help="alias, class or parameter file; default: the pipeline for its EXP_TYPE"
    )
    parser.add_argument("--save", metavar="PLAN", help="write the plan too: .json, .yaml or .asdf")
    options, rest = parser.parse_known_args(arguments)
    step = options.step or pipeline_for(options.file)

    def show(command_line):
        from upramp.framework.plans import Plan

        with strun.configured(command_line) as (configured, settings):
            with strun.failing(type(configured)):
                made = Plan.of(configured, settings.args[0])
                if options.save:
                    made.save(options.save)
            print(made.text())
            if made.problems:
                with strun.failing(type(configured)):
                    raise made.missing_error(configured)

    return _reported(show, [_QUIET, step, options.file, *rest], step)


def pipeline_for(path):
    """Alias of the pipeline that calibrates an exposure, after its EXP_TYPE."""
    from upramp.framework.references import crds_parameters

    if not Path(path).is_file():
        raise FileNotFoundError(f"The exposure {path} does not exist")
    kind = str(crds_parameters(path).get("meta.exposure.type"))
    if kind.startswith(_GUIDER_TYPES):
        return "calwebb_guider"
    return "calwebb_dark" if fnmatch.fnmatch(kind, "*_DARK*") else "calwebb_detector1"


def run_plan(arguments):
    """The command ``upramp run-plan``: the same as ``strun PLAN [FILE]``.

    Returns
    -------
    int
        Exit status of ``strun``.
    """
    parser = _parser(
        "run-plan",
        "Do what a saved plan says. References must have the checksums of the plan; they are looked for where they\n"
        "were, in the cache of CRDS (CRDS_PATH), and in the folder of the plan. CRDS itself is not asked.",
        epilog="Options of strun count too, such as --output_dir=products.",
    )
    parser.add_argument("plan", help="from upramp plan FILE --save PLAN")
    parser.add_argument("file", nargs="?", help="exposure; default: that of the plan")
    options, rest = parser.parse_known_args(arguments)
    from upramp.framework.plans import Plan

    if not Path(options.plan).is_file():
        raise FileNotFoundError(f"The plan {options.plan} does not exist")
    if Plan.read(options.plan) is None:
        raise ConfigError(f"{options.plan} is not a plan; make one with: upramp plan FILE --save PLAN")
    return strun.main([options.plan, *([options.file] if options.file else []), *rest])

"""The command ``upramp``: dispatches to subcommands, each a function of its own arguments.

A subcommand is imported when it is called, so that ``upramp --help`` needs nothing but the standard library.
"""

import argparse
import os
import sys
from importlib import import_module

from upramp import __version__

__all__ = ["main"]

# name: (function that takes the list of arguments and returns the exit status, one line of help)
COMMANDS = {
    "list": ("upramp.framework.commands:list_steps", "list the steps and pipelines of all installed packages"),
    "describe": ("upramp.framework.commands:describe", "parameters of a step; for an exposure, where each came from"),
    "plan": ("upramp.framework.commands:plan", "what a run would do: steps, parameters, references, output names"),
    "run-plan": ("upramp.framework.commands:run_plan", "do what a saved plan says, here or elsewhere"),
    "demo": ("upramp.demo.command:main", "simulate, calibrate, compare with the truth: products, picture, summary"),
    "simulate": ("upramp.simulate.command:main", "make an exposure with known truth, its references and a cache"),
    "warmup": ("upramp.warmup:main", "compile all kernels ahead of the first run"),
}


def _parser():
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="upramp",
        description="Stage-1 calibration of infrared-detector exposures.",
        epilog=f"commands:\n{listing}\n\n'upramp COMMAND --help' explains one; pipelines are run by strun.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"upramp {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    return parser


def main(argv=None):
    """Run a subcommand.

    Parameters
    ----------
    argv : list of str or None
        Arguments after ``upramp``; None: those of the process.

    Returns
    -------
    int
        Exit status: that of the subcommand, or 1 after an error that the user can mend, with its message on
        standard error.
    """
    parsed = _parser().parse_args(argv)
    from upramp.errors import UprampError  # here, because it imports numpy

    module, function = COMMANDS[parsed.command][0].split(":")
    try:
        return getattr(import_module(module), function)(parsed.arguments)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UprampError, OSError) as error:
        print(f"upramp {parsed.command}: {error}", file=sys.stderr)
        return 1

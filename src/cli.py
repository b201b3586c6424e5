"""The command ``upramp``: dispatches to subcommands, each a function of its own arguments.

A subcommand is imported when it is called, so that ``upramp --help`` needs nothing but the standard library.
"""

import argparse
import sys
from importlib import import_module

from upramp import __version__

__all__ = ["main"]

# name: (function that takes the list of arguments and returns the exit status, one line of help)
COMMANDS = {
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
    except (UprampError, OSError) as error:
        print(f"upramp {parsed.command}: {error}", file=sys.stderr)
        return 1

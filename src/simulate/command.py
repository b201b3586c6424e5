"""The command ``upramp simulate``: exposure, truth, reference files and CRDS cache in one folder."""

import argparse
import shlex
from dataclasses import fields
from pathlib import Path

from upramp.kernels.stripes import StripePattern
from upramp.simulate.config import EFFECTS, SimulationConfig
from upramp.simulate.crds_cache import build_crds_cache
from upramp.simulate.detectors import Window
from upramp.simulate.exposure import simulate_exposure
from upramp.simulate.files import refuse_to_overwrite, write_exposure, write_truth
from upramp.simulate.headers import exposure_name
from upramp.simulate.references import make_references

__all__ = ["main"]

_EPILOG = """
Exposure (*_uncal.fits) and truth (*_truth.fits) are written to OUTDIR, reference files to OUTDIR/references, and
a CRDS cache that selects them to OUTDIR/crds. The last line printed is the command that calibrates the exposure.
"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="upramp simulate",
        description="Simulate an exposure with known truth, and all that a pipeline needs to calibrate it.",
        epilog=_EPILOG,
    )
    parser.add_argument("outdir", nargs="?", type=Path, default=Path("simulated"), metavar="OUTDIR")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    references = parser.add_argument_group("reference files")
    references.add_argument("--full-frame", action="store_true", help="cover the whole detector (not the dark)")
    references.add_argument("--inverse-linearity", action="store_true", help="with inverse linearity coefficients")
    references.add_argument("--pixelwise-ipc", action="store_true", help="an inter-pixel kernel for every pixel")
    mode = parser.add_argument_group("mode")
    effects = parser.add_argument_group("effects (a size, or --no-EFFECT)")
    for item in fields(SimulationConfig):
        _add_field(effects if "effect" in item.metadata else mode, item)
    for effect, sizes in EFFECTS.items():
        # The help of a size names its switch; an effect that is either there or not has only the switch.
        text = argparse.SUPPRESS if all(off is not False for off in sizes.values()) else f"switch {effect} noise off"
        effects.add_argument(f"--no-{effect}", dest="without", action="append_const", const=effect, help=text)
    effects.add_argument(
        "--no-effects", dest="without", action="append_const", const="all", help="switch all of these off"
    )
    return parser


def _add_field(group, item):
    """An option for a field of the configuration; a Boolean that is on by default only has its ``--no-``."""
    option, kind, text = "--" + item.name.replace("_", "-"), item.metadata["kind"], item.metadata["help"]
    if "effect" in item.metadata:
        text += f"; --no-{item.metadata['effect']}"
    if item.default is not None and kind is not bool:
        text += " [default: %(default)s]"
    if kind is bool:
        if not item.default:
            group.add_argument(option, action="store_true", help=text)
        return
    if kind is Window:
        group.add_argument(option, type=int, nargs=4, metavar=("X", "Y", "NX", "NY"), help=text)
    elif kind is StripePattern:
        group.add_argument(option, type=int, nargs=8, metavar="N", help=text)
    elif kind is tuple:
        group.add_argument(option, type=float, nargs=2, default=item.default, metavar=("LOW", "HIGH"), help=text)
    else:
        group.add_argument(option, type=kind, default=item.default, metavar=kind.__name__.upper(), help=text)


def _configuration(arguments):
    values = {item.name: getattr(arguments, item.name) for item in fields(SimulationConfig) if item.name in arguments}
    values["star_flux"] = tuple(values["star_flux"])
    if values["window"] is not None:
        values["window"] = Window(*values["window"])
    if values["stripes"] is not None:
        values["stripes"] = StripePattern(*values["stripes"])
    return SimulationConfig(**values).without(*(arguments.without or ()))


def main(argv):
    """Run the command.

    Parameters
    ----------
    argv : list of str
        Arguments after ``upramp simulate``.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ConfigError
        An option has a value outside its range.
    FileExistsError
        A file exists and ``--overwrite`` was not given.
    """
    arguments = _parser().parse_args(argv)
    config = _configuration(arguments)
    outdir = arguments.outdir.resolve()
    outdir.mkdir(parents=True, exist_ok=True)
    raw = outdir / f"{exposure_name(config)}_uncal.fits"
    truth = outdir / f"{exposure_name(config)}_truth.fits"
    for path in (raw, truth):
        refuse_to_overwrite(path, arguments.overwrite)
    exposure = simulate_exposure(config)
    make_references(
        config,
        outdir / "references",
        full_frame=arguments.full_frame,
        inverse_linearity=arguments.inverse_linearity,
        pixelwise_ipc=arguments.pixelwise_ipc,
        overwrite=arguments.overwrite,
    )
    # All files there are, so that exposures of several detectors can share the folder.
    build_crds_cache(outdir / "crds", sorted((outdir / "references").iterdir()), link=True)
    write_exposure(exposure, raw, arguments.overwrite)
    write_truth(exposure, truth, arguments.overwrite)
    print(f"Wrote {raw}")
    print(f"      {truth}")
    print(f"      {outdir / 'references'}")
    print(f"      {outdir / 'crds'}")
    print("Calibrate it with:")
    print(f"CRDS_PATH={shlex.quote(str(outdir / 'crds'))} strun calwebb_detector1 {shlex.quote(str(raw))}")
    return 0

"""Compiled corrections on plain arrays; usable without the rest of the package.

>>> from upramp.kernels import fit_ramps  # doctest: +SKIP

Every function takes and returns native numpy arrays, checks them before anything is done, and leaves its inputs as they
are. numba is imported, and a function compiled, when it is first used; the compiled code is kept on disk.
"""

from importlib import import_module

_MODULES = {
    "Chain": "chain",
    "JumpParameters": "jump",
    "ShowerParameters": "showers",
    "SnowballParameters": "snowballs",
    "calibrate": "chain",
    "correct_ipc": "ipc",
    "correct_linearity": "linearity",
    "correct_linearity_of_reads": "read_level_linearity",
    "correct_reference_pixels": "refpix",
    "detect_jumps": "jump",
    "detect_jumps_likelihood": "likelihood",
    "even_read_times": "likelihood_model",
    "find_ellipses": "regions",
    "fit_ramps": "ramp_fit",
    "fit_ramps_casertano": "casertano",
    "fit_ramps_likelihood": "likelihood",
    "fit_segments": "segment_details",
    "flag_charge_migration": "charge_migration",
    "flag_persistence": "persistence",
    "flag_saturation": "saturation",
    "flag_showers": "showers",
    "flag_snowballs": "snowballs",
    "guider_count_rates": "guider_cds",
    "init_dq": "dq_init",
    "measure_and_subtract_emi": "emicorr_sequential",
    "scale_by_gain": "gain_scale",
    "scale_groups": "group_scale",
    "subtract_dark": "dark",
    "subtract_emi": "emicorr",
    "subtract_reset": "reset",
    "subtract_superbias": "superbias",
}

__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]

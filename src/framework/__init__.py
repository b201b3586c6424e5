"""Step, Pipeline and LinearPipeline: configuration, references, saving, logging, and the command line ``strun``."""

from importlib import import_module

__all__ = ["LinearPipeline", "Pipeline", "Step", "product_name", "query_step_status", "record_step_status"]

_HOMES = {
    "LinearPipeline": "linear_pipeline",
    "Pipeline": "pipeline",
    "Step": "step",
    "product_name": "saving",
    "query_step_status": "status",
    "record_step_status": "status",
}


def __getattr__(name):
    # Loaded on demand: a script that only wants one module of this room need not pay for the others.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

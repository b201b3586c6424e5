"""Step, Pipeline and LinearPipeline: configuration, references, saving, logging, and the command line ``strun``."""

__all__ = ["LinearPipeline", "Pipeline", "Step"]


def __getattr__(name):
    # Loaded on demand: a script that only wants one module of this room need not pay for the others.
    if name == "Step":
        from upramp.framework.step import Step

        return Step
    if name == "Pipeline":
        from upramp.framework.pipeline import Pipeline

        return Pipeline
    if name == "LinearPipeline":
        from upramp.framework.linear_pipeline import LinearPipeline

        return LinearPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

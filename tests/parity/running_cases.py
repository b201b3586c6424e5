"""What users see of running steps, as a script for either package: ``running_cases.py upramp|jwst FOLDER OUTPUT``.

Every case runs in an empty folder; its result, files, calls and kind of error are written as JSON.
"""

import builtins
import json
import os
import sys
from pathlib import Path

import numpy as np

if sys.argv[1] == "jwst":
    from jwst.stpipe import Pipeline, Step
    from stdatamodels.jwst.datamodels import ImageModel
    from stpipe import crds_client

    crds_client.get_context_used = lambda *arguments, **keywords: "jwst_0001.pmap"
else:
    from upramp.framework import Pipeline, Step
    from upramp.models import ImageModel

FILE = "x_nrca1_rate.fits"
calls = []


class AddStep(Step):
    """Add a number."""

    class_alias = "linearity"
    spec = "val = float(default=1.0)"

    def process(self, data):
        calls.append(["process", self.name, type(data).__name__])
        model = self.prepare_output(data)
        model.data = model.data + self.val
        return model


class Two(AddStep):
    """Two results."""

    def process(self, data):
        model = super().process(data)
        return model, model.copy()


class Nothing(AddStep):
    """No result."""

    def process(self, data):
        return None


class Inner(Pipeline):
    """Add twice."""

    class_alias = "inner"
    step_defs = {"one": AddStep, "two": AddStep}  # noqa: RUF012

    def process(self, data):
        return self.two.run(self.one.run(data))


class Outer(Pipeline):
    """A pipeline in a pipeline."""

    class_alias = "outer"
    step_defs = {"inner": Inner, "last": AddStep}  # noqa: RUF012

    def process(self, data):
        return self.last.run(self.inner.run(data))


def before(*arguments):
    calls.append(["before", *(type(one).__name__ for one in arguments)])


def after(*arguments):
    calls.append(["after", *(type(one).__name__ for one in arguments)])


def other(model):
    new = model.copy()
    new.data = new.data - 100
    return new


def image(name=FILE):
    model = ImageModel(np.zeros((3, 3), np.float32))
    if name:
        model.meta.filename = name
    return model


def file():
    image().save(FILE)
    return FILE


def _saved_by_hand():
    step, model = AddStep(), image()
    return [
        step.save_model(model),
        step.save_model(model, "opt", force=True),
        step.save_model(model, idx=3, output_file="a"),
        step.save_model(model, "q", output_file="a", asn="c"),
    ]


def _names():
    step, pipe = AddStep(), Inner(suffix="ss", output_file="zz.fits")
    return [
        step.make_output_path("a-uncal.fits"),
        step.make_output_path("a_b_uncal.fits", suffix=False),
        step.make_output_path("a_fitopt.fits", suffix="x"),
        step.make_output_path("a_uncal.fits", ext="asdf", idx=2),
        step.make_output_path("a_residual_fringe.fits", suffix="x"),
        step.make_output_path(),
        pipe.one.make_output_path(),
        pipe.one.make_output_path("k_rate.fits"),
        pipe.make_output_path(),
    ]


def _attributes():
    step = AddStep(output_file="a")
    step.run(file())
    return [step.suffix, step.input_dir, step.skip, step.save_results]


def _hooked(**hooks):
    return {"one": {key: [value] for key, value in hooks.items()}}


skip = {"skip": True}
save = {"save_results": True}
CASES = {
    "run on a model": lambda: AddStep().run(image()),
    "run on a file": lambda: AddStep().run(file()),
    "call": lambda: AddStep.call(file(), val=4),
    "process": lambda: AddStep(save_results=True).process(image()),
    "save": lambda: AddStep(**save).run(file()),
    "save without a name": lambda: AddStep(**save).run(image(None)),
    "save with the name of a step": lambda: AddStep("myname", **save).run(file()),
    "save with a suffix": lambda: AddStep(suffix="cal", **save).run(file()),
    "output_file": lambda: AddStep(output_file="foo").run(file()),
    "output_file with a folder": lambda: AddStep(output_file="sub/foo.fits").run(file()),
    "output_file with a suffix": lambda: AddStep(output_file="foo_rate.fits").run(file()),
    "output_dir": lambda: AddStep(output_dir="o/p", **save).run(file()),
    "output_dir without saving": lambda: AddStep(output_dir="o/p").run(file()),
    "two results": lambda: Two(**save).run(file()),
    "two results after their models": lambda: Two(output_use_model=True, **save).run(file()),
    "no result": lambda: Nothing(**save).run(file()),
    "skip alone": lambda: AddStep(**skip).run(image()),
    "skip in a pipeline": lambda: Inner(steps={"one": skip, "two": skip}).run(image()),
    "skip with a file": lambda: Inner(steps={"one": skip}).run(file()),
    "skip with hooks": lambda: Inner(
        steps={"one": skip | _hooked(pre_hooks="__main__.before", post_hooks="__main__.after")["one"]}
    ).run(image()),
    "skip a pipeline": lambda: Outer(steps={"inner": skip}).run(image()),
    "skip and save": lambda: Inner(steps={"one": skip | save}).run(file()),
    "order of hooks": lambda: Inner(
        pre_hooks=["__main__.before"],
        post_hooks=["__main__.after"],
        steps=_hooked(pre_hooks="__main__.before", post_hooks="__main__.after"),
    ).run(file()),
    "hook on two results": lambda: Two(post_hooks=["__main__.after"]).run(file()),
    "hook that replaces": lambda: AddStep(post_hooks=["__main__.other"]).run(image()),
    "hook before that replaces": lambda: AddStep(pre_hooks=["__main__.other"]).run(image()),
    "hook of a class": lambda: AddStep(post_hooks=[AddStep]).run(image()),
    "hook of an instance": lambda: AddStep(post_hooks=[AddStep(val=5)]).run(image()),
    "hook of a call": lambda: AddStep(post_hooks=["__main__.AddStep(val=3)"]).run(image()),
    "hook that saves": lambda: AddStep(post_hooks=["__main__.AddStep(save_results=True)"]).run(file()),
    "hook of a command": lambda: AddStep(pre_hooks=["cp {0} copied"]).run(file()),
    "hook of a command that fails": lambda: AddStep(pre_hooks=["exit 3"]).run(file()),
    "hooks given as text": lambda: AddStep(post_hooks="__main__.after").run(image()),
    "sub-steps save": lambda: Inner(output_dir="q", steps={"one": save}, **save).run(file()),
    "names of sub-steps": lambda: Inner(
        output_file="foo_bar_cal.fits", suffix="rate", steps={"one": save, "two": {"output_file": "mine.fits"}}
    ).run(file()),
    "nested": lambda: Outer(steps={"inner": save | {"steps": {"one": save | {"val": 5}}}}, **save).run(file()),
    "no search for names": lambda: Inner(
        output_file="foo.fits", steps={"one": {"output_file": "bar"}, "two": {"search_output_file": False} | save}
    ).run(file()),
    "save_model": _saved_by_hand,
    "make_output_path": _names,
    "attributes after a run": _attributes,
    "unknown parameter": lambda: AddStep(vall=3),
}


def _shown(result):
    if hasattr(result, "get_crds_parameters"):
        logs = getattr(result, "cal_logs", None)
        names = sorted(logs.instance) if logs is not None else []
        return [float(result.data[0, 0]), result.meta.filename, result.meta.cal_step.linearity, names]
    if isinstance(result, list | tuple):
        return [type(result).__name__, *map(_shown, result)]
    return repr(result)


def _kind(error):
    """The builtin class that a caller would catch."""
    return next(kind.__name__ for kind in type(error).__mro__ if hasattr(builtins, kind.__name__))


def main():
    """Run all cases."""
    found = {}
    for number, (name, run) in enumerate(CASES.items()):
        folder = Path(sys.argv[2], str(number))
        folder.mkdir(parents=True)
        os.chdir(folder)
        calls.clear()
        result = error = None
        try:
            result = run()
        except Exception as caught:
            error = _kind(caught)
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        folders = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir())
        found[name] = {"result": _shown(result), "error": error, "files": files, "folders": folders, "calls": calls[:]}
    Path(sys.argv[3]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()

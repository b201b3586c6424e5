"""The record of a run, and the log of the run in the product."""

import copy
import datetime
import getpass
import json
import logging
import pickle
import re
import socket
import threading

import numpy as np
import pytest

from upramp.errors import ConfigError
from upramp.framework import Pipeline, Step
from upramp.models import ImageModel


def _image():
    return ImageModel(np.ones((4, 4), np.float32))


class CountStep(Step):
    def process(self, data):
        self.note_counts(ones=int((data.data == 1).sum()))
        return data


def test_record_of_a_pipeline(tiny):
    pipe = tiny.OuterPipeline(
        steps={"gain": {"skip": True}, "needs": {"override_gain": "N/A", "override_readnoise": ""}}
    )
    before = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    pipe.run(_image())
    record = pipe.run_record.as_dict()
    started, ended = (datetime.datetime.fromisoformat(record[key]) for key in ("started", "ended"))
    assert before - datetime.timedelta(seconds=1) <= started <= ended
    assert (record["name"], record["class_name"], record["input"]) == (
        "OuterPipeline",
        "tiny_steps.OuterPipeline",
        "ImageModel",
    )
    steps = {entry["name"].removeprefix("OuterPipeline."): entry for entry in record["steps"]}
    assert list(steps) == ["OuterPipeline", "pp", "pp.one", "pp.two", "gain", "needs"]
    status = {name: entry["status"] for name, entry in steps.items()}
    assert status == {
        "OuterPipeline": "DONE",
        "pp": "DONE",
        "pp.one": "COMPLETE",
        "pp.two": "COMPLETE",
        "gain": "SKIPPED",
        "needs": "SKIPPED",
    }
    assert steps["needs"]["reason"] == "a reference is N/A"
    assert 0 <= steps["pp.one"]["seconds"] <= steps["pp"]["seconds"] <= steps["OuterPipeline"]["seconds"]
    assert steps["pp.one"]["peak_memory"] > 10e6
    assert record["platform"]["cpus"] >= 1 and set(record["software"]) >= {"upramp", "python", "numpy"}


def test_record_as_a_file(tiny, exposure, workdir):
    (workdir / "in").mkdir()
    (workdir / exposure).rename(workdir / "in" / exposure)
    step = tiny.AddStep(save_results=True, output_dir="out")
    step.run(f"in/{exposure}")
    step.run_record.save("record.json")
    record = json.loads((workdir / "record.json").read_text())
    assert record["input"] == exposure and record["products"] == ["x_nrca1_addstep.fits"]
    assert str(workdir) not in (workdir / "record.json").read_text()


def test_counts_of_steps(tiny, caplog):
    class Counting(Pipeline):
        step_defs = {"a": CountStep, "b": tiny.AddStep, "c": CountStep}  # noqa: RUF012

        def process(self, data):
            return self.c(self.b(self.a(data)))

    pipe = Counting()
    result = pipe(_image())
    assert pipe.run_record.steps["Counting.a"].counts == {"ones": 16}
    assert pipe.run_record.steps["Counting.c"].counts == {"ones": 0}
    assert any(line.endswith("INFO - Step a counted ones: 16") for line in result.cal_logs["Counting"])


def test_record_of_a_run_that_fails(tiny):
    class Broken(Pipeline):
        step_defs = {"one": tiny.AddStep, "fail": tiny.FailStep}  # noqa: RUF012

        def process(self, data):
            return self.fail.run(self.one.run(data))

    pipe = Broken()
    with pytest.raises(ConfigError):
        pipe.run(_image())
    status = {name: entry.status for name, entry in pipe.run_record.steps.items()}
    assert status == {"Broken": "FAILED", "Broken.one": "COMPLETE", "Broken.fail": "FAILED"}
    assert pipe.run_record.ended is not None


def test_steps_that_are_run_outside_of_the_run_of_their_pipeline(tiny):
    pipe = tiny.TinyPipeline()
    assert (pipe.one.run(_image()).data == 5).all()
    assert list(pipe.run_record.steps) == ["TinyPipeline.one"]
    assert (pipe.two.process(_image()).data == 5).all()
    assert (tiny.AddStep().process(_image()).data == 5).all()


def test_steps_can_be_called_copied_and_pickled(tiny):
    step = tiny.AddStep(val=2)
    assert (step(_image()).data == 3).all()
    assert (copy.deepcopy(step).run(_image()).data == 3).all()
    assert (pickle.loads(pickle.dumps(step)).run(_image()).data == 3).all()


# ---- the log in the product ----------------------------------------------------------------------------------


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} - [\w.]+ - [A-Z]+ - .+", re.DOTALL)


def test_the_product_has_the_log_whatever_the_level(tiny, exposure):
    pipe = tiny.TinyPipeline(save_results=True)
    pipe.run(exposure)
    with ImageModel("x_nrca1_tinypipeline.fits") as model:
        lines = model.cal_logs["tiny_pipe"]
    assert all(LINE.fullmatch(line) for line in lines)
    text = [line.split(" - ", 3)[3] for line in lines]
    assert re.fullmatch(r"Run of tiny_steps.TinyPipeline started at \S+ UTC", text[0])
    assert text[1].startswith("Software: upramp ") and text[2].startswith("Platform: ")
    assert re.fullmatch(r"Step one done in \d+\.\d\d s, peak memory \d+ MB", text[3])
    assert re.fullmatch(r"Run of tiny_steps.TinyPipeline has its results at \S+ UTC", text[-1])
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(now - datetime.datetime.fromisoformat(lines[0].split(" - ")[0])) < datetime.timedelta(minutes=5)


def test_everything_that_a_run_saves_has_the_log(tiny, exposure):
    pipe = tiny.TinyPipeline(save_results=True, steps={"one": {"save_results": True}})
    pipe.run(exposure)
    for name in ("x_nrca1_one.fits", "x_nrca1_tinypipeline.fits"):
        with ImageModel(name) as model:
            assert list(model.to_flat_dict(include_arrays=False)["cal_logs.tiny_pipe.0"].split(" - ")[2:3]) == ["INFO"]


def test_logs_of_earlier_runs_are_carried_along(tiny, exposure):
    tiny.AddStep(save_results=True).run(exposure)
    tiny.TinyPipeline(save_results=True, suffix="q").run("x_nrca1_addstep.fits")
    with ImageModel("x_nrca1_addstep_q.fits") as model:
        assert model.cal_logs["tiny_add"] and model.cal_logs["tiny_pipe"]


def test_nothing_private_is_stored(tiny, workdir, exposure):
    (workdir / "secret place").mkdir()
    (workdir / exposure).rename(workdir / "secret place" / exposure)
    Step.from_cmdline(
        [
            "tiny_steps.AddStep",
            str(workdir / "secret place" / exposure),
            f"--post_hooks=echo {getpass.getuser()} at {socket.gethostname()} 10.1.2.3,",
        ]
    )
    content = (workdir / "x_nrca1_addstep.fits").read_bytes()
    assert b"Spawning" not in content and socket.gethostname().encode() not in content
    assert b"10.1.2.3" not in content
    assert str(workdir).encode() not in content


def test_the_peer_reads_the_log(tiny, exposure):
    datamodels = pytest.importorskip("stdatamodels.jwst.datamodels")
    tiny.TinyPipeline.call(exposure, save_results=True)
    with ImageModel("x_nrca1_tinypipeline.fits") as ours, datamodels.open("x_nrca1_tinypipeline.fits") as theirs:
        assert list(theirs.cal_logs.tiny_pipe) == list(ours.cal_logs["tiny_pipe"])
        assert len(theirs.cal_logs.tiny_pipe) > 10


def test_runs_in_threads_have_their_own_logs(tiny):
    class Talk(Step):
        def process(self, data):
            barrier.wait(30)
            self.log.warning("this is %s", self.name)
            barrier.wait(30)
            helper = threading.Thread(target=self.log.warning, args=("from a thread",))
            helper.start()
            helper.join()
            barrier.wait(30)
            return data

    barrier = threading.Barrier(3)
    steps = [Talk(name=f"talk{n}") for n in range(3)]
    threads = [threading.Thread(target=step.run, args=(_image(),)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, step in enumerate(steps):
        said = [line for line in step.log_records if "this is" in line]
        assert len(said) == 1 and said[0].endswith(f"this is talk{n}")
    assert logging.getLogger("upramp").handlers == []


def test_calls_in_threads_do_not_take_the_log_from_each_other():
    first_is_in, second_is_in, first_is_done = (threading.Event() for _ in range(3))

    class First(Step):
        def process(self, data):
            first_is_in.set()
            assert second_is_in.wait(30)
            return data

    class Second(Step):
        def process(self, data):
            second_is_in.set()
            assert first_is_done.wait(30)
            logging.getLogger("upramp.test").info("still here")
            return data

    logger = logging.getLogger("upramp")
    before = (logger.level, list(logger.handlers))
    results = []
    second = threading.Thread(target=lambda: results.append(Second.call(_image())))
    first = threading.Thread(target=lambda: (First.call(_image()), first_is_done.set()))
    first.start()
    assert first_is_in.wait(30)
    second.start()
    first.join()
    second.join()
    assert any(line.endswith("still here") for line in results[0].cal_logs["Second"])
    assert (logger.level, logger.handlers) == before


def test_the_root_logger_is_never_touched(tiny, exposure):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters), logging.lastResort)
    seen = []

    class Look(Step):
        def process(self, data):
            seen.append((root.level, list(root.handlers), list(root.filters), logging.lastResort))
            return self.prepare_output(data)

    Look().run(exposure)
    Look.call(exposure)
    assert seen == [before, before]
    assert (root.level, root.handlers, root.filters, logging.lastResort) == before

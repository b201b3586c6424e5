"""Linear pipelines: stop, resume, stale states, kills."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from upramp.errors import ConfigError, StateError
from upramp.framework import LinearPipeline, Pipeline, Step
from upramp.models import ImageModel

STEPS = Path(__file__).parent / "steps_for_tests"
EXPECTED = (((0 + 1.5) * 3.0) ** 2) ** 2 + 1.5


@pytest.fixture
def line(tiny):
    import line_steps

    return line_steps


def _ran():
    names = Path("ran").read_text().split() if Path("ran").exists() else []
    Path("ran").unlink(missing_ok=True)
    return names


# ---- the class -----------------------------------------------------------------------------------------------


def test_the_class_says_what_is_wrong_with_it(line):
    with pytest.raises(ValueError, match="'Empty' LinearPipeline subclass defines no pipeline_steps"):
        type("Empty", (LinearPipeline,), {})
    with pytest.raises(ValueError, match="several pipeline_steps called a; names are unique"):
        type("Twice", (LinearPipeline,), {"pipeline_steps": [("a", line.PlusStep), ("a", line.TimesStep)]})
    with pytest.raises(TypeError, match="'b' in step_defs is not a Step subclass"):
        type("Wrong", (LinearPipeline,), {"pipeline_steps": [("b", int)]})
    assert list(line.LinePipeline.step_defs) == ["plus", "times", "mark", "again", "last"]


def test_a_run_from_the_first_step_to_the_last(line, exposure):
    result = line.LinePipeline().run(exposure)
    assert (result.data == EXPECTED).all()
    assert _ran() == ["mark", "again"]


@pytest.mark.parametrize(
    ("pars", "message"),
    [
        ({"start_step": "tims"}, "start_step 'tims' not found; did you mean 'times'"),
        ({"end_step": "xyz"}, "end_step 'xyz' not found; the steps are plus, times"),
        ({"start_step": "mark", "end_step": "times"}, "start_step 'mark' comes after end_step 'times'"),
    ],
)
def test_steps_that_are_not_there(line, exposure, pars, message):
    with pytest.raises(ConfigError, match=message):
        line.LinePipeline(**pars).run(exposure)
    assert [path.name for path in Path().iterdir()] == [exposure]


# ---- stop and resume -----------------------------------------------------------------------------------------


def test_stop_is_inclusive_and_returns_the_result(line, exposure):
    result = line.LinePipeline(end_step="times").run(exposure)
    assert (result.data == 4.5).all() and _ran() == []
    assert sorted(path.name for path in Path().iterdir()) == [
        "x_nrca1_LinePipeline.plus.fits",
        "x_nrca1_LinePipeline.plus.json",
        "x_nrca1_LinePipeline.times.fits",
        "x_nrca1_LinePipeline.times.json",
        exposure,
    ]
    with ImageModel("x_nrca1_LinePipeline.times.fits") as state:
        assert (state.data == 4.5).all()


def test_stop_and_start_as_attributes_of_one_instance(line, exposure):
    class Double(Step):
        def process(self, image):
            with ImageModel(image) as given:
                new = ImageModel()
                new.data = given.data * 2
                return new

    class Doubling(LinearPipeline):
        pipeline_steps = (("multiply", Double), ("multiply2", Double), ("multiply3", Double))

    with ImageModel(exposure) as image:
        image.data[...] = 1
        image.save(exposure)
    pipe = Doubling()
    pipe.end_step = "multiply2"
    assert (pipe.run(str(Path(exposure).absolute())).data == 4).all()
    pipe.start_step, pipe.end_step = "multiply3", None
    assert (pipe.run(str(Path(exposure).absolute())).data == 8).all()
    assert list(pipe.run_record.steps) == ["Doubling", "Doubling.multiply3"]


def test_stop_and_start_in_parameter_files(strun_here, line, exposure):
    for name, text in (("stop.cfg", "end_step = mark"), ("go.cfg", "start_step = again")):
        Path(name).write_text(f"class = line_steps.LinePipeline\nname = LinePipeline\n{text}\n")
        done = strun_here(name, exposure)
        assert done.status == 0, done.out
    with ImageModel("x_nrca1_linepipeline.fits") as product:
        assert (product.data == EXPECTED).all()


def test_every_way_to_cut_it_gives_the_same(line, exposure):
    whole = line.LinePipeline(output_dir="whole").run(exposure)
    keys = list(line.LinePipeline.step_defs)
    for cut in range(1, 5):
        folder = f"cut{cut}"
        line.LinePipeline(end_step=keys[cut - 1], output_dir=folder).run(exposure)
        _ran()
        result = line.LinePipeline(start_step=keys[cut], output_dir=folder).run(exposure)
        assert result.data.tobytes() == whole.data.tobytes()
        assert result.history == whole.history
        assert _ran() == [key for key in keys[cut:] if key in ("mark", "again")]


def test_one_step_at_a_time_on_the_command_line(strun, line, exposure):
    for key in line.LinePipeline.step_defs:
        done = strun("line_steps.LinePipeline", exposure, f"--start_step={key}", f"--end_step={key}")
        assert done.status == 0, done.out + done.err
    with ImageModel("x_nrca1_linepipeline.fits") as product:
        assert (product.data == EXPECTED).all()
        lines = product.cal_logs["line"]
    # The log of the product has all of the run, also what was logged in the processes before.
    assert sum("Step plus running with args" in text for text in lines) == 1
    assert sum("Step last running with args" in text for text in lines) == 1
    # The result of a run that stopped is not called like the product.
    assert Path("x_nrca1_times.fits").exists()


def test_a_whole_run_can_be_taken_up_anywhere_afterwards(line, exposure):
    line.LinePipeline().run(exposure)
    result = line.LinePipeline(start_step="last", steps={"last": {"val": 100}}).run(exposure)
    assert (result.data == EXPECTED - 1.5 + 100).all()


def test_states_that_are_not_to_be_kept(line, exposure):
    line.LinePipeline(keep_state=False, end_step="mark").run(exposure)
    assert len(list(Path().glob("*.json"))) == 3
    line.LinePipeline(keep_state=False, resume=True).run(exposure)
    assert not list(Path().glob("x_nrca1_LinePipeline*")) and not list(Path().glob(".x*"))


def test_skipped_steps_and_steps_that_return_several(line, tiny, exposure):
    class Odd(LinearPipeline):
        pipeline_steps = (("skipped", line.PlusStep), ("two", tiny.TwoResultsStep), ("pick", Pick))

    Odd(end_step="two", steps={"skipped": {"skip": True}}).run(exposure)
    record = json.loads(Path("x_nrca1_Odd.two.json").read_text())
    assert [entry["file"] for entry in record["files"]] == ["x_nrca1_Odd.two.0.fits", "x_nrca1_Odd.two.1.fits"]
    result = Odd(start_step="pick", steps={"skipped": {"skip": True}}).run(exposure)
    assert (result.data == 4).all()
    assert (Odd(start_step="two", steps={"skipped": {"skip": True}}).run(exposure).data == 4).all()


def test_references_of_pipelines_in_the_line(line, tiny, exposure):
    class Odd(LinearPipeline):
        pipeline_steps = (("outer", tiny.OuterPipeline), ("after", line.PlusStep))

    Path("gain.txt").write_text("this")
    needs = {"override_gain": "gain.txt", "override_readnoise": "N/A"}
    steps = {"outer": {"steps": {"needs": needs, "pp": {"steps": {"one": {"val": 2}}}}}}
    Odd(end_step="outer", steps=steps).run(exposure)
    references = json.loads(Path("x_nrca1_Odd.outer.json").read_text())["description"]["steps"]["outer"]["references"]
    assert set(references) == {"gain.gain", "needs.gain", "needs.readnoise"}
    assert (Odd(start_step="after", steps=steps).run(exposure).data == 2 + 4 + 1.5).all()
    steps["outer"]["steps"]["pp"]["steps"]["one"]["val"] = 3
    with pytest.raises(StateError, match=r"steps\.outer\.steps\.pp\.steps\.one\.parameters\.val was 2 and is 3"):
        Odd(start_step="after", steps=steps).run(exposure)
    steps["outer"]["steps"]["pp"]["steps"]["one"]["val"] = 2
    Path("gain.txt").write_text("other")
    with pytest.raises(StateError, match=r"steps\.outer\.references\.needs\.gain\.content has changed"):
        Odd(start_step="after", steps=steps).run(exposure)


class Pick(Step):
    def process(self, data):
        assert isinstance(data, tuple)
        return data[1]


def test_results_that_are_no_models_have_no_state(line, exposure, caplog):
    class Count(Step):
        def process(self, data):
            return 5

    class Counting(LinearPipeline):
        pipeline_steps = (("count", Count), ("after", Count))

    assert Counting().run(exposure) == 5
    assert "The result of count is no model (int); its state is not saved" in caplog.text
    with pytest.raises(StateError, match="there is no state x_nrca1_Counting.count.json"):
        Counting(start_step="after").run(exposure)


def test_a_model_as_input(line):
    model = ImageModel(np.arange(6, dtype=np.float32).reshape(2, 3))
    model.meta.filename = "y_rate.fits"
    line.LinePipeline(end_step="times").run(model)
    assert (model.data == np.arange(6).reshape(2, 3)).all()
    assert (line.LinePipeline(start_step="mark").run(model).data == ((model.data + 1.5) * 3) ** 4 + 1.5).all()
    model.data[0, 0] = 7
    with pytest.raises(StateError, match=r"input\.content has changed"):
        line.LinePipeline(start_step="mark").run(model)


def test_inside_of_another_pipeline(line, tiny, exposure):
    class Outer(Pipeline):
        step_defs = {"add": tiny.AddStep, "line": line.LinePipeline}  # noqa: RUF012

        def process(self, data):
            return self.line(self.add(data))

    whole = Outer(output_dir="a").run(exposure)
    Outer(steps={"line": {"end_step": "mark"}}).run(exposure)
    assert Path("x_nrca1_Outer.line.mark.json").exists()
    result = Outer(steps={"line": {"start_step": "again"}}).run(exposure)
    assert result.data.tobytes() == whole.data.tobytes()


# ---- stale states --------------------------------------------------------------------------------------------


def _change_input(exposure):
    with ImageModel(exposure) as model:
        model.data[0, 0] = 9
        model.save(exposure)


def _damage(exposure):
    path = Path("x_nrca1_LinePipeline.mark.fits")
    content = bytearray(path.read_bytes())
    content[content.index(b"XTENSION") + 2900] ^= 1
    path.write_bytes(content)


def _change_reference(exposure):
    Path("gain.txt").write_text("other")


def _change_table(exposure):
    Path("table.txt").write_text("other")


def _nothing(exposure):
    pass


@pytest.mark.parametrize(
    ("change", "pars", "message"),
    [
        (_change_input, {}, r"input\.content has changed"),
        (_nothing, {"steps": {"plus": {"val": 2}}}, r"steps\.plus\.parameters\.val was 1\.5 and is 2"),
        (_nothing, {"steps": {"plus": {"skip": True}}}, r"steps\.plus\.parameters\.skip was False and is True"),
        (_nothing, {"steps": {"times": {"post_hooks": ["tiny_steps.double"]}}}, r"steps\.times\.hooks"),
        (_change_reference, {}, r"steps\.times\.references\.gain\.content has changed"),
        (_change_table, {}, r"steps\.plus\.parameters\.table has changed"),
        (_damage, {}, r"LinePipeline\.mark\.fits is not what was saved"),
        (lambda _: Path("x_nrca1_LinePipeline.mark.fits").unlink(), {}, r"mark\.fits is missing"),
        (lambda _: Path("x_nrca1_LinePipeline.mark.json").unlink(), {}, r"there is no state"),
        (lambda _: Path("x_nrca1_LinePipeline.mark.json").write_text("{"), {}, r"is not readable"),
    ],
)
def test_stale_states_are_refused_or_redone(line, exposure, change, pars, message):
    Path("gain.txt").write_text("this")
    Path("table.txt").write_text("this")
    always = {"plus": {"table": "table.txt"}, "times": {"override_gain": "gain.txt"}}
    line.LinePipeline(end_step="mark", steps=always).run(exposure)
    change(exposure)
    steps = {key: always.get(key, {}) | pars.get("steps", {}).get(key, {}) for key in always}
    with pytest.raises(StateError, match=f"(?s)state after mark is not usable:.*{message}.*resume=True"):
        line.LinePipeline(start_step="again", steps=steps).run(exposure)
    fresh = line.LinePipeline(output_dir="fresh", steps=steps).run(exposure)
    redone = line.LinePipeline(resume=True, steps=steps).run(exposure)
    assert redone.data.tobytes() == fresh.data.tobytes()


def test_a_new_version_makes_states_stale(line, exposure, monkeypatch):
    line.LinePipeline(end_step="mark").run(exposure)
    monkeypatch.setattr("upramp.framework.fingerprints._own_code_checksum", lambda: "0" * 64)
    with pytest.raises(StateError, match=r"pipeline\.code has changed|is not usable"):

        class Later(line.LinePipeline):
            __module__, __qualname__ = line.__name__, "LinePipeline"

        monkeypatch.setattr("upramp.framework.fingerprints._code_checksum", lambda cls: "1" * 64)
        Later(name="LinePipeline", start_step="again").run(exposure)


def test_what_does_not_change_results_does_not_make_states_stale(line, exposure):
    line.LinePipeline(end_step="mark", steps={"plus": {"save_results": True}}).run(exposure)
    _ran()
    line.LinePipeline(start_step="again", suffix="q", save_results=True, steps={"last": {"val": 7}}).run(exposure)
    assert _ran() == ["again"] and Path("x_nrca1_q.fits").exists()


def test_only_what_follows_a_change_is_done_again(line, exposure, caplog):
    line.LinePipeline().run(exposure)
    _ran()
    line.LinePipeline(resume=True, steps={"again": {"val": 1}}).run(exposure)
    assert _ran() == ["again"]
    line.LinePipeline(resume=True, steps={"mark": {"val": 1}, "again": {"val": 1}}).run(exposure)
    assert _ran() == ["mark", "again"]
    caplog.clear()
    line.LinePipeline(resume=True, start_step="again", steps={"mark": {"val": 2}}).run(exposure)
    assert _ran() == ["mark", "again"]


# ---- kills and other runs ------------------------------------------------------------------------------------


def _command(*arguments):
    code = "import sys; from upramp.framework.strun import main; sys.exit(main())"
    return [sys.executable, "-c", code, "line_steps.LinePipeline", *arguments]


def _environment(**more):
    return {**os.environ, "PYTHONPATH": str(STEPS), "STPIPE_DISABLE_CRDS_STEPPARS": "true", **more}


def _content(path):
    """Everything in a product but its date and its log; arrays as bytes."""
    with ImageModel(path) as model:
        return {
            name: value.tobytes() if isinstance(value, np.ndarray) else value
            for name, value in model.to_flat_dict().items()
            if name != "meta.date" and not name.startswith("cal_logs")
        }


@pytest.mark.parametrize("resume", ["--start_step=again", "--resume=true"])
def test_killed_and_resumed_in_another_process(exposure, strun, resume):
    done = subprocess.run(_command(exposure), env=_environment(KILL_IN="again"), capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not Path("x_nrca1_linepipeline.fits").exists()
    assert _ran() == ["mark", "again"]
    done = strun("line_steps.LinePipeline", exposure, resume)
    assert done.status == 0, done.out + done.err
    assert _ran() == ["again"]
    assert strun("line_steps.LinePipeline", exposure, "--output_dir=whole").status == 0
    assert _content("x_nrca1_linepipeline.fits") == _content("whole/x_nrca1_linepipeline.fits")


def test_killed_again_and_again_at_any_moment(workdir, strun):
    """Kills hit imports, steps, and states half-written; nothing that is there under its name is ever incomplete."""
    model = ImageModel(np.random.default_rng(1).normal(size=(1500, 1500)).astype(np.float32))
    model.save("big_rate.fits")
    started = time.monotonic()
    subprocess.run(_command("big_rate.fits", "--output_dir=whole"), env=_environment(), check=True, capture_output=True)
    seconds = time.monotonic() - started
    for part in (0.5, 0.65, 0.75, 0.85, 0.95):
        process = subprocess.Popen(
            _command("big_rate.fits", "--resume=true"),
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(part * seconds)
        process.kill()
        process.wait()
        for path in workdir.glob("*.fits"):
            with ImageModel(path) as found:
                assert np.isfinite(found.data).all()
    done = strun("line_steps.LinePipeline", "big_rate.fits", "--resume=true")
    assert done.status == 0, done.out + done.err
    assert _content("big_linepipeline.fits") == _content("whole/big_linepipeline.fits")
    assert not list(workdir.glob(".*"))


def test_two_runs_at_once_do_not_share_states(line, exposure):
    inside, leave = threading.Event(), threading.Event()

    def wait(model):
        inside.set()
        assert leave.wait(60)

    steps = {"times": {"post_hooks": [wait]}}
    first = line.LinePipeline(steps=steps)
    thread = threading.Thread(target=first.run, args=(exposure,))
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(StateError, match=rf"Another run \(process {os.getpid()}\) has the states"):
            line.LinePipeline().run(exposure)
    finally:
        leave.set()
        thread.join()
    assert (line.LinePipeline(start_step="last", steps=steps).run(exposure).data == EXPECTED).all()


def test_a_lock_that_was_left_behind_is_no_obstacle(line, exposure):
    Path(".x_nrca1_LinePipeline.lock").write_text("1")
    Path(".x_nrca1_LinePipeline.mark.fits.abc.part").write_text("half")
    line.LinePipeline().run(exposure)
    assert not list(Path().glob(".x*"))

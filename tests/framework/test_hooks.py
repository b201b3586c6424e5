"""Hooks before and after a step."""

import functools
import logging
from pathlib import Path

import numpy as np
import pytest

from upramp.errors import ConfigError, HookError
from upramp.models import ImageModel


@pytest.fixture
def model():
    return ImageModel(np.ones((2, 2), dtype=np.float32))


def test_function_that_changes_in_place(tiny, model):
    assert (tiny.AddStep(post_hooks=["tiny_steps.double"]).run(model).data == 10).all()
    assert (tiny.AddStep(post_hooks=[tiny.double]).run(model).data == 10).all()


def test_returned_value_replaces(tiny, model):
    step = tiny.AddStep(post_hooks=["tiny_steps.replace_by_none_then_copy"])
    assert (step.run(model).data == -1).all()
    step = tiny.AddStep(pre_hooks=["tiny_steps.replace_by_none_then_copy"])
    assert (step.run(model).data == 3).all()
    assert (model.data == 1).all()


def test_step_class_instance_and_call_form(tiny, model):
    for hook in (tiny.AddStep, "tiny_steps.AddStep", tiny.AddStep(), "tiny_steps.AddStep(val=4.0, n=1)"):
        assert (tiny.AddStep(post_hooks=[hook]).run(model).data == 9).all()


def test_hooks_of_sub_steps_run_when_skipped(tiny, model):
    steps = {"one": {"skip": True, "post_hooks": ["tiny_steps.double"]}}
    assert (tiny.TinyPipeline(steps=steps).run(model).data == 6).all()


def test_function_objects_of_every_kind(tiny, model):
    class Adder:
        def __call__(self, model):
            model.data[...] += 1

    for hook in (lambda m: tiny.double(m), functools.partial(_scale, factor=2), Adder().__call__, Adder()):
        result = tiny.AddStep(post_hooks=[hook]).run(model)
        assert result.data[0, 0] in (10, 6)


def _scale(model, factor):
    model.data[...] *= factor


def test_hooks_of_the_result_get_it_as_it_is(tiny, model):
    seen = []
    tiny.TwoResultsStep(post_hooks=[seen.append]).run(model)
    assert isinstance(seen[0], tuple) and len(seen[0]) == 2


def test_any_returned_value_replaces_all_arguments(tiny, model):
    assert tiny.AddStep(post_hooks=[lambda m: "text"]).run(model) == "text"
    seen = []
    step = tiny.AddStep(pre_hooks=[lambda *args: model, lambda *args: seen.append(args)])
    step.run("nosuch.fits", 2)
    assert seen == [(model,)]


def test_a_pre_hook_gets_what_the_step_is_given(tiny, exposure):
    seen = []
    tiny.AddStep(pre_hooks=[seen.append]).run(exposure)
    assert seen == [exposure]


def test_hooks_that_are_set_later(tiny, model):
    step = tiny.AddStep()
    step.post_hooks = [tiny.double]
    assert (step.run(model).data == 10).all()
    step.post_hooks.append(tiny.double)
    assert (step.run(model).data == 20).all()
    step.post_hooks = "tiny_steps.double"
    with pytest.raises(ConfigError, match=r"post_hooks of AddStep is the text 'tiny_steps.double'; expected a list"):
        step.run(model)


@pytest.mark.parametrize("text", ["tiny_steps.AddStep(val=2.5, n=2)", " tiny_steps.AddStep( n=2,val=2.5 ) "])
def test_dots_and_commas_in_calls(tiny, model, text):
    assert (tiny.AddStep(post_hooks=[text]).run(model).data == 10).all()


def times(model, factor):
    """A hook with a parameter."""
    model.data[...] *= factor


def test_calls_of_functions_bind_their_parameters(tiny, model, monkeypatch):
    monkeypatch.setattr(tiny, "times", times, raising=False)
    assert (tiny.AddStep(post_hooks=["tiny_steps.times(factor=0.5)"]).run(model).data == 2.5).all()


def test_commas_on_the_command_line(strun_here, exposure):
    for option in (
        "tiny_steps.AddStep(val=2.5, n=2),",
        "tiny_steps.AddStep(val=2.5,n=2)",
        '"tiny_steps.AddStep(val=2.5,n=2)",',
    ):
        done = strun_here("tiny_steps.TinyPipeline", exposure, f"--steps.one.post_hooks={option}", "--suffix=q")
        assert done.status == 0, done.out
        with ImageModel("x_nrca1_q.fits") as saved:
            assert (saved.data == 13).all()


def test_text_for_a_list_is_refused(tiny, strun_here, exposure):
    with pytest.raises(ConfigError, match=r"'post_hooks': the value \"tiny_steps.double\" is of the wrong type"):
        tiny.AddStep(post_hooks="tiny_steps.double")
    done = strun_here("tiny_steps.AddStep", exposure, "--post_hooks=tiny_steps.double")
    said = " ".join(done.out.split())
    assert done.status == 1 and "of the wrong type. A list is expected; of one hook it is written with a comma" in said


@pytest.mark.parametrize("hook", ["tiny_steps.nosuch", "tiny_steps.Nosuch(n=1)", "no_such_module.function"])
def test_names_of_nothing_are_refused_at_once(tiny, hook):
    with pytest.raises(ConfigError, match="neither a function or class"):
        tiny.AddStep(post_hooks=[hook])


def test_a_module_beside_the_parameter_file(tiny, exposure, workdir):
    (workdir / "conf").mkdir()
    (workdir / "conf" / "beside_hooks.py").write_text("def minus(model):\n    model.data[...] = -3\n")
    (workdir / "conf" / "a.cfg").write_text("class = tiny_steps.AddStep\npost_hooks = beside_hooks.minus,\n")
    assert (tiny.AddStep.from_config_file("conf/a.cfg").run(exposure).data == -3).all()


def test_an_error_says_which_hook_it_came_from(tiny, model):
    def broken(model):
        raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError) as caught:
        tiny.TinyPipeline(steps={"two": {"post_hooks": [tiny.double, broken]}}).run(model)
    assert caught.value.__notes__ == ["This came from post_hook1 of the step TinyPipeline.two"]


# ---- shell commands ------------------------------------------------------------------------------------------


def test_shell_command(tiny, model, caplog, exposure):
    caplog.set_level(logging.INFO)
    tiny.AddStep(pre_hooks=["echo got {0}; echo oops >&2"]).run(exposure)
    assert f"Spawning 'echo got {exposure}; echo oops >&2'" in caplog.text
    assert f"STDOUT: got {exposure}" in caplog.text and "STDERR: oops" in caplog.text
    assert "Done with errorcode 0" in caplog.text


def test_a_model_is_given_as_a_file_that_goes_away(tiny, model, workdir):
    model.meta.filename = "x.fits"
    step = tiny.AddStep(name="adder", post_hooks=["cp {0} copy.fits && echo {0} > name"])
    result = step.run(model)
    assert Path("name").read_text().strip().endswith("/adder.post_hook0.0000.fits")
    assert sorted(path.name for path in workdir.iterdir()) == ["copy.fits", "name"]
    assert result.meta.filename == "x.fits"
    with ImageModel("copy.fits") as copy:
        assert (copy.data == 5).all()


NASTY = [
    "two words",
    "a;touch hacked",
    "$(touch hacked)",
    "`touch hacked`",
    "a'; touch hacked; '",
    '"; touch hacked; "',
    "*",
    "a\nb",
]


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    "template",
    [
        "printf %s {0}",
        "printf %s '{0}'",
        'printf %s "{0}"',
        'printf %s "$(printf %s {0})"',
        'printf %s "$(printf %s "{}")"',
    ],
)
def test_names_of_files_are_never_parsed_by_the_shell(tiny, name, template, workdir, caplog):
    caplog.set_level(logging.INFO)
    tiny.AddStep(pre_hooks=[f"{template} > out", lambda *args: ImageModel((2, 2))]).run(name)
    assert Path("out").read_text() == name
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("echo {{0}} {0}", "{0} A"),
        ("echo A B | awk '{print $2}'", "B"),
        ("echo {1} {0} {} {}", "B A A B"),
        ("echo \\'{0}\\'", "'A'"),
        ("echo ${{HOME:+x}} $(echo ')' {0})", "x ) A"),
        ("echo it\\'s {0} \"it's {1}\"", "it's A it's B"),
    ],
)
def test_the_rest_of_the_command_is_plain_shell(tiny, command, printed):
    tiny.AddStep(pre_hooks=[f"{command} > out", lambda *args: ImageModel((2, 2))]).run("A", "B")
    assert Path("out").read_text() == printed + "\n"


def test_missing_argument(tiny):
    with pytest.raises(HookError, match=r"pre_hook0: 'echo \{3\}' wants argument \{3\}, but gets 1"):
        tiny.AddStep(pre_hooks=["echo {3}"]).run("A")


def test_output_that_is_not_text(tiny, model, caplog):
    caplog.set_level(logging.INFO)
    tiny.AddStep(post_hooks=["printf '\\377'"]).run(model)
    assert "STDOUT: \ufffd" in caplog.text


def test_failing_command(tiny, model):
    with pytest.raises(HookError, match="'exit 3' returned error code 3"):
        tiny.AddStep(post_hooks=["exit 3"]).run(model)


@pytest.mark.parametrize("hook", [5, dict])
def test_not_a_hook(tiny, hook):
    with pytest.raises(ConfigError, match="is not a hook; expected"):
        tiny.AddStep(pre_hooks=[hook])


def test_arguments_must_be_literals(tiny):
    with pytest.raises(ConfigError, match="name=literal"):
        tiny.AddStep(pre_hooks=["tiny_steps.AddStep(val=open('x'))"])

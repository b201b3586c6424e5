"""Running steps: results, status, skip, saving, ownership."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest

import upramp
from upramp import models
from upramp.errors import ConfigError, ReferenceFileError
from upramp.framework import Step, query_step_status, record_step_status
from upramp.models import ImageModel


def _files():
    return sorted(str(path) for path in Path().rglob("*.*") if path.is_file())


def _image(value=1.0):
    return ImageModel(np.full((4, 4), value, dtype=np.float32))


def test_run_on_a_file(tiny, exposure):
    result = tiny.AddStep(val=2, n=3).run(exposure)
    assert (result.data == 6).all()
    assert result.meta.cal_step.linearity == "COMPLETE"
    assert result.meta.calibration_software_version == upramp.__version__
    assert _files() == [exposure]


def test_the_callers_model_is_not_changed(tiny):
    model = _image()
    result = tiny.AddStep().run(model)
    assert (model.data == 1).all() and (result.data == 5).all()
    assert model.meta.cal_step.linearity is None
    assert tiny.AddStep.call(model, configure_log=False).data[0, 0] == 5


def test_inside_a_pipeline_the_model_is_passed_through(tiny):
    pipe, model = tiny.TinyPipeline(), _image()
    assert pipe.run(model) is model
    assert (model.data == 9).all()


def test_wrong_model_class(tiny):
    from upramp.models import CubeModel

    with pytest.raises(TypeError, match="opened as a ImageModel before calling the step"):
        tiny.AddStep().run(CubeModel((2, 4, 4)))


def test_skip_of_a_sub_step_is_recorded(tiny):
    pipe = tiny.TinyPipeline(steps={"one": {"skip": True}, "two": {"skip": True}})
    result = pipe.run(_image())
    assert (result.data == 1).all()
    assert result.meta.cal_step.linearity == "SKIPPED"


def test_a_skipped_sub_step_passes_a_file_name_on(tiny, exposure):
    pipe = tiny.TinyPipeline(steps={"one": {"skip": True}})
    result = pipe.run(exposure)
    assert (result.data == 4).all()


def test_skip_of_a_standalone_step_is_ignored(tiny, caplog):
    caplog.set_level(logging.INFO)
    step = tiny.AddStep(skip=True)
    assert (step.run(_image()).data == 5).all()
    assert step.skip is False
    assert "Step run as standalone, so skip set to False" in caplog.text


def test_record_skip_says_why(tiny, caplog):
    model = _image()
    assert tiny.AddStep(name="adder").record_skip(model, "no light") is model
    assert model.meta.cal_step.linearity == "SKIPPED"
    assert "Step adder skipped: no light" in caplog.text


def test_status_name_defaults_to_the_alias():
    assert type("S", (Step,), {"class_alias": "jump"})().status_name == "jump"
    assert Step().status_name is None


def test_timings(tiny):
    pipe = tiny.OuterPipeline(steps={"gain": {"skip": True}, "needs": {"skip": True}})
    pipe.run(_image())
    assert set(pipe.timings) == {"OuterPipeline", "pp", "gain", "needs"}
    assert set(pipe.pp.timings) == {"pp", "one", "two"}
    assert 0 <= pipe.pp.timings["one"] <= pipe.timings["pp"] <= pipe.timings["OuterPipeline"]


def test_names_and_parents(tiny):
    pipe = tiny.OuterPipeline(name="o", output_dir="there")
    assert pipe.pp.one.qualified_name == "o.pp.one"
    assert pipe.pp.one.root is pipe
    assert pipe.pp.one.search_attr("output_dir") == "there"
    assert pipe.pp.one.search_attr("nothing", "default") == "default"


def test_messages(tiny, caplog, exposure):
    caplog.set_level(logging.INFO)
    tiny.TinyPipeline(steps={"two": {"skip": True}}).run(exposure)
    text = [record.getMessage() for record in caplog.records]
    assert text[:3] == ["TinyPipeline instance created.", "one instance created.", "two instance created."]
    assert f"Step TinyPipeline running with args ('{exposure}',)." in text
    assert any(line.startswith("Step TinyPipeline parameters are:\n  pre_hooks: []") for line in text)
    assert "Step skipped." in text
    assert any(re.fullmatch(r"Step one done in \d+\.\d\d s, peak memory \d+ MB", line) for line in text)
    assert text[-1].startswith("Step TinyPipeline done in ")


def test_parameters_text(tiny):
    text = tiny.TinyPipeline(steps={"one": {"words": ["a", "b"], "suffix": ""}}).parameters_text()
    assert "  own: none\n  steps:\n    one:\n" in text
    assert "      words:\n      - a\n      - b\n" in text
    assert "      suffix: ''\n" in text
    assert "      val: 4.0\n" in text


# ---- saving --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pars", "expected"),
    [
        ({"save_results": True}, "x_nrca1_addstep.fits"),
        ({"save_results": True, "name": "myname"}, "x_nrca1_myname.fits"),
        ({"save_results": True, "suffix": "cal"}, "x_nrca1_cal.fits"),
        ({"output_file": "foo"}, "foo_addstep.fits"),
        ({"output_file": "foo.fits"}, "foo_addstep.fits"),
        ({"output_file": "foo_rate.fits"}, "foo_addstep.fits"),
        ({"output_file": "foo.asdf"}, "foo_addstep.fits"),
        ({"output_file": "foo_bar.fits"}, "foo_bar_addstep.fits"),
        ({"output_file": "foo.fits", "suffix": "cal"}, "foo_cal.fits"),
        ({"output_file": "sub/foo.fits"}, "foo_addstep.fits"),
        ({"save_results": True, "output_dir": "out/deep"}, "out/deep/x_nrca1_addstep.fits"),
    ],
)
def test_output_names(tiny, exposure, pars, expected):
    result = tiny.AddStep(**pars).run(exposure)
    assert _files() == sorted([exposure, expected])
    assert result.meta.filename == Path(expected).name
    with ImageModel(expected) as saved:
        assert saved.meta.filename == Path(expected).name
        assert saved.meta.cal_step.linearity == "COMPLETE"
        assert (saved.data == 4).all()


def test_output_dir_knows_variables(tiny, exposure, tmp_path, monkeypatch):
    monkeypatch.setenv("THERE", str(tmp_path / "there"))
    tiny.AddStep(save_results=True, output_dir="$THERE").run(exposure)
    assert (tmp_path / "there" / "x_nrca1_addstep.fits").exists()


def test_several_results_are_numbered(tiny, exposure):
    tiny.TwoResultsStep(save_results=True).run(exposure)
    assert _files() == ["x_nrca1_0_tworesultsstep.fits", "x_nrca1_1_tworesultsstep.fits", exposure]


def test_a_model_without_a_name(tiny):
    tiny.AddStep(save_results=True).run(_image())
    assert _files() == ["step_AddStep_addstep.fits"]


def test_sub_steps_save_under_the_name_of_the_pipeline(tiny, exposure):
    steps = {"one": {"save_results": True}, "two": {"output_file": "mine.fits"}}
    tiny.TinyPipeline(output_file="foo_bar_cal.fits", output_dir="out", suffix="rate", steps=steps).run(exposure)
    assert _files() == ["out/foo_bar_one.fits", "out/foo_bar_rate.fits", "out/mine_two.fits", exposure]


def test_names_after_the_model(tiny, exposure):
    steps = {"two": {"search_output_file": False, "save_results": True}}
    tiny.TinyPipeline(output_file="foo.fits", suffix="a", steps=steps | {"one": {"output_file": "bar"}}).run(exposure)
    assert _files() == ["bar_one.fits", "bar_one_two.fits", "foo_a.fits", exposure]


def test_skipped_sub_steps_do_not_save(tiny, exposure):
    tiny.TinyPipeline(steps={"one": {"save_results": True, "skip": True}}).run(exposure)
    assert _files() == [exposure]


def test_save_model(tiny, exposure):
    step, model = tiny.AddStep(), _image()
    assert step.save_model(model) is None
    assert step.save_model(model, "opt", force=True) == "step_AddStep_opt.fits"
    assert step.save_model([model, model], output_file="a") == ["a_0_addstep.fits", "a_1_addstep.fits"]
    assert step.save_model(model, idx=3, output_file="a", asn="c") == "a_3_c_addstep.fits"
    assert step.make_output_path("b_rate.fits", ext="asdf", suffix="q", idx=1) == "b_1_q.asdf"


def test_the_output_must_not_be_the_input(tiny, exposure):
    before = Path(exposure).read_bytes()
    step = tiny.AddStep(save_results=True, suffix="rate")
    with pytest.raises(ConfigError, match="is the input file itself"):
        step.run(exposure)
    assert Path(exposure).read_bytes() == before
    step = tiny.AddStep(save_results=True, suffix="rate", output_dir="elsewhere")
    step.run(exposure)
    assert Path("elsewhere", exposure).exists()


def test_an_output_folder_that_cannot_be_made(tiny, exposure):
    Path("taken").write_text("")
    with pytest.raises(ConfigError, match="taken cannot be made"):
        tiny.AddStep(save_results=True, output_dir="taken").run(exposure)
    assert _files() == sorted(["taken", exposure]) or not any("addstep" in name for name in _files())


def test_nothing_is_left_when_a_step_fails(tiny, exposure):
    with pytest.raises(ConfigError, match="it went wrong"):
        tiny.FailStep(save_results=True).run(exposure)
    assert _files() == [exposure]


def test_input_dir(tiny, exposure):
    Path("sub").mkdir()
    Path(exposure).rename(Path("sub", exposure))
    assert (tiny.AddStep(input_dir="sub").run(exposure).data == 4).all()


def test_every_run_takes_names_and_folder_from_its_own_input(tiny, exposure):
    Path("sub").mkdir()
    ImageModel(exposure).save("sub/y_rate.fits")
    step = tiny.AddStep(save_results=True)
    for name, folder in ((exposure, ""), ("sub/y_rate.fits", "sub"), (Path(exposure), ""), (_image(), "")):
        step.run(name)
        assert step.input_dir == folder
    assert _files() == [
        "step_AddStep_addstep.fits",
        "sub/y_rate.fits",
        "x_nrca1_addstep.fits",
        exposure,
        "y_addstep.fits",
    ]
    given = tiny.AddStep(input_dir="sub")
    given.run("y_rate.fits")
    assert given.input_dir == "sub"


def test_sub_steps_find_further_files_beside_the_input(tiny, exposure):
    Path("sub").mkdir()
    Path(exposure).rename(Path("sub", exposure))

    class Second(Step):
        def process(self, data):
            return self.open_model(exposure)

    class Two(tiny.Pipeline):
        step_defs = {"one": tiny.AddStep, "two": Second}  # noqa: RUF012

        def process(self, data):
            return self.two(self.one(data))

    assert (Two().run(f"sub/{exposure}").data == 0).all()
    ImageModel(np.full((4, 4), 9, np.float32)).save(exposure)  # a bare name means the current folder first
    assert (Two().run(f"sub/{exposure}").data == 9).all()
    assert (Two(input_dir="sub").run(exposure).data == 0).all()  # unless the folder was given


def test_prepare_output_with_options(tiny, exposure):
    step, model = tiny.AddStep(), _image()
    assert step.prepare_output(model) is not model
    assert step.prepare_output(model, make_copy=False) is model
    assert step.prepare_output(exposure, open_models=False) == exposure
    with pytest.raises(TypeError, match="Copy is not possible for input type str"):
        step.prepare_output(exposure, make_copy=True, open_models=False)
    first, second = step.prepare_output([exposure, model])
    assert type(first) is ImageModel and second is not model
    pipe = tiny.TinyPipeline()
    assert pipe.one.prepare_output(model) is model
    assert pipe.one.prepare_output(model, make_copy=True) is not model


def test_prepare_output_as_another_class(tiny, exposure):
    from upramp import models

    step = tiny.AddStep()
    ramp = models.RampModel(np.zeros((2, 3, 4, 5), np.float32))
    assert step.prepare_output(ramp, open_as_ramp=True) is not ramp
    ramp.meta.exposure.type = "FGS_ID-IMAGE"
    ramp.save("ramp.fits")
    for data in (ramp, "ramp.fits"):
        assert type(step.prepare_output(data, open_as_ramp=True)) is models.GuiderRawModel
        assert type(step.prepare_output(data, open_as_type=models.RampModel)) is models.RampModel
    assert type(step.prepare_output([ramp], open_as_ramp=True)[0]) is models.GuiderRawModel
    with pytest.raises(TypeError, match="not compatible"):
        step.prepare_output(models.Level1bModel((1, 2, 4, 5)), open_as_ramp=True)


def test_a_generic_model_may_hold_a_ramp(tiny):
    from upramp import models

    step, ramp = tiny.AddStep(), models.RampModel(np.ones((1, 2, 4, 5), np.float32))
    found = step.prepare_output(models.JwstDataModel(ramp), open_as=models.RampModel)
    assert type(found) is models.RampModel and found.shape == (1, 2, 4, 5)
    for wrong in (models.JwstDataModel(), models.ImageModel((4, 5))):
        with pytest.raises(TypeError, match="not compatible"):
            step.prepare_output(wrong, open_as=models.RampModel)


def test_arguments_that_are_neither_files_nor_models(tiny):
    class Sum(Step):
        reference_file_types = ("flat",)

        def process(self, *numbers):
            return sum(numbers)

    assert Sum()(1, 2, 3) == 6


class Foreign:
    """A model of a package that knows of no FITS headers."""

    def __init__(self):
        self.saved = []

    def get_crds_parameters(self):
        return {}

    def save(self, path, **options):
        Path(path).write_text("data")


def test_models_without_metadata(tiny):
    class Pass(Step):
        class_alias = "passing"

        def process(self, data):
            return self.record_complete(data)

    class Passing(tiny.Pipeline):
        step_defs = {"a": Pass, "b": Pass}  # noqa: RUF012

        def process(self, data):
            return self.b(self.a(data))

    model = Foreign()
    hooks = {"post_hooks": ["grep -q data {0}"]}
    pipe = Passing(save_results=True, output_ext="txt", steps={"a": hooks, "b": {"skip": True}})
    assert pipe.run(model) is model
    assert _files() == ["step_Passing_passing.txt"]


def test_process_must_be_defined():
    with pytest.raises(NotImplementedError, match="Step does not define process"):
        Step().run()


def test_results_that_are_not_models():
    class Counting(Step):
        def process(self, *args):
            return len(args)

    assert Counting().run(1, 2, 3) == 3


# ---- call ----------------------------------------------------------------------------------------------------


def test_call_takes_parameters_and_a_file(tiny, exposure, workdir):
    (workdir / "a.cfg").write_text("class = nowhere.Else\nname = filed\nval = 10\nn = 2\n")
    result = tiny.AddStep.call(exposure, config_file="a.cfg", n=1, save_results=True)
    assert (result.data == 10).all()
    assert _files() == ["a.cfg", "x_nrca1_filed.fits", exposure]


def test_a_logcfg_is_deprecated_in_call_and_on_the_command_line(tiny, exposure, tmp_path):
    (tmp_path / "log.cfg").write_text("[*]\nlevel = WARNING\nhandler = null\n")
    with pytest.warns(DeprecationWarning, match="'logcfg' configuration option"):
        tiny.AddStep.call(exposure, logcfg=str(tmp_path / "log.cfg"))
    with pytest.warns(DeprecationWarning, match="logcfg configuration file"):
        Step.from_cmdline(["tiny_steps.AddStep", exposure, f"--logcfg={tmp_path / 'log.cfg'}"])


def test_call_of_a_pipeline(tiny, exposure):
    result = tiny.TinyPipeline.call(exposure, steps={"one": {"n": 0}, "two": {"val": 1}})
    assert (result.data == 1).all()


def test_call_on_an_instance_warns(tiny, exposure, caplog):
    step = tiny.AddStep()
    step.val = 100
    assert (step.call(exposure, configure_log=False).data == 4).all()
    assert "AddStep.call() makes a new step" in caplog.text and "Use its run() instead" in caplog.text


def test_open_model(tiny, exposure):
    step, model = tiny.AddStep(input_dir="."), _image()
    assert type(step.open_model(exposure)) is ImageModel
    assert step.open_model(model).data.shape == (4, 4)


def test_from_config_section(tiny):
    step = tiny.AddStep.from_config_section({"name": "sec", "class": "ignored", "n": "3"})
    assert (step.name, step.n, step.origins["n"]) == ("sec", 3, "section")


def test_logs_of_a_run_are_kept_in_the_product(tiny, exposure):
    result = tiny.TinyPipeline.call(exposure)
    lines = result.cal_logs["tiny_pipe"]
    assert any(line.endswith("tiny pipeline at work") for line in lines)
    assert not any("/" in line and str(Path.cwd()) in line for line in lines)


def test_unknown_reference_types_are_not_fatal(tiny):
    model = _image()
    tiny.AddStep().finalize_result(model, [("gain", "crds://g.fits"), ("nosuchtype", "x")])
    assert model.meta.ref_file.gain.name == "crds://g.fits"
    with pytest.raises(ReferenceFileError, match="CRDS is not set up"):
        tiny.GainStep().get_reference_file(model, "gain")


def test_the_folder_of_the_input_is_known_to_the_step(tiny, exposure):
    path = Path(exposure).resolve()
    step = tiny.AddStep()
    step.run(str(path))
    assert step.input_dir == str(path.parent)
    step = tiny.AddStep(input_dir="elsewhere")
    step.run(ImageModel(exposure))
    assert step.input_dir == "elsewhere"


def test_status_of_steps_by_hand():
    ramps = [models.RampModel(), models.RampModel()]
    record_step_status(ramps, "jump")
    record_step_status(ramps[1], "mine", success=False)
    record_step_status(ramps[0], "ramp_fit", status="SKIPPED")
    assert [query_step_status(ramps, "jump"), query_step_status(ramps[1], "mine")] == ["COMPLETE", "FAILED"]
    assert query_step_status(ramps[0], "ramp_fit") == "SKIPPED"
    assert query_step_status(ramps[0], "refpix") == query_step_status(ramps[0], "nosuch") == "NOT SET"
    with pytest.raises(ValueError, match="DONE not in allowed values"):
        record_step_status(ramps, "jump", status="DONE")


def test_input_dir_is_empty_while_not_given(tiny, tmp_path):
    (tmp_path / "far").mkdir()
    step = tiny.AddStep()
    assert step.get_pars()["input_dir"] == ""
    step.input_dir = ""
    step.set_primary_input(str(tmp_path / "far" / "x.fits"))
    assert step.make_input_path("y.fits") == tmp_path / "far" / "y.fits"


def test_a_pipeline_tells_the_parameters_of_its_steps():
    from upramp.pipelines import Detector1Pipeline

    pipeline = Detector1Pipeline(steps={"jump": {"rejection_threshold": 5.5}})
    assert pipeline.steps["emicorr"]["skip"] is True
    assert pipeline.steps["jump"]["rejection_threshold"] == 5.5
    pipeline.jump.rejection_threshold = 6.0
    assert pipeline.steps["jump"]["rejection_threshold"] == 6.0


def test_names_of_arguments_are_those_of_the_reference_pipeline(tiny, exposure):
    pipe, model = tiny.TinyPipeline(), _image()
    pipe.mark, pipe.one.mark = "outer", "inner"
    assert pipe.one.search_attr(attribute="mark") == "inner"
    assert pipe.one.search_attr(attribute="mark", parent_first=True) == "outer"
    assert pipe.one.search_attr("nothing", default=3, parent_first=True) == 3
    assert pipe.prepare_output(model, False) is model and pipe.prepare_output(init=model, make_copy=True) is not model
    assert pipe.make_input_path(file_path=exposure).exists()
    assert type(pipe.open_model(init=exposure)) is ImageModel
    pipe.update_pars(parameters={"suffix": "x"})
    assert pipe.suffix == "x"
    pipe.one.export_config(filename="one.asdf")
    assert Path("one.asdf").exists()
    assert pipe.build_config(input=None, suffix="y")[0] == {"suffix": "y"}


def test_input_dir_is_that_of_the_step_around(tiny, exposure):
    step, pipe = tiny.AddStep(), tiny.TinyPipeline(input_dir="sub")
    assert step.input_dir == "" and pipe.input_dir == pipe.one.input_dir == "sub"
    pipe.one.input_dir = "own"
    assert (pipe.input_dir, pipe.one.input_dir) == ("sub", "own")
    assert (
        "input_dir = ''  # default" in step.explain_pars()
        and "one.input_dir = 'own'  # attribute" in pipe.explain_pars()
    )
    Path("sub").mkdir()
    Path(exposure).rename(f"sub/{exposure}")
    other = tiny.TinyPipeline()
    other.run(f"sub/{exposure}")
    assert other.one.input_dir == "sub"
    other.one.set_primary_input("b/c.fits", exclusive=False)
    assert other.one.search_attr("_input_filename") == "b/c.fits"

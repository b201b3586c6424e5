"""Specs, parameter files, validation and precedence."""

import asdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upramp.errors import ConfigError
from upramp.framework import Step, specs
from upramp.framework.config import Layer, Rank, read_parameter_file, resolve


class Base(Step):
    spec = """
    first = integer(default=1)        # from the base
    second = string(default='#2')     # keeps (its) hash
    """


class Derived(Base):
    spec = """
    third = float_list(default=None)
    first = integer(default=7, min=0) # replaced
    [part]
      deep = boolean(default=True)    # nested
    """


class Plain(Derived):
    pass


def test_specs_are_merged_from_base_to_derived():
    spec = Derived.load_spec_file()
    own = [key for key in spec if key not in Step.load_spec_file()]
    assert own == ["first", "second", "third", "part"]
    assert spec["first"] == "integer(default=7, min=0)"
    assert spec.inline_comments["first"] == "# replaced"
    assert spec["second"] == "string(default='#2')"
    assert spec.inline_comments["second"] == "# keeps (its) hash"
    assert spec["part"]["deep"] == "boolean(default=True)"


def test_get_pars_of_own_spec_only():
    assert Derived().get_pars(full_spec=False) == {"third": None, "first": 7, "part": {"deep": True}}
    assert Plain().get_pars(full_spec=False) == {}


def test_spec_file_beside_the_class(workdir, monkeypatch):
    (workdir / "withfile.py").write_text("from upramp.framework import Step\nclass Filed(Step):\n    pass\n")
    (workdir / "Filed.spec").write_text("level = integer(default=3)  # of the file\n")
    monkeypatch.syspath_prepend(str(workdir))
    import withfile

    assert withfile.Filed().level == 3


def test_print_configspec_can_be_read_again(capsys):
    Derived.print_configspec()
    text = capsys.readouterr().out
    assert "first = integer(default=7, min=0)  # replaced" in text.splitlines()
    assert "[part]" in text.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2", ["1", "2"]),
        ("1,", ["1"]),
        (",", []),
        ("\"'ls a, b',\"", "'ls a, b',"),
        ("'ls a, b',", ["ls a, b"]),
        ("''", ""),
        ("a#b", "a"),
        ("None", "None"),
        ("50%", "50%"),
        ("%(x)s", "%(x)s"),
    ],
)
def test_values_of_the_command_line(text, expected):
    assert specs.parse_value(text) == expected


def test_unbalanced_quotes_are_an_error():
    with pytest.raises(ConfigError, match="quotes and commas must match"):
        specs.parse_value("'a")


@pytest.mark.parametrize(
    ("pars", "message"),
    [
        ({"n": "9"}, "Config parameter 'n': the value \"9\" is too big."),
        ({"n": -1}, "Config parameter 'n': the value \"-1\" is too small."),
        ({"n": "3.0"}, "Config parameter 'n': the value \"3.0\" is of the wrong type."),
        ({"opt": "A"}, "Config parameter 'opt': the value \"A\" is unacceptable."),
        ({"flag": "t"}, "Config parameter 'flag': the value \"t\" is of the wrong type."),
        ({"words": "x"}, "Config parameter 'words': the value \"x\" is of the wrong type."),
        ({"vall": 3}, "Extra value 'vall' in root; did you mean 'val'?"),
        ({"table": "nowhere.txt"}, "nowhere.txt' does not exist"),
        ({"override_gain": 5}, "Config parameter 'override_gain': the value \"5\" is of the wrong type."),
    ],
)
def test_bad_values_are_named(tiny, pars, message):
    with pytest.raises(ConfigError) as caught:
        tiny.AddStep(**pars)
    assert message in str(caught.value)


def test_a_section_that_is_none_is_named(tiny):
    with pytest.raises(ConfigError, match="'steps/one' is None; expected a section of parameters"):
        tiny.TinyPipeline(steps={"one": None})


def test_a_section_in_place_of_a_value_is_named(tiny):
    with pytest.raises(ConfigError, match=r"'steps/one/n' is a section \(\{'a': 1\}\); expected a value: integer"):
        tiny.TinyPipeline(steps={"one": {"n": {"a": 1}}})
    with pytest.raises(ConfigError, match="'skip' is a section"):
        tiny.AddStep(skip={})


def test_all_problems_are_listed_with_their_path(tiny):
    with pytest.raises(ConfigError) as caught:
        tiny.TinyPipeline(steps={"one": {"n": 9, "zz": 1}, "two": {"val": "x"}})
    lines = str(caught.value).splitlines()
    assert "Config parameter 'steps/one/n': the value \"9\" is too big." in lines
    assert "Config parameter 'steps/two/val': the value \"x\" is of the wrong type." in lines
    assert "Extra value 'zz' in steps/one" in lines
    with pytest.raises(ConfigError, match="Extra value 'three' in steps"):
        tiny.TinyPipeline(steps={"three": {"n": 1}})


def test_a_required_parameter():
    class Needs(Step):
        spec = "must = integer()"

    with pytest.raises(ConfigError, match="Config parameter 'must': missing"):
        Needs()


def test_coercion(tiny):
    step = tiny.AddStep(val="1e3", n="2", flag="Yes", words=["a"], opt=None)
    assert (step.val, step.n, step.flag, step.words, step.opt) == (1000.0, 2, True, ["a"], None)
    assert tiny.AddStep(val="inf").val == float("inf")


def test_step_defs_must_be_steps(tiny):
    from upramp.framework import Pipeline

    with pytest.raises(TypeError, match="Entry 'k' in step_defs is not a Step subclass"):

        class Bad(Pipeline):
            step_defs = {"k": dict}  # noqa: RUF012


def test_cfg_file(tiny, workdir):
    (workdir / "table.txt").write_text("")
    (workdir / "one.cfg").write_text("val = 2\nn = 3\n")
    (workdir / "my.cfg").write_text(
        'class = "tiny_steps.TinyPipeline"\nown = "a, b"\n'
        "[steps]\n[[one]]\nconfig_file = one.cfg\nn = 4\ntable = table.txt\n[[two]]\n"
    )
    pipe = Step.from_config_file("my.cfg")
    assert isinstance(pipe, tiny.TinyPipeline)
    assert (pipe.name, pipe.own) == ("my", "a, b")
    assert (pipe.one.val, pipe.one.n, pipe.two.val) == (2.0, 4, 4.0)
    assert pipe.one.table == str(workdir / "table.txt")
    assert pipe.one.name == "one"
    assert pipe.one.origins == {"n": "file my.cfg", "table": "file my.cfg", "val": "config_file one.cfg"}
    assert "steps.one.val = 2.0  # config_file one.cfg" in pipe.explain_pars().splitlines()
    assert "steps.two.val = 4.0  # default" in pipe.explain_pars().splitlines()


def test_relative_files_start_at_the_parameter_file(tiny, workdir, monkeypatch):
    (workdir / "sub").mkdir()
    (workdir / "sub" / "table.txt").write_text("")
    (workdir / "sub" / "a.cfg").write_text("table = table.txt\n")
    assert tiny.AddStep.from_config_file("sub/a.cfg").table == str(workdir / "sub" / "table.txt")


def test_class_beside_the_cfg_file(workdir):
    (workdir / "cfgs").mkdir()
    (workdir / "cfgs" / "besides.py").write_text(
        "from upramp.framework import Step\nclass Beside(Step):\n    def process(self, x):\n        return x\n"
    )
    (workdir / "cfgs" / "b.cfg").write_text("class = besides.Beside\nname = bb\n")
    step = Step.from_config_file("cfgs/b.cfg")
    assert (type(step).__name__, step.name) == ("Beside", "bb")
    assert step.run(5) == 5


def test_wrong_class_in_a_file(tiny, workdir):
    (workdir / "a.cfg").write_text("class = tiny_steps.AddStep\n")
    with pytest.raises(TypeError, match="does not match the expected step class"):
        tiny.TinyPipeline.from_config_file("a.cfg")


def test_config_file_of_a_sub_step_with_a_foreign_name(tiny, workdir):
    (workdir / "a.cfg").write_text("name = other\nn = 2\n")
    with pytest.raises(ConfigError, match="is given for the step 'one', but has the name 'other'"):
        tiny.TinyPipeline(steps={"one": {"config_file": "a.cfg"}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not a parameter file"),
        (b"#ASDF 1.0.0\n--- [1, 2\n", "is not a parameter file"),
        (b"#ASDF 1.0.0\n--- {a: 1}\n...\n", "no mapping 'parameters'"),
        (b"val = %(nix)s\n", "nix"),
        (b"[broken\n", "is not a parameter file"),
    ],
)
def test_unreadable_parameter_files(tiny, workdir, content, message):
    (workdir / "bad.cfg").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        tiny.AddStep.from_config_file("bad.cfg")
    with pytest.raises(ConfigError, match="Config file gone.cfg not found."):
        tiny.AddStep.from_config_file("gone.cfg")


def test_export_and_read_again(tiny, workdir):
    pipe = tiny.TinyPipeline(name="p", own="x", steps={"one": {"n": 5, "override_gain": "N/A"}})
    pipe.export_config("p.asdf", include_metadata=True)
    with asdf.open("p.asdf") as file:
        assert file["class"] == "tiny_steps.TinyPipeline"
        assert [step["name"] for step in file["steps"]] == ["one", "two"]
        assert file["meta"]["author"] == "<SPECIFY>"
        assert "tiny_steps.TinyPipeline" in file["meta"]["description"]
    again = Step.from_config_file("p.asdf")
    assert again.get_pars() == pipe.get_pars()
    assert (again.name, again.one.override_gain) == ("p", "N/A")


def test_old_layout_of_asdf_files(tiny, workdir):
    tree = {"parameters": {"class": "tiny_steps.TinyPipeline", "name": "q", "steps": {"two": {"n": 3}}}}
    asdf.AsdfFile(tree).write_to("q.asdf")
    pipe = Step.from_config_file("q.asdf")
    assert (pipe.name, pipe.two.n) == ("q", 3)


def test_asdf_files_keep_types(tiny, workdir):
    asdf.AsdfFile({"class": "tiny_steps.AddStep", "parameters": {"n": 2.7}}).write_to("a.asdf")
    with pytest.raises(ConfigError, match="wrong type"):
        Step.from_config_file("a.asdf")
    asdf.AsdfFile({"class": "tiny_steps.AddStep", "parameters": {"val": None}}).write_to("b.asdf")
    assert Step.from_config_file("b.asdf").val is None


def test_build_config_has_what_was_written_down_only(tiny, workdir, monkeypatch):
    (workdir / "p.cfg").write_text("own = file\n[steps]\n[[one]]\nn = 2\nval = 2\n")
    reference = {"own": "crds", "steps": {"one": {"n": 1, "val": 1, "opt": "b"}}}
    monkeypatch.setattr(tiny.TinyPipeline, "get_config_from_reference", lambda dataset: reference)
    values, file = tiny.TinyPipeline.build_config("x.fits", config_file="p.cfg", steps={"one": {"n": 3}})
    assert values == {"own": "file", "steps": {"one": {"n": 3, "val": "2", "opt": "b"}}}
    assert file == "p.cfg"
    assert tiny.TinyPipeline.build_config(None) == ({}, None)


def test_update_pars(tiny):
    pipe = tiny.TinyPipeline()
    pipe.update_pars({"own": "o", "unknown": 1, "steps": {"one": {"n": 2}, "none": {}}})
    assert (pipe.own, pipe.one.n) == ("o", 2)
    assert not hasattr(pipe, "unknown")
    assert "own = 'o'  # attribute" in pipe.explain_pars().splitlines()


def test_a_config_file_of_the_caller_wins_over_the_file(tiny, workdir):
    (workdir / "p.cfg").write_text("class = tiny_steps.TinyPipeline\n[steps]\n[[one]]\nn = 2\nval = 2\nopt = b\n")
    (workdir / "one.cfg").write_text("n = 3\nval = 3\n")
    steps = {"one": {"config_file": "one.cfg", "val": 4}}
    pipe = tiny.TinyPipeline.configure(config_file="p.cfg", pars={"steps": steps}, use_crds=False)
    assert (pipe.one.val, pipe.one.n, pipe.one.opt) == (4.0, 3, "b")


LEVELS = list(Rank)


@given(st.sets(st.sampled_from(LEVELS)), st.permutations(LEVELS))
def test_the_highest_layer_wins(present, order):
    spec = _pipeline_spec()
    layers = [Layer(rank, rank.name, {"steps": {"one": {"n": int(rank)}}}) for rank in order if rank in present]
    values, origins = resolve(layers, spec)
    if present:
        assert values["steps"]["one"]["n"] == int(min(present))
        assert origins["steps"]["one"]["n"] == min(present).name
    else:
        assert values == {}
    assert specs.validate(values, spec)["steps"]["one"]["n"] == (int(min(present)) if present else 1)


def _pipeline_spec():
    from upramp.framework import Pipeline

    class Part(Step):
        spec = "n = integer(default=1)"

    class Whole(Pipeline):
        step_defs = {"one": Part}  # noqa: RUF012

    return Whole.load_spec_file()


def test_none_is_an_explicit_value():
    layers = [Layer(Rank.CALLER, "me", {"n": None}), Layer(Rank.CRDS_STEP, "crds", {"n": 4})]
    spec = specs.merged_spec(type("S", (Step,), {"spec": "n = integer(default=1)"}))
    values, _ = resolve(layers, spec)
    assert specs.validate(values, spec)["n"] is None


def test_unknown_parameters_of_the_observatory_are_ignored_with_a_warning(caplog):
    layer = Layer(Rank.CRDS_PIPELINE, "CRDS x.asdf", {"nix": 1, "steps": {"one": {"n": 2, "m": 3}, "gone": {"a": 1}}})
    values, _ = resolve([layer], _pipeline_spec())
    assert values == {"steps": {"one": {"n": 2}}}
    assert "nix, steps.one.m, steps.gone" in caplog.text


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.one_of(st.integers(-3, 9), st.floats(-1, 6), st.sampled_from(["1", "x", "2.0", "", "5"])),
            "val": st.one_of(st.floats(), st.sampled_from(["1e3", "inf", "nan", "no", "-1"])),
            "opt": st.sampled_from(["a", "b", "A", "", None]),
            "flag": st.sampled_from([True, False, "yes", "No", "1", "0", "t", 1, 0, "on", None]),
            "words": st.one_of(st.lists(st.sampled_from(["p", "q r"]), max_size=3), st.just("p")),
        },
    )
)
def test_same_values_as_the_peer(values):
    peer = pytest.importorskip("jwst.stpipe")
    spec = """
    val = float(default=4.0, min=0)
    n = integer(min=0, max=5, default=1)
    opt = option('a', 'b', default='a')
    flag = boolean(default=False)
    words = list(default=list())
    """
    ours = _outcome(type("Ours", (Step,), {"spec": spec}), values)
    theirs = _outcome(type("Theirs", (peer.Step,), {"spec": spec}), values)
    assert repr(ours) == repr(theirs)


def _outcome(step_class, values):
    try:
        step = step_class(**values)
    except Exception as error:
        return sorted(line for line in str(error).splitlines() if line.startswith("Config parameter"))
    return {key: getattr(step, key) for key in ("val", "n", "opt", "flag", "words")}


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text("xyz 1#,'", max_size=6), max_size=3))
def test_cfg_text_never_escapes_as_another_error(values):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f.cfg")
        path.write_text("\n".join(f"{key} = {value}" for key, value in values.items()))
        try:
            found = read_parameter_file(path)
        except ConfigError as error:
            assert str(path) in str(error)
        else:
            assert set(found.values) == set(values)

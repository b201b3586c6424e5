"""Command lines and parameter files that nobody would write: always a status and a message, never anything else."""

import json
import re
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from upramp import cli
from upramp.framework import specs

BOX = re.compile(r"-{70}\nERROR (PARSING CONFIGURATION|RUNNING STEP '\w+'):\n(    .*\n|\n)+-{70}\n")
EXPOSURE = "x_nrca1_rate.fits"

fuzz = settings(
    max_examples=80,
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# No path leads out of the folder of the test, and no text becomes a hook: those run commands.
words = st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cs"]), max_size=8)
nasty = st.sampled_from(
    ["", ",", "a,", "'", '"', "'''", '"""', "a#b", "#", "%(x)s", "%", "%%(n)s", "1,2", "[x]", "[[", "=", "None", "nan",
     "1e400", "9" * 400, "0x1", "é", "\x00", "\n", "\t", "..", "--", "-", "-1", "{0}", "$(echo)", "${n}", "a\nb = 3"]
)  # fmt: skip
values = st.one_of(words, nasty, st.integers().map(str), st.floats().map(str))
names = st.sampled_from(
    ["val", "n", "opt", "flag", "words", "table", "override_gain", "output_file", "output_dir", "output_ext", "suffix",
     "skip", "save_results", "input_dir", "steps.one.n", "steps.one.val", "steps.two.words", "steps.one.config_file",
     "steps.one.class", "steps.three.n", "own", "nix", "log-level", "log-stream", "log-file", "logcfg", "threads",
     "save-parameters", "output_", "steps.one.", "v"]
)  # fmt: skip
options = st.one_of(
    st.tuples(names, values).map(lambda pair: [f"--{pair[0]}={pair[1]}"]),
    st.tuples(names, values).map(lambda pair: [f"--{pair[0]}", pair[1]]),
    st.sampled_from([["-v"], ["--verbose"], ["--help"], ["--"], ["--version"], ["--disable-crds-steppars"], ["-x"]]),
    words.map(lambda text: [text]),
    st.just([EXPOSURE]),
)
steps = st.sampled_from(["tiny_steps.AddStep", "tiny_steps.TinyPipeline"])
targets = st.one_of(
    steps, steps, steps, st.sampled_from(["tiny_steps.log", "os.path", "sys.", ".", ".."]), words, nasty
)


def _check(done):
    assert done.status in (0, 1, 2), done
    if done.status == 1:
        assert BOX.search(done.out), done.out
    if done.status == 2:
        assert done.err.startswith("usage: strun ") or "\nusage: strun " in done.err
        assert "strun: error: " in done.err
    if done.status == 0:
        assert "ERROR " not in done.out and "Traceback" not in done.err


@fuzz
@given(before=st.lists(options, max_size=2), target=targets, after=st.lists(options, max_size=4))
@example(before=[], target="tiny_steps.AddStep", after=[["--n=" + "9" * 5000]])
@example(before=[["--threads=²"]], target="tiny_steps.AddStep", after=[])
@example(before=[], target="tiny_steps.AddStep", after=[["--log-level=" + "9" * 5000]])
@example(before=[], target="tiny_steps.AddStep", after=[["x" * 300]])
@example(before=[], target="x" * 5000, after=[])
@example(before=[], target="tiny_steps.AddStep", after=[[EXPOSURE], ["--output_file=" + "x" * 300]])
def test_command_lines(exposure, strun_here, before, target, after):
    _check(strun_here(*(word for option in [*before, [target], *after] for word in option)))


typical = """
class = nix|name = a|[steps]|[[one]]|[[two]]|[[[deep]]]|[one]|config_file = f.cfg|config_file = gone.cfg|n = 2|n = 2.5
class =|words = a, b|own = "a|own = %(n)s|own = %(own)s|# only a comment|#ASDF 1.0.0|--- {a: 1}|upramp_plan: 1|{
""".replace("|", "\n").split("\n")
lines = st.one_of(st.tuples(names, values).map(" = ".join), st.sampled_from(typical), words)


def _with_class(content):
    return st.sampled_from(
        [content, *([f"class = tiny_steps.{name}", *content] for name in ("AddStep", "TinyPipeline"))]
    )


@fuzz
@given(
    st.lists(lines, max_size=8).flatmap(_with_class),
    st.sampled_from([[], [EXPOSURE], [EXPOSURE, "--n=3"], [EXPOSURE, "--own=b"]]),
)
@example(["class = tiny_steps.TinyPipeline", "[steps]", "[[one]]", "config_file = f.cfg"], [EXPOSURE])
@example(["class = tiny_steps.TinyPipeline", "own = %(own)s"], [])
@example(["steps = 3", "class = tiny_steps.TinyPipeline"], [])
@example(["class = a, b"], [])
@example(["class = tiny_steps.AddStep", "[n]", "a = 1"], [])
def test_parameter_files(exposure, strun_here, content, arguments):
    Path("f.cfg").write_text("\n".join(content), encoding="utf-8", newline="")
    _check(strun_here("f.cfg", *arguments))


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.just("tiny_steps.TinyPipeline")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["class", "name", "parameters", "steps", "one", "n", "own", "meta", "config_file"]), inner
        ),
    ),
    max_leaves=10,
)


@fuzz
@given(st.dictionaries(st.sampled_from(["class", "name", "parameters", "steps", "upramp_plan"]), trees))
@example({"class": "tiny_steps.TinyPipeline", "parameters": {}, "steps": [{"name": "one"}]})
@example({"class": "tiny_steps.TinyPipeline", "parameters": {}, "steps": {"one": {"n": 1}}})
@example({"class": ["tiny_steps.TinyPipeline"], "parameters": {}})
@example({"parameters": {"class": 5}})
@example({"class": "tiny_steps.AddStep", "parameters": {"n": [1], "val": {"a": 1}, "table": 5, "output_file": 7}})
def test_asdf_parameter_files(exposure, strun_here, tree):
    import yaml

    text = "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n--- !core/asdf-1.1.0\n" + yaml.safe_dump(tree) + "...\n"
    Path("f.asdf").write_text(text, encoding="utf-8")
    _check(strun_here("f.asdf", EXPOSURE))


@fuzz
@given(st.binary(max_size=60))
def test_any_bytes_as_a_parameter_file(strun_here, content):
    Path("f.cfg").write_bytes(content)
    done = strun_here("f.cfg")
    _check(done)
    assert done.status == 1


@settings(max_examples=300)
@given(st.one_of(values, st.text("a1,'\"# =[]", max_size=10)).map(str.strip))
def test_values_are_read_as_by_the_peer(text):
    """The peer hands the text to the parser of ini values; where that fails it shows a traceback."""
    configobj = pytest.importorskip("configobj")
    try:
        theirs = configobj.ConfigObj()._handle_value(text)[0]
    except (configobj.ConfigObjError, SyntaxError):
        theirs = None
    try:
        ours = specs.parse_value(text)
    except specs.ConfigError:
        ours = None
    # The peer takes three quotes for the beginning of a longer text, which then does not end.
    if theirs is not None and "\n" not in text and not text.startswith(("'''", '"""')):
        assert ours == theirs


commands = st.one_of(
    st.tuples(st.just("list"), st.lists(st.one_of(words, st.sampled_from(["*", "--steps-only", "--pipelines-only"])))),
    st.tuples(
        st.sampled_from(["describe", "plan", "run-plan"]),
        st.lists(st.one_of(steps.map(lambda name: [name]), options), max_size=4).map(lambda found: list(chain(*found))),
    ),
)


@fuzz
@given(commands)
@example(("plan", [EXPOSURE, "tiny_steps.AddStep", "--save", "x"]))
@example(("plan", [EXPOSURE, "tiny_steps.AddStep", "--save="]))
@example(("describe", ["tiny_steps.AddStep", "gone.fits"]))
@example(("run-plan", [EXPOSURE]))
@example(("plan", ["\x1e"]))  # str.splitlines takes it for the end of a line
def test_other_commands(exposure, tiny, capsys, command):
    name, arguments = command
    capsys.readouterr()
    try:
        status = cli.main([name, *arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status in (0, 1, 2, 255)
    if status in (1, 255):
        assert BOX.search(captured.out) or f"\nupramp {name}: " in f"\n{captured.err}", captured


@pytest.fixture
def plan_tree(exposure, tiny, capsys):
    """A small plan."""
    assert cli.main(["plan", exposure, "tiny_steps.TinyPipeline", "--steps.one.n=2", "--save", "p.json"]) == 0
    return json.loads(Path("p.json").read_text())


@fuzz
@given(st.data())
def test_damaged_plans(plan_tree, strun_here, data):
    tree = json.loads(json.dumps(plan_tree))
    place = tree
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        below = place[key]
        if not (isinstance(below, dict | list) and below and data.draw(st.booleans())):
            break
        place = below
    if data.draw(st.booleans()):
        del place[key]
    else:
        place[key] = data.draw(trees)
    Path("f.json").write_text(json.dumps(tree))
    done = strun_here("f.json", *data.draw(st.sampled_from([[], [EXPOSURE]])))
    _check(done)
    assert "Traceback" not in done.err, done.err

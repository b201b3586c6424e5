"""The same command lines with stpipe and here: exit status, message in the box, and the values that a step gets."""

import sys
from importlib import metadata

import pytest

pytest.importorskip("jwst")

STEPS = """
import json
{imports}

class Values(Step):
    '''Show the values.'''
    spec = '''
    val = float(default=4.0, min=0)             # A number
    n = integer(min=0, max=5, default=1)        # How often
    opt = option('a', 'b', default='a')
    flag = boolean(default=False)
    words = list(default=list())
    numbers = float_list(min=2, max=2, default=None)
    forced = force_list(default=list())
    text = string(default='t')
    short = string(max=3, default=None)
    table = input_file(default=None)
    out = output_file(default=None)
    output_ext = string(default='fits')
    '''
    reference_file_types = ['gain']
    def process(self, *args):
        names = ('val', 'n', 'opt', 'flag', 'words', 'numbers', 'forced', 'text', 'short', 'table', 'out')
        print('VALUES', self.name, json.dumps([args, *(getattr(self, name) for name in names)]))

class Pair(Pipeline):
    '''Two of them.'''
    spec = '''
    own = string(default='o')
    output_ext = string(default='fits')
    '''
    step_defs = {{'one': Values, 'two': Values}}
    def process(self, *args):
        print('OWN', self.name, self.own)
        self.one.run(*args)
        self.two.run(*args)

class Outer(Pipeline):
    '''A pipeline in a pipeline.'''
    spec = "output_ext = string(default='fits')"
    step_defs = {{'pair': Pair, 'alone': Values}}
    def process(self, *args):
        self.pair.run(*args)

class Needs(Step):
    '''Has a parameter without default.'''
    spec = '''
    must = integer()
    output_ext = string(default='fits')
    '''
    def process(self, *args):
        print('VALUES', self.name, self.must)

class Fail(Step):
    '''Fails.'''
    spec = '''
    way = string(default='error')
    output_ext = string(default='fits')
    '''
    def process(self, *args):
        if self.way == 'system':
            raise SystemExit(7)
        if self.way == 'status':
            raise {exit}(64, 'no science data')
        raise ValueError('it went wrong ' + 'and the message is long ' * 4)
"""

FILES = {
    "a.cfg": "name = my\nclass = {steps}.Values\nn = 2\nwords = a, b\ntable = folder/there.txt\n",
    "noname.cfg": "class = {steps}.Values\ntext = 'a, b'  # a comment\n",
    "pair.cfg": "class = {steps}.Pair\n[steps]\n[[one]]\nn = 2\nval = 7\nconfig_file = one.cfg\n[[two]]\n",
    "one.cfg": "val = 2\nopt = b\n",
    "outer.cfg": "class = {steps}.Outer\n[steps]\n[[pair]]\nown = x\n[[[steps]]]\n[[[[two]]]]\nn = 3\n",
    "interpolated.cfg": "class = {steps}.Values\ntext = %(opt)s-x\nopt = b\n",
    "percent.cfg": "class = {steps}.Values\ntext = 50%\n",
    "unknown.cfg": "class = {steps}.Values\nnix = 2\n",
    "unknown_step.cfg": "class = {steps}.Pair\n[steps]\n[[three]]\nn = 1\n",
    "unknown_below.cfg": "class = {steps}.Pair\n[steps]\n[[two]]\nnix = 1\n",
    "two_errors.cfg": "class = {steps}.Values\nn = 9\nflag = t\n",
    "no_interpolation.cfg": "class = {steps}.Values\ntext = %(nix)s\n",
    "broken.cfg": "[broken\n",
    "no_such_class.cfg": "class = {steps}.Nothing\n",
    "folder/there.txt": "",
    "p.asdf": "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
    "class: {steps}.Values\nname: fromasdf\nparameters: {{n: 3, val: null, words: [x, y]}}\n...\n",
    "types.asdf": "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
    "class: {steps}.Values\nname: x\nparameters: {{n: 2.7}}\n...\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two modules with the same steps, and parameter files for both."""
    root = tmp_path_factory.mktemp("same")
    kinds = {
        "ours": ("from upramp.framework import Pipeline, Step\nfrom upramp.errors import StepExit", "StepExit"),
        "theirs": ("from stpipe import Pipeline, Step\nfrom stpipe.exceptions import StpipeExitException",
                   "StpipeExitException"),
    }  # fmt: skip
    for kind, (imports, exit_class) in kinds.items():
        (root / f"{kind}_steps.py").write_text(STEPS.format(imports=imports, exit=exit_class))
        for name, content in FILES.items():
            path = root / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.format(steps=f"{kind}_steps"))
    return root


@pytest.fixture
def both(folder, capsys, monkeypatch):
    """Run a command line with stpipe and with ours; returns the two outcomes."""
    from upramp.framework.strun import main

    (script,) = metadata.distribution("stpipe").entry_points.select(group="console_scripts", name="strun")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")

    def run(kind, arguments):
        monkeypatch.chdir(folder / kind)
        monkeypatch.setattr(sys, "argv", ["strun", *(word.replace("STEPS", f"{kind}_steps") for word in arguments)])
        try:
            status = {"ours": main, "theirs": script.load()}[kind]() or 0
        except SystemExit as stop:
            status = stop.code or 0
        captured = capsys.readouterr()
        values = [line for line in captured.out.splitlines() if line.startswith(("VALUES", "OWN"))]
        texts = [
            status,
            _box(captured.out) if status == 1 else None,
            values,
            _error(captured.err) if status == 2 else None,
        ]
        return [str(one).replace(str(folder / kind), "").replace(f"{kind}_steps", "STEPS") for one in texts]

    return lambda *arguments: (run("theirs", arguments), run("ours", arguments))


def _box(text):
    """Header and message of the box, without white space: paths are broken at the margin."""
    _, *parts = text.split("-" * 70)
    return "".join(parts[0].split()) if parts else None


def _error(text):
    return text.splitlines()[-1]


SAME = """
STEPS.Values
STEPS.Values a b c
STEPS.Values x --n=3
STEPS.Values x --n 3
STEPS.Values --n=2 --n=3
STEPS.Values --va=2
STEPS.Values --tex=2
STEPS.Values --val=1e3
STEPS.Values --val=inf
STEPS.Values --val=-1
STEPS.Values --val=None
STEPS.Values --text=None
STEPS.Values --text=
STEPS.Values --text=''
STEPS.Values --text=a#b
STEPS.Values --text="a,b"
STEPS.Values --text=a,b
STEPS.Values --short=abcd
STEPS.Values --n=9
STEPS.Values --n=3.0
STEPS.Values --n=x
STEPS.Values --opt=b
STEPS.Values --opt=B
STEPS.Values --flag=YES
STEPS.Values --flag=0
STEPS.Values --flag=t
STEPS.Values --words=x
STEPS.Values --words=x,
STEPS.Values --words=,
STEPS.Values --words='ls,a',
STEPS.Values --words=1,2
STEPS.Values --forced=x
STEPS.Values --numbers=1,2
STEPS.Values --numbers=1,2,3
STEPS.Values --numbers=1,
STEPS.Values --numbers=1,x
STEPS.Values --table=folder/there.txt
STEPS.Values --table=gone.txt
STEPS.Values --out=new/name.fits
STEPS.Values --override_gain=x.fits
STEPS.Values --override_dark=x.fits
STEPS.Values --n=9 --flag=t
STEPS.Values --nix=1
STEPS.Values --skip
STEPS.Values --skip=true
STEPS.Values -- --n=3
STEPS.Values --log-level=foo
STEPS.Values --log-level=10
STEPS.Values --log-stream=null
STEPS.Values --logcfg=gone.cfg
STEPS.Values --verbose --log-stream=null
--val=3 STEPS.Values
--val 3 STEPS.Values
STEPS.Nothing
STEPS.json
nosuch
no.such

--help
STEPS.Needs
STEPS.Needs --must=3
STEPS.Fail --way=status
STEPS.Fail --way=system
STEPS.Fail
STEPS.Pair --steps.one.n=2
STEPS.Pair --steps.two.flag=on --own=q
STEPS.Pair --steps.one.n=9
STEPS.Pair --steps.one.nix=9
STEPS.Pair --steps.three.n=1
STEPS.Pair --steps.one.config_file=one.cfg
STEPS.Pair --steps.one.class=x --steps.one.name=y
STEPS.Outer --steps.pair.steps.one.n=2 --steps.pair.own=z
a.cfg
a.cfg --n=4 --words=c,
noname.cfg x
pair.cfg
pair.cfg --steps.one.val=1
outer.cfg
outer.cfg --steps.pair.steps.two.n=0
interpolated.cfg
percent.cfg
unknown.cfg
unknown_step.cfg
unknown_below.cfg
two_errors.cfg
p.asdf
p.asdf --val=2
types.asdf
""".strip("\n").split("\n")


@pytest.mark.parametrize("line", SAME)
def test_same_outcome(both, line):
    theirs, ours = both(*line.split(" ")) if line else both()
    # We add what may have been meant.
    assert ours[0] == theirs[0] and ours[2:] == theirs[2:]
    assert ours[1] == theirs[1] or ours[1].partition(";")[0] == theirs[1]


@pytest.mark.parametrize("name", ["broken.cfg", "no_such_class.cfg", "folder/there.txt"])
def test_a_damaged_file_has_a_box_with_both(both, name):
    theirs, ours = both(name)
    assert ours[0] == theirs[0] == "1"
    assert name in ours[1] or "STEPS.Nothing" in ours[1]


def test_a_missing_interpolation_has_a_box_here(both):
    theirs, ours = both("no_interpolation.cfg")
    assert theirs[:2] == ["1", "None"]
    assert ours[0] == "1" and "MissingInterpolationOption" in ours[1]

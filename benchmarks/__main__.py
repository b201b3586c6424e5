"""``python -m benchmarks``: measure, write the report and the table of the README."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from benchmarks import table
from benchmarks.measure import ROOT, machine
from benchmarks.report import QUICK_SECTIONS, SECTIONS, Session, measure_sections, merged
from benchmarks.shapes import DEFAULT_CACHE

RECORDED = Path(__file__).parent / "recorded.json"
LOUD = "!" * 100


def _parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="the small version: compared with benchmarks/recorded.json")
    add(
        "--only",
        nargs="+",
        choices=SECTIONS,
        metavar="SECTION",
        help=f"some sections, the others stay: {', '.join(SECTIONS)}",
    )
    add("--repeats", type=int, default=5, metavar="N", help="runs of upramp and the floor [default: %(default)s]")
    add("--peer-repeats", type=int, metavar="N", help="runs of the peer [default: 5, quick: 1]")
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument("--no-peer", dest="peer", action="store_const", const="none", help="do not run the peer")
    peers.add_argument(
        "--stored-peer", dest="peer", action="store_const", const="stored", help="the peer's figures of an earlier run"
    )
    add("--cache", type=Path, default=DEFAULT_CACHE, help="folder for exposures and references [default: %(default)s]")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="the report [default: report.json or quick.json in the cache folder]",
    )
    add("--readme", type=Path, default=ROOT / "README.md", metavar="FILE", help="gets the table, if complete")
    add("--record", action="store_true", help="with --quick: these ratios are the ones to compare with from now on")
    add("--table-only", action="store_true", help="write the table of an earlier report, measure nothing")
    parser.set_defaults(peer="run")
    return parser


def _show(item):
    print(table.show(item), flush=True)


def _compare(report, record):
    """Compare with the recorded ratios, loudly; then record, if asked to."""
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    slower = table.regressions(report, recorded.get("ratios", {}))
    if slower:
        print("\n".join(["", LOUD, f"SLOWER THAN RECORDED ({recorded['date']}):", *slower, LOUD]))
    else:
        print("\nNothing is slower than recorded.")
    if record:
        # Figures that were not measured now (the peer's, say) stay.
        ratios = recorded.get("ratios", {})
        for what, now in table.ratios(report).items():
            ratios[what] = ratios.get(what, {}) | now
        found = {"date": report["date"], "machine": report["machine"], "ratios": ratios}
        RECORDED.write_text(json.dumps(found, indent=1) + "\n")
        print(f"Recorded in {RECORDED}")


def _earlier(output):
    """The report whose other sections stay: None if there is none, or if it is of another machine."""
    if not output.exists():
        return None
    earlier = json.loads(output.read_text())
    if earlier["machine"] != machine():
        print(
            f"{output} was measured on another machine ({earlier['machine']['processor']}): its sections are dropped."
        )
        return None
    return earlier


def main(arguments=None):
    """Run the command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    output = options.output or options.cache / ("quick.json" if options.quick else "report.json")
    if options.table_only:
        table.write_readme(options.readme, json.loads(output.read_text()))
        return 0
    sections = QUICK_SECTIONS if options.quick else SECTIONS
    earlier = None
    if options.only:
        missing = [name for name in options.only if name not in sections]
        if missing:
            parser.error(f"--quick has no section {', '.join(missing)}; it has {', '.join(sections)}")
        sections = {name: section for name, section in sections.items() if name in options.only}
        earlier = _earlier(output)
    modes = [mode for section in sections.values() for mode in section.modes]
    options.cache.mkdir(parents=True, exist_ok=True)
    # The pipelines log to standard error as they would for a user.
    with (options.cache / "log.txt").open("w") as log, contextlib.redirect_stderr(log):
        peer_repeats = options.peer_repeats or (1 if options.quick else 5)
        session = Session(modes, options.cache, options.repeats, options.peer, peer_repeats)
        report = measure_sections(sections, session, _show)
    kept = report if earlier is None else merged(report, earlier, SECTIONS)
    output.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"\nReport: {output}")
    if options.quick:
        _compare(report, options.record)
    elif not options.only and options.peer == "run":
        table.write_readme(options.readme, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

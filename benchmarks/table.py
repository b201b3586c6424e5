"""Reports as Markdown, for the README, and as lines on the terminal; comparison with recorded ratios."""

from pathlib import Path

from benchmarks.report import Row

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
REGRESSION = 1.4  # a ratio worse than the recorded one by this factor; the noise of small exposures is 20 %

_HEADER = ("what", "exposure", "upramp", "peer", "faster", "floor", "x floor", "peak memory", "peer's", "remark")


def show(item):
    """A title or a row as one line of text."""
    if isinstance(item, str):
        return f"\n{item}"
    return " | ".join(cell for cell in _cells(item) if cell)


def markdown(report):
    """The tables of a report."""
    machine, versions = report["machine"], report["versions"]
    names = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = [
        f"Measured {report['date'][:10]} on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, Python {machine['python']}, {names}; "
        f"medians of {report['repeats']}, warm file cache. The peer is jwst; the floor reads the raw bytes and writes "
        "the bytes of the products with numpy and does nothing else. Peak memory is resident (with the mapped files); "
        "of calls in one process, what is added by the call."
    ]
    for section in report["sections"].values():
        rows = [_cells(Row.of(stored)) for stored in section["rows"]]
        used = [column for column in range(len(_HEADER)) if any(row[column] for row in rows)]
        day = section.get("date", report["date"])[:10]
        when = "" if day == report["date"][:10] else f" (measured {day})"
        lines += ["", f"**{section['title']}**{when}", ""]
        lines.append("| " + " | ".join(_HEADER[column] for column in used) + " |")
        lines.append("|" + "---|" * len(used))
        lines += ["| " + " | ".join(row[column] for column in used) + " |" for row in rows]
    return "\n".join(lines)


def _cells(row):
    peak = _bytes(row.peak)
    if row.peak_anonymous is not None:
        peak += f" (anonymous {_bytes(row.peak_anonymous)})"
    return (
        row.measure,
        row.mode,
        _time(row.seconds),
        _time(row.peer),
        "" if row.peer is None else f"{row.peer_ratio:.3g} x",
        _time(row.floor),
        "" if row.floor is None else f"{row.floor_ratio:.2g} x",
        peak,
        _bytes(row.peer_peak),
        row.note,
    )


def _time(seconds):
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _bytes(number):
    if number is None:
        return ""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def write_readme(path, report):
    """Put the tables of a report between the markers of a file.

    Raises
    ------
    ValueError
        The markers are not there, once each and in this order.
    """
    text = Path(path).read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no lines {BEGIN} and {END}; add them where the tables are to stand")
    Path(path).write_text(f"{before}{begin}\n{markdown(report)}\n{end}{after}")


def ratios(report):
    """The ratios of a report: by "measure, mode", ``peer_ratio`` and ``floor_ratio`` where they were measured."""
    names = ("peer_ratio", "floor_ratio")
    return {
        f"{row['measure']}, {row['mode']}": {name: row[name] for name in names if row[name] is not None}
        for section in report["sections"].values()
        for row in section["rows"]
    }


def regressions(report, recorded):
    """What has become slower than recorded, as lines of text.

    Parameters
    ----------
    report : dict
    recorded : dict
        As `ratios` gives it.
    """
    lines = []
    for what, now in ratios(report).items():
        before = recorded.get(what, {})
        for name in now.keys() & before.keys():
            worse = before[name] / now[name] if name == "peer_ratio" else now[name] / before[name]
            if worse > REGRESSION:
                lines.append(f"{what}: {name.replace('_', ' ')} is {now[name]:.3g}, recorded {before[name]:.3g}")
    return sorted(lines)

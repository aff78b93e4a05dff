"""What was found in a data set, as one page that needs nothing but itself."""

import json
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

from alexnet.html_page import contact_sheet, page, section
from alexnet.preparation.duplicates import Duplicates
from alexnet.preparation.statistics import Findings, Thumbnail
from alexnet.storage.store import Store


class Report(NamedTuple):
    """What there is to say."""

    name: str
    """Of the data set."""
    classes: tuple[str, ...]
    """Names in label order."""
    found: Findings
    repeated: Duplicates
    groups: list[list[str]]
    """Names of the images of `repeated.groups`."""
    problems: tuple[str, ...] = ()
    """Shards that are not as they were written."""

    def tree(self) -> dict[str, Any]:
        """The same as JSON has it; without the thumbnails."""
        tree = to_tree(self.found, self.classes, self.repeated)
        tree["duplicates"]["groups"] = self.groups
        return {"problems": self.problems, **tree}


def write(store: Store, file: str, report: Report) -> None:
    """Write a report as a page, and beside it as JSON.

    Args:
        store: where it goes.
        file: name of the page; ends in `.html`.
        report: to be written.

    Raises:
        StoreError: it cannot be written.
    """
    store.write(file, to_html(report).encode())
    data = json.dumps(report.tree(), indent=1) + "\n"
    store.write(file.removesuffix(".html") + ".json", data.encode())


def to_html(report: Report) -> str:
    """The page."""
    tree = report.tree()
    sections = [
        _headline(tree),
        section("Altered or missing shards", _list(report.problems)),
        section("Rejected files", _rejects(tree)),
        section("Repeated images", _repeated(report.repeated, report.groups)),
        section("Images a class", _classes(tree["classes"])),
        section("Short side", _histogram(tree["short_side_px"], _range(32, "px"))),
        section("File size", _histogram(tree["file_bytes"], _size)),
        section("Colour of the training images", _colour(tree["colour"])),
        section("Formats", _histogram(tree["formats"], str)),
        section("Handled by rule", _histogram(tree["notes"], str)),
        section("Contact sheet", _sheet(report.found.thumbnails, report.classes)),
    ]
    return page(f"Data set {report.name}", sections)


def _list(lines: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="bad">{items}</ul>' if items else ""


def _repeated(repeated: Duplicates, groups: list[list[str]]) -> str:
    if not groups:
        return ""
    rows = "".join(
        f"<tr><td>{escape(kind)}</td><td class=file>{'<br>'.join(map(escape, group))}</td></tr>"
        for kind, group in zip(repeated.kinds, groups, strict=True)
    )
    return f'<div class="scroll"><table><tr><th>kind</th><th>files</th></tr>{rows}</table></div>'


def _headline(tree: dict[str, Any]) -> str:
    repeated = tree["duplicates"]
    rows = [
        ("Usable images", tree["usable"], False),
        ("Rejected files", tree["rejected"], True),
        ("Validation images that are training images too", repeated["across_splits"], True),
        ("Same image under different labels", repeated["conflicting_labels"], True),
        ("Repeated within a split", repeated["within_a_split"], True),
    ]
    cells = "".join(
        f"<tr><td{' class=bad' if bad and count else ''}>{escape(text)}</td>"
        f'<td class="n">{count:,}</td></tr>'
        for text, count, bad in rows
    )
    return f"<table>{cells}</table>"


def _rejects(tree: dict[str, Any]) -> str:
    if not tree["rejects"]:
        return ""
    reasons = ", ".join(f"{count} {escape(kind)}" for kind, count in tree["reasons"].items())
    listed = len(tree["rejects"])
    more = f" The first {listed} by name:" if listed < tree["rejected"] else ""
    rows = "".join(
        f"<tr><td class=file>{escape(item['name'])}</td><td>{escape(item['reason'])}</td>"
        f"<td>{escape(item['message'])}</td></tr>"
        for item in tree["rejects"]
    )
    head = "<tr><th>file</th><th>reason</th><th>what was found</th></tr>"
    return f'<p>{reasons}.{more}</p><div class="scroll"><table>{head}{rows}</table></div>'


def _classes(counts: dict[str, dict[str, int]]) -> str:
    splits = sorted(counts)
    names = list(next(iter(counts.values()), {}))
    largest = max((count for split in counts.values() for count in split.values()), default=1)
    head = "".join(f'<th class="n">{escape(split)}</th>' for split in splits)
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f'<td class="n">{counts[split][name]:,}</td>' for split in splits)
        + f"<td style=width:40%>{_bar(counts[splits[0]][name], largest)}</td></tr>"
        for name in names
    )
    return (
        f'<div class="scroll"><table><tr><th>class</th>{head}<th></th></tr>{rows}</table></div>'
        if names
        else ""
    )


def _range(step: int, unit: str) -> Callable[[str], str]:
    return lambda low: f"{int(low)} to {int(low) + step - 1} {unit}"


def _size(low: str) -> str:
    """From a number of bytes to twice as many."""
    power = min((int(low).bit_length() - 1) // 10, 3)
    unit = ("B", "KiB", "MiB", "GiB")[power]
    begin = int(low) >> (10 * power)
    return f"{begin} to {2 * begin} {unit}"


def _histogram(counts: dict[str, int], label: Callable[[str], str]) -> str:
    largest = max(counts.values(), default=1)
    rows = "".join(
        f'<tr><td class="k">{escape(label(key))}</td><td class="n">{count:,}</td>'
        f"<td style=width:60%>{_bar(count, largest)}</td></tr>"
        for key, count in counts.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def _bar(count: int, largest: int) -> str:
    return f'<div class="bar" style="width:{100 * count / max(1, largest):.1f}%"></div>'


def _colour(colour: dict[str, Any] | None) -> str:
    if not colour:
        return ""
    rows = [("mean", colour["mean"]), ("standard deviation", colour["std"])]
    axes = zip(*colour["axes"], strict=True)
    rows += [
        (f"axis {number}, one standard deviation", axis) for number, axis in enumerate(axes, 1)
    ]
    cells = "".join(
        f"<tr><td>{escape(text)}</td>"
        + "".join(f'<td class="n">{value:.4f}</td>' for value in values)
        + f"<td>{_swatch(values, colour['mean'] if 'axis' in text else (0, 0, 0))}</td></tr>"
        for text, values in rows
    )
    head = '<tr><th></th><th class="n">red</th><th class="n">green</th><th class="n">blue</th></tr>'
    return f'<div class="wide"><table>{head}{cells}</table></div>'


def _swatch(values: Any, base: Any) -> str:
    """The colour, or what a shift by it makes of a base colour."""
    channels = (round(255 * min(1, max(0, a + b))) for a, b in zip(values, base, strict=True))
    rgb = ",".join(map(str, channels))
    return f'<span class="swatch" style="background:rgb({rgb})"></span>'


def _sheet(thumbnails: list[Thumbnail], classes: tuple[str, ...]) -> str:
    ordered = sorted(thumbnails, key=lambda item: (item.label, item.order))
    return contact_sheet((item.jpeg, classes[item.label]) for item in ordered)


def to_tree(findings: Findings, classes: tuple[str, ...], repeated: Duplicates) -> dict[str, Any]:
    """The report as JSON has it; without the thumbnails."""
    splits = sorted({split for split, _ in findings.counts})
    colour = findings.colours.colour() if findings.colours.pixels else None
    return {
        "usable": findings.num_usable,
        "rejected": findings.num_rejected,
        "classes": {
            split: {name: findings.counts[split, label] for label, name in enumerate(classes)}
            for split in splits
        },
        "formats": dict(sorted(findings.formats.items())),
        "notes": dict(sorted(findings.notes.items())),
        "reasons": dict(sorted(findings.reasons.items())),
        "rejects": [reject._asdict() for reject in findings.rejects],
        "short_side_px": {str(side): n for side, n in sorted(findings.short_sides.items())},
        "file_bytes": {str(size): n for size, n in sorted(findings.file_bytes.items())},
        "colour": {"mean": colour.mean, "std": colour.std, "axes": colour.axes} if colour else None,
        "duplicates": {
            "within_a_split": repeated.within,
            "across_splits": repeated.across,
            "conflicting_labels": repeated.conflicts,
        },
    }

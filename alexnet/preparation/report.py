"""What was found in a data set, as one page that needs nothing but itself."""

import json
from typing import Any, NamedTuple

from alexnet.dataset.sample_size import least_difference, sufficiency
from alexnet.html_page import render
from alexnet.preparation import account
from alexnet.preparation.duplicates import Duplicates
from alexnet.preparation.statistics import Findings
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
    num_val: int
    """Validation images of the whole data set, those that were there already too."""
    problems: tuple[str, ...] = ()
    """Shards that are not as they were written."""

    def tree(self) -> dict[str, Any]:
        """The same as JSON has it; without the thumbnails."""
        tree = to_tree(self.found, self.classes, self.repeated)
        tree["duplicates"]["groups"] = self.groups
        told = least_difference(self.num_val) if self.num_val else None
        return {"problems": self.problems, "least_difference_in_top1": told, **tree}


def write(store: Store, name: str, report: Report) -> str:
    """Write a report as JSON and as a page, whose file name this returns.

    Raises:
        StoreError: it cannot be written.
    """
    store.write(f"{name}.json", (json.dumps(report.tree(), indent=1) + "\n").encode())
    store.write(f"{name}.html", to_html(report).encode())
    return f"{name}.html"


def to_html(report: Report) -> str:
    """The page."""
    tree, found, repeated = report.tree(), report.found, report.repeated
    headline = [
        ("Usable images", found.num_usable, False),
        ("Rejected files", found.num_rejected, True),
        ("Validation images that are training images too", repeated.across, True),
        ("Same image under different labels", repeated.conflicts, True),
        ("Repeated within a split", repeated.within, True),
    ]
    splits = sorted(tree["classes"])
    thumbnails = sorted(found.thumbnails, key=lambda item: (item.label, item.order))
    return render(
        "data_report.html",
        title=f"Data set {report.name}",
        tree=tree,
        headline=headline,
        sufficiency=sufficiency(report.num_val) if report.num_val else "",
        groups=list(zip(repeated.kinds, report.groups, strict=True)) if report.groups else [],
        splits=splits,
        classes=[
            (name, [tree["classes"][split][name] for split in splits])
            for name in (report.classes if splits else ())
        ],
        short_sides=[(_sides(int(low)), n) for low, n in tree["short_side_px"].items()],
        file_sizes=[(_sizes(int(low)), n) for low, n in tree["file_bytes"].items()],
        colours=_colours(tree["colour"]),
        sheet=[(item.jpeg, report.classes[item.label]) for item in thumbnails],
    )


def _sides(low: int) -> str:
    return f"{low} to {low + 31} px"


def _sizes(low: int) -> str:
    """From a number of bytes to twice as many."""
    power = min((low.bit_length() - 1) // 10, 3)
    begin = low >> (10 * power)
    return f"{begin} to {2 * begin} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _colours(colour: dict[str, Any] | None) -> list[tuple[str, Any, list[int]]]:
    """Each row's text, RGB values, and swatch: the colour, or what a shift makes of the mean."""
    if not colour:
        return []
    black = (0.0, 0.0, 0.0)
    rows = [("mean", colour["mean"], black), ("standard deviation", colour["std"], black)]
    rows += [
        (f"axis {number}, one standard deviation", axis, colour["mean"])
        for number, axis in enumerate(zip(*colour["axes"], strict=True), 1)
    ]
    return [
        (text, rgb, [round(255 * min(1, max(0, a + b))) for a, b in zip(rgb, base, strict=True)])
        for text, rgb, base in rows
    ]


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
        "account": account.to_tree(findings.account),
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

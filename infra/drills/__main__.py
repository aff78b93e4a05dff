"""Break a training in every way that is promised to be survived, and see that it is.

Real S3, a real MLflow server and a Ray cluster of several nodes, all on this machine.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from infra import programs
from infra.drills import elastic, kills, outages, resume_time
from infra.drills.surroundings import Surroundings, surroundings
from infra.programs import ROOT, NotShownError

RESULTS = ROOT / "build" / "drills.jsonl"

DRILLS: dict[str, Callable[[Surroundings, str], int]] = {
    drill.__name__.replace("_", "-"): drill
    for drill in (
        kills.kill_anything,
        elastic.other_workers,
        elastic.node_joins_and_leaves,
        elastic.preemption,
        kills.sigterm,
        kills.job_stop,
        kills.frozen_worker,
        outages.mlflow_down_in_the_middle,
        outages.mlflow_down_at_the_start,
        outages.mlflow_down_at_the_end,
        outages.mlflow_down_for_good,
        outages.s3_down,
        outages.storage_full,
        outages.damaged_checkpoint,
        resume_time.resume_time,
    )
}
"""Each takes a name that no run has, and gives the steps that were redone."""

RUNS = {"kill-anything": 20}
"""How often a drill is run if not said; the others once."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of all runs of a drill."""

    name: str
    runs: int
    passed: int
    seconds: float
    """Median of a run."""
    steps_redone: int
    """Most of a run."""


def perform(name: str, runs: int, place: Surroundings) -> Result:
    """Run a drill so often."""
    seconds, redone = [], [0]
    print(f"{name}: {(DRILLS[name].__doc__ or '').splitlines()[0]}", flush=True)
    for number in range(runs):
        began = time.monotonic()
        place.reset()
        try:
            redone.append(DRILLS[name](place, f"{name}-{number + 1:02d}"))
            seconds.append(time.monotonic() - began)
        except NotShownError as error:
            print(f"  {name}-{number + 1:02d} failed: {error}", flush=True)
    median = sorted(seconds)[len(seconds) // 2] if seconds else 0.0
    return Result(name, runs, len(seconds), round(median, 1), max(redone))


def table(results: list[Result]) -> str:
    """For people, and for docs/results.md."""
    rows = [
        f"| {r.name} | {r.passed} of {r.runs} | {r.seconds:.0f} | {r.steps_redone} |"
        for r in results
    ]
    head = "| drill | passed | seconds, median | steps redone, most |\n|---|---:|---:|---:|"
    return "\n".join([head, *rows])


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = programs.parser(
        "drills", __doc__, "0 all passed, 1 not all, 2 an error to act on, 130 stopped"
    )
    parser.add_argument("--only", default="", metavar="NAME,...", help=", ".join(DRILLS))
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="of each drill")
    args = parser.parse_args(argv)
    names = args.only.split(",") if args.only else list(DRILLS)
    for name in names:
        if name not in DRILLS:
            parser.error(f"--only {name}: must be among {', '.join(DRILLS)}")
    if args.runs < 0:
        parser.error(f"--runs {args.runs}: must be 1 or more")
    return programs.exit_status("drills", lambda: _run(names, args.runs))


def _run(names: list[str], runs: int) -> int:
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="drills-", ignore_cleanup_errors=True) as folder,
        surroundings(Path(folder)) as place,
    ):
        for name in names:
            results.append(perform(name, runs or RUNS.get(name, 1), place))
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("a") as lines:
                lines.write(json.dumps(asdict(results[-1])) + "\n")
    print(table(results))
    return 0 if all(each.passed == each.runs for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())

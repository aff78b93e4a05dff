"""What a search prints: its plan, how it was stopped, and its result."""

from typing import Any

from alexnet import config_file
from alexnet.config import RunConfig
from alexnet.search.record import DONE, SearchRecord
from alexnet.search.space import Search
from alexnet.telemetry.cost import money
from pipelines.steps import text_table

BEST = "best.toml"
"""The file with the best configuration, in the search's folder and in MLflow."""


def plan(record: SearchRecord) -> str:
    """The trials as they would be."""
    left = sum(trial.outcome not in DONE for trial in record.trials)
    lines = [f"{record.name}: {left} trials to run", *text_table.trials(record.trials)]
    return "\n".join(lines)


def params(search: Search) -> dict[str, Any]:
    """What MLflow gets as parameters: all that stays as it is when there are more trials."""
    ranges = {f"space.{each.key}": f"{each.kind} {list(each.values)}" for each in search.space}
    return {
        "min_epochs": search.min_epochs,
        "reduction": search.reduction,
        "seed": search.seed,
        **ranges,
    }


def metrics(record: SearchRecord) -> dict[str, float]:
    """What MLflow gets of the whole."""
    found = record.best.peak
    cost = sum(trial.cost for trial in record.trials)
    return {
        "best/top1": found.top1,
        "best/loss": found.loss,
        **({"cost/search": cost} if record.currency else {}),
    }


def toml(record: SearchRecord, config: RunConfig) -> str:
    """The best configuration, as a file that `pipelines/train.py` takes; `config` is trial 0's.

    Raises:
        SearchError: no trial has finished.
    """
    found = record.best
    made = config_file.changed(config, found.values)
    return "\n".join(
        [
            "# python pipelines/train.py THIS_FILE",
            "#",
            f"# Trial {found.number} of {record.name}, the best of {len(record.trials)}:",
            f"# validation top-1 {found.peak.top1:.4f} after epoch {found.peak.number}.",
            f"# {_own(record)}",
            "# It was chosen by these validation images, so expect a little less of others.",
            "",
            config_file.to_toml(made, whole=False),
        ]
    )


def _own(record: SearchRecord) -> str:
    own = record.trials[0]
    if own.outcome == "finished":
        return f"The values from before the search reached {own.peak.top1:.4f}."
    return f"The values from before the search: {own.outcome or 'not ended'}."


def stopped(record: SearchRecord, why: str) -> str:
    """How the search was ended before its end."""
    done = sum(trial.outcome in DONE for trial in record.trials)
    return (
        f"stopped by {why}: {done} of {len(record.trials)} trials have ended. The same command "
        "goes on."
    )


def closing(record: SearchRecord, file: str, tracker: str) -> str:
    """The trials, what is best, and what to try next."""
    rest = sorted(
        (each for each in record.trials if each.outcome != "finished"),
        key=lambda trial: (-len(trial.epochs), trial.number),
    )
    cost = sum(trial.cost for trial in record.trials)
    return "\n".join(
        [
            "",
            *text_table.trials([*record.ranked, *rest]),
            "",
            f"best     trial {record.best.number}, top-1 {record.best.peak.top1:.4f}",
            *([f"cost     {money(cost, record.currency)}"] if record.currency else []),
            f"MLflow   {record.name} at {tracker}, its trials nested in it",
            f"written  {file}",
            "",
            "next:",
            *([f"  aws s3 cp {file} {BEST}"] if "://" in file else []),
            f"  python pipelines/train.py {BEST if '://' in file else file}",
            "  the same command with more trials in its --space goes on with this search",
        ]
    )

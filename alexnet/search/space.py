"""The definition of a search: which keys vary, over which values, and for how many trials.

A trial is a training with other values of some keys. The values are the points of a Halton
sequence, which covers a space more evenly than random draws do (Bousquet et al. 2017, "Critical
hyper-parameters: no random, no cry") and begins with the same points however many there are. Trial
0 has the run's own values, so that a search says whether there is anything better.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from scipy.stats.qmc import Halton

from alexnet import config_file
from alexnet.config import RunConfig, checker, json_digest
from alexnet.errors import ConfigError

NOT_SEARCHED = ("model.num_classes", "train.epochs", "train.seed", "train.parent")
"""Of the keys that decide the weights: the data decides one, trials are compared at equal epochs, a
better seed is luck, and the weights to begin with are the champion's."""

TRIES = 64
"""Points that are drawn for each trial until one is new; where there are few values to choose from,
fewer trials are made."""

DIGITS = 4
"""Of a drawn number that are kept, so that people can write it down; our choice."""

Kind = Literal["uniform", "log", "choice"]


class Range(NamedTuple):
    """The values that one key may have."""

    key: str
    """`section.key`."""
    kind: Kind
    """Evenly or by the logarithm from the first to the last value, or one of them."""
    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the range."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        low, high = self.values
        drawn = low * (high / low) ** share if self.kind == "log" else low + share * (high - low)
        return float(f"{drawn:.{DIGITS}g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A file of `pipelines/spaces/`.

    Trials are ended early by ASHA (Li et al. 2018, "A system for massively parallel hyperparameter
    tuning").
    """

    trials: int = 16
    """With trial 0, which has the run's own values. More may be asked for later."""

    min_epochs: int = 1
    """Epochs that a trial lasts at least. Then, and at each multiple by `reduction`, it ends if it
    is not among the best of those that came as far."""

    reduction: float = 3.0
    """ASHA's reduction factor: at each rung, the best 1 / reduction of the trials continue."""

    side_by_side: int = 0
    """Trials at a time. 0: as many as the cluster has room for when the search begins; one that
    grows must be told."""

    seed: int = 0
    """Of the sequence."""

    space: tuple[Range, ...] = ()

    def __post_init__(self) -> None:
        check = checker(self, "search")
        check("trials", self.trials >= 2, "must be 2 or more")
        check("min_epochs", self.min_epochs >= 1, "must be 1 or more")
        check("reduction", self.reduction > 1, "must be above 1")
        check("side_by_side", self.side_by_side >= 0, "must be 0 (choose) or more")
        check("seed", self.seed >= 0, "must be 0 or more")


def load(path: Path) -> Search:
    """Read a search from a TOML file.

    Raises:
        ConfigError: it cannot be read, a key is unknown, or a value or range breaks its rule.
    """
    tree = config_file.read(path, "a search")
    space = tree.pop("space", {})
    if not isinstance(space, dict) or not space:
        raise ConfigError(f"{path}: no [space]. List keys and their ranges in it.")
    search = config_file.build(Search, tree)
    ranges = [
        _range(f"{section}.{key}", value)
        for section, keys in space.items()
        for key, value in _section(section, keys).items()
    ]
    return dataclasses.replace(search, space=tuple(sorted(ranges)))


def _section(name: str, keys: Any) -> Mapping[str, Any]:
    if not isinstance(keys, dict) or set(keys) & set(get_args(Kind)):
        raise ConfigError(f"space.{name} = {keys!r}: must be section.key, e.g. optim.momentum")
    return keys


def _range(key: str, value: Any) -> Range:
    name, kinds = f"space.{key} = {value!r}", get_args(Kind)
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(kinds):
        raise ConfigError(
            f"{name}: must be one of {', '.join(kinds)}, e.g. {{ log = [0.01, 0.1] }}"
        )
    ((kind, values),) = value.items()
    if kind == "choice":
        if not isinstance(values, list) or len(values) < 2:
            raise ConfigError(f"{name}: must be a list of two values or more")
        return Range(key, kind, tuple(values))
    if (
        not isinstance(values, list)
        or [type(each) in (int, float) for each in values] != [True] * 2
    ):
        raise ConfigError(f"{name}: must be the lowest and the highest number, e.g. [0.01, 0.1]")
    low, high = map(float, values)
    if not low < high:
        raise ConfigError(f"{name}: must rise")
    if kind == "log" and low <= 0:
        raise ConfigError(f"{name}: must be above 0")
    return Range(key, kind, (low, high))


def draws(search: Search, config: RunConfig) -> list[dict[str, Any]]:
    """The values of each trial, by key; none for trial 0. The first ones are the same for more.

    Raises:
        ConfigError: a key may not vary, or a value breaks its rule.
    """
    _check(search, config)
    sequence = Halton(d=len(search.space), scramble=True, rng=search.seed)
    found: list[dict[str, Any]] = [{}]
    known, drawn = {config.digest()}, set()
    for _ in range(TRIES * search.trials):
        if len(found) == search.trials:
            break
        (point,) = sequence.random(1)
        shares = zip(search.space, point, strict=True)
        values = {each.key: each.at(share) for each, share in shares}
        if repr(values) in drawn:  # the rest takes milliseconds
            continue
        drawn.add(repr(values))
        made = config_file.changed(config, values).digest()
        if made not in known:
            found.append(values)
            known.add(made)
    return found


def _check(search: Search, config: RunConfig) -> None:
    allowed = [key for key in config.identity() if key not in NOT_SEARCHED]
    for each in search.space:
        if each.key not in allowed:
            raise ConfigError(
                f"space.{each.key}: does not vary in a search. Known: {', '.join(allowed)}."
            )
    if search.min_epochs > config.train.epochs:
        raise ConfigError(
            f"search.min_epochs = {search.min_epochs}: must be at most train.epochs = "
            f"{config.train.epochs}"
        )


def digest(search: Search, config: RunConfig, manifest_digest: str) -> str:
    """SHA-256 (hex) of all that decides what trials do, however many there are, and at a time."""
    tree = {
        **dataclasses.asdict(search),
        "trials": None,
        "side_by_side": None,
        "recipe": config.recipe_digest(),
        "manifest": manifest_digest,
    }
    return json_digest(tree)

"""Reconciles MLflow's aliases with the recorded decisions, exactly once each."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from alexnet.promotion import decisions
from alexnet.promotion.decisions import AliasTargets, Decision, DecisionLog


class Aliases(Protocol):
    """What is needed of a registered model; `alexnet/adapters/mlflow_registry.py` has it."""

    def aliases(self) -> dict[str, int]:
        """Number of the version that each alias is set on."""

    def has(self, numbers: Collection[int | None]) -> bool:
        """Whether all of these versions exist."""

    def set_alias(self, alias: str, number: int | None) -> None:
        """Set an alias on a version, or take it away."""

    def annotate(self, number: int, tags: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Write tags on a version, and texts among its run's artifacts."""


@dataclass(frozen=True, slots=True)
class AliasReconciler:
    """Makes the aliases of a registered model those that the decisions ask for."""

    registry: Aliases
    log: DecisionLog
    notify: Callable[[Decision], object]
    """Called with each decision when the aliases are moved; twice, if that was cut off."""
    say: Callable[[str], None]

    def reconcile(self) -> list[Decision]:
        """Complete what was cut off, and write down what was moved by hand; all decisions.

        Raises:
            AlexNetError: the decisions cannot be read, or MLflow does not answer.
        """
        made = self.log.read()
        if made and not self.log.is_done(made[-1]):
            self._complete(made[-1])
        held, known = self.registry.aliases(), decisions.current_aliases(made)
        if held.get("champion") != known.champion:
            by_hand = held.get("champion")
            after = AliasTargets(by_hand, known.champion if by_hand else None)
            moved = Decision(
                number=len(made) + 1,
                kind="moved by hand",
                version=by_hand,
                before=known,
                after=after,
            )
            self.say(f"alias champion was moved by hand from {known.champion} to {by_hand}; noted")
            self.decide(moved)
            made.append(moved)
        return made

    def decide(self, decision: Decision) -> None:
        """Make a decision and carry it out.

        Raises:
            PromotionError: another was made meanwhile.
            AlexNetError: a server does not answer; the next call completes it.
        """
        self.log.append(decision)
        self._carry_out(decision)

    def _complete(self, decision: Decision) -> None:
        what = (
            f"decision {decision.number} (version {decision.version} {decision.kind}) was cut off"
        )
        if self.registry.has({decision.version, *decision.after} - {None}):
            self.say(f"{what}: it is completed now")
            self._carry_out(decision)
        else:
            self.say(f"{what}, and a version that it names was deleted since: it is left as it is")
            self.log.mark_done(decision)

    def _carry_out(self, decision: Decision) -> None:
        """Tags and files, aliases, the hook, in this order; all of it may be done again."""
        self._tell(decision)
        newest = decision
        while True:
            self._move(newest.after)
            # One that was paused in the middle must not undo what was decided since.
            last = self.log.read()[-1]
            if last.number == newest.number:
                break
            newest = last
        self.notify(decision)
        self.log.mark_done(decision)

    def _move(self, after: AliasTargets) -> None:
        """The champion last: one that is killed in between leaves the old one or the new one."""
        held, previous = self.registry.aliases(), after.previous
        if previous and not self.registry.has({previous}):
            previous = None  # deleted by hand
        for alias, number in (("previous", previous), ("champion", after.champion)):
            if held.get(alias) != number:
                self.registry.set_alias(alias, number)

    def _tell(self, decision: Decision) -> None:
        """Write on the version what was decided about it."""
        if decision.version is None:
            return
        name = f"decisions/{decision.number:06d}"
        files = {f"{name}.json": decision.to_json()}
        if decision.page:
            files[f"{name}.html"] = self.log.store.read(decision.page).decode()
        tags = {
            f"gate.{each.rule.replace(' ', '_')}": f"{'yes' if each.holds else 'NO'}: {each.found}"
            for each in decision.verdicts
        }
        said = f"{decision.kind} (decision {decision.number})"
        reason = {"decision_reason": decision.reason} if decision.reason else {}
        self.registry.annotate(decision.version, {**tags, **reason, "decision": said}, files)

"""Back to the champion of before."""

from alexnet.adapters.mlflow_registry import Registry
from alexnet.promotion import decisions
from alexnet.promotion.aliases import AliasReconciler


def roll_back(
    reconciler: AliasReconciler, registry: Registry, reason: str, *, dry_run: bool
) -> int:
    """Make the champion of before champion again; the exit status.

    Raises:
        PromotionError: there was none.
        ArtifactError: it is not any more what was registered.
        AlexNetError: a server does not answer.
    """
    made = reconciler.log.read() if dry_run else reconciler.reconcile()
    decision = decisions.rollback(made, reason)
    back = registry.find(str(decision.after.champion))
    with registry.fetched(back):  # its files are checked before it serves again
        pass
    if dry_run:
        reconciler.say(f"{back.shown}: would be champion again")
        return 0
    reconciler.decide(decision)
    reconciler.say(f"{back.shown}: is champion again, decision {decision.number}")
    return 0

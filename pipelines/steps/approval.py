"""A person's word, given as a tag of the version in MLflow."""

from collections.abc import Callable

from alexnet.adapters.mlflow_registry import Registry, Version

TAG, AGAINST = "approval", "approval_asked_against"

APPROVED = "approved"


def given(
    registry: Registry, version: Version, champion: int | None, say: Callable[[str], None]
) -> bool:
    """Whether a person has approved that a version takes the present champion's place.

    Asks for it otherwise. A word that was given when another version was champion does not count.

    Raises:
        TrackingError: MLflow does not answer.
    """
    against = str(champion or "none")
    asked = version.tags.get(AGAINST) == against
    if asked and version.tags.get(TAG, "").strip().lower() == APPROVED:
        return True
    if not asked or TAG not in version.tags:
        registry.tell(version.number, {TAG: "asked for", AGAINST: against}, {})
    say(
        f"{version.shown}: waits for approval. Set its tag {TAG} to {APPROVED} in MLflow, then "
        "give the same command again."
    )
    return False

"""What a user can act on. Scripts print these in one line and exit with status 2.

The form of every message is: what, with the value: the rule, or what was found instead. What to do.
Any other exception is a bug and keeps its traceback.
"""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its repr if it says nothing."""
    return next(iter(str(error).strip().splitlines()), repr(error))


class AlexNetError(Exception):
    """Something the user can fix."""


class ConfigError(AlexNetError):
    """A key or value of the configuration breaks a rule."""


class DataError(AlexNetError):
    """A data set is not what its manifest or the run says it is."""


class StoreError(AlexNetError):
    """Files or objects cannot be read or written."""


class StoreUnavailableError(StoreError):
    """The store does not answer, or not now: what may well succeed later."""


class CheckpointError(AlexNetError):
    """A checkpoint is incomplete, or belongs to another run."""


class DivergedError(AlexNetError):
    """A loss or a weight is no longer a finite number."""


class ArtifactError(AlexNetError):
    """A version of the registered model is not what was registered, or not what it may be."""


class PromotionError(AlexNetError):
    """A version cannot be promoted, or not now."""


class RetrainingError(AlexNetError):
    """A retraining cannot be resumed."""


class SearchError(AlexNetError):
    """A search cannot be resumed, or has nothing to show."""


class LeaseError(AlexNetError):
    """Another process is at work on the same run."""


class ClusterError(AlexNetError):
    """The Ray cluster cannot give what the run asks for, or a worker failed for good."""


class TrackingError(AlexNetError):
    """MLflow cannot be reached or refuses."""


class TrackingUnavailableError(TrackingError):
    """MLflow does not answer, or not now: what may well succeed later."""

"""Whether MLflow lets a training write."""

from typing import Any

import mlflow
from mlflow.tracking import MlflowClient

from alexnet.adapters.mlflow_connection import calm, mended, shown, tracking_uri
from alexnet.config import RegistryConfig

NAME = "write test"


def check_writable(settings: RegistryConfig) -> str:
    """Write a run with a metric and a file, and delete it; look at the registry.

    Returns:
        The tracker's address.

    Raises:
        TrackingError: MLflow does not answer, or refuses.
    """
    uri = tracking_uri()
    calm()
    try:
        mlflow.set_tracking_uri(uri)
        client: Any = MlflowClient(uri)
        experiment = mlflow.set_experiment(settings.experiment)
        run_id = client.create_run(experiment.experiment_id, run_name=NAME).info.run_id
        try:
            client.log_metric(run_id, "written", 1.0)
            client.log_text(run_id, "written", "written.txt")
        finally:
            client.set_terminated(run_id)
            client.delete_run(run_id)
        client.search_registered_models(max_results=1)
    except Exception as error:  # requests, SQLAlchemy and MLflow raise their own
        raise mended(error, uri) from error
    return shown(uri)

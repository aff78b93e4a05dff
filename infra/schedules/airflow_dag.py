"""For Airflow 3: copy it into the folder of DAGs. Airflow needs nothing of this project installed.

ALEXNET_HOME, in the environment of Airflow's workers, is a clone with its `.venv`. They also need
RAY_API_SERVER_ADDRESS, RAY_AUTH_TOKEN, MLFLOW_TRACKING_URI and AWS_*.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    dag_id="alexnet_retrain",
    schedule="17 3 * * 1",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # one retraining has learnt all that missed ones would have
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
) as dag:
    BashOperator(
        task_id="retrain",
        # The tick is that of the run, so that a task that is tried again finds its job.
        bash_command=(
            'cd "$ALEXNET_HOME" && exec .venv/bin/python pipelines/submit.py '
            "pipelines/configs/imagenet.toml --tick {{ dag_run.run_after.isoformat() }}"
        ),
        # Refused by the gate, waits for approval, another is at work: shown as skipped.
        skip_on_exit_code=[3, 4, 5],
        append_env=True,
    )

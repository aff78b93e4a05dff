"""What a stack and those who have used it have written, searched for the secrets it runs with."""

import json
import urllib.request
from pathlib import Path

import boto3
import psutil


def check_no_secret(stack, *buckets):
    """No secret is in a log or file of a server, in these buckets, or in Ray's jobs."""
    names = ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")  # new ones each time, used by every node
    secrets = {name: stack.env[name].encode() for name in names}
    found, looked = [], 0
    for where, content in _written(stack, buckets):
        looked += 1
        found += [(where, name) for name, secret in secrets.items() if secret in content]
    assert found == []
    assert looked > 100


def _written(stack, buckets):
    """Where and what: logs of servers and of Ray, MLflow's database, S3, and Ray's jobs."""
    folder, env = stack.folder, stack.env
    own = {folder / "env.sh", folder / "s3.json"}  # private files, whose purpose it is
    temporary = {
        Path(argument.partition("=")[2])
        for child in psutil.Process(stack.process.pid).children()
        for argument in child.cmdline()
        if argument.startswith("--temp-dir=")
    }
    assert len(temporary) == 2
    for top in (folder, *temporary):
        for path in top.rglob("*"):
            if path.is_file() and path not in own:
                yield path, path.read_bytes()
    client = boto3.session.Session(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]).client(
        "s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"]
    )
    for bucket in buckets:
        listed = client.list_objects_v2(Bucket=bucket)["Contents"]
        for key in (each["Key"] for each in listed):
            yield f"{bucket}/{key}", client.get_object(Bucket=bucket, Key=key)["Body"].read()
    request = urllib.request.Request(
        f"{env['RAY_API_SERVER_ADDRESS']}/api/jobs/",
        headers={"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        jobs = answer.read()
    assert {job["submission_id"] for job in json.loads(jobs)} >= stack.submitted != set()
    yield "jobs", jobs

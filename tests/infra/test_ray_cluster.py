"""The cluster file is one that Ray and EC2 accept."""

from pathlib import Path

import boto3
import pytest
import yaml
from botocore.validate import validate_parameters

FILE = Path(__file__).parents[2] / "ray_cluster.yaml"


@pytest.fixture
def cluster():
    return yaml.safe_load(FILE.read_text())


def test_ray_accepts_it(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_ec2_accepts_every_node(cluster):
    client = boto3.client("ec2", region_name="us-east-1")
    shape = client.meta.service_model.operation_model("RunInstances").input_shape
    for node in cluster["available_node_types"].values():
        validate_parameters({**node["node_config"], "MinCount": 1, "MaxCount": 1}, shape)


def test_every_node_has_a_role_of_its_own(cluster):
    # Ray's default roles may do everything in EC2 and S3.
    for node in cluster["available_node_types"].values():
        assert "IamInstanceProfile" in node["node_config"]


def test_nothing_is_trained_on_the_head(cluster):
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"]["CPU"] == 0

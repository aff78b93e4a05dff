"""The cluster file is one that Ray and EC2 accept, and that keeps our own rules."""

import re
from copy import deepcopy
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from botocore.validate import validate_parameters

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ray_cluster.yaml"


@pytest.fixture
def cluster():
    return yaml.safe_load(FILE.read_text())


def check_ray(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(deepcopy(cluster)))


def check_ec2(cluster):
    client = boto3.client("ec2", region_name="us-east-1")
    shape = client.meta.service_model.operation_model("RunInstances").input_shape
    for node in cluster["available_node_types"].values():
        report = validate_parameters({**node["node_config"], "MinCount": 1, "MaxCount": 1}, shape)
        assert report is None


def changed(cluster, path, value):
    made = deepcopy(cluster)
    *way, last = path.split("/")
    place = made
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return made


def test_ray_and_ec2_accept_it(cluster):
    check_ray(cluster)
    check_ec2(cluster)


TYPES = "available_node_types"


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("idle_timeout", 10, "Additional properties are not allowed"),
        ("head_node_type", "heads", "must be one of `available_node_types`"),
        (f"{TYPES}/spot/resources", {"GPU": 0.5}, "0.5 is not of type 'integer'"),
        (f"{TYPES}/spot/min_workers", 9, "is smaller than the sum of `min_workers`"),
        (f"{TYPES}/spot/market", "spot", "Additional properties are not allowed"),
        (f"{TYPES}/on-demand/resources", None, "'resources' is a required property"),
        ("max_workers", "eight", "'eight' is not of type 'integer'"),
    ],
)
def test_a_mistake_is_found_by_ray(cluster, path, value, wanted):
    with pytest.raises(Exception, match=wanted):
        check_ray(changed(cluster, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spot/node_config/Instancetype", "g6.4xlarge"),
        ("spot/node_config/InstanceMarketOptions", "spot"),
        ("head/node_config/IamInstanceProfile", "arn"),
        ("head/node_config/BlockDeviceMappings", [{"Ebs": {"VolumeSize": "100"}}]),
    ],
)
def test_a_mistake_is_found_by_ec2(cluster, path, value):
    with pytest.raises(ParamValidationError):
        check_ec2(changed(cluster, f"{TYPES}/{path}", value))


def test_every_node_has_a_role_and_an_image_of_its_own(cluster):
    # Ray's default roles may do everything in EC2 and S3, its default image is Ubuntu 18.04.
    for node in cluster[TYPES].values():
        assert {"IamInstanceProfile", "ImageId"} <= set(node["node_config"])
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


def test_nothing_is_trained_on_the_head_and_only_workers_are_spot(cluster):
    types = cluster[TYPES]
    assert types[cluster["head_node_type"]]["resources"]["CPU"] == 0
    spot = [name for name, each in types.items() if "InstanceMarketOptions" in each["node_config"]]
    assert spot == ["spot"]
    assert types["spot"]["priority"] > types["on-demand"]["priority"]
    del types["spot"]["node_config"]["InstanceMarketOptions"]
    assert types["spot"]["node_config"] == types["on-demand"]["node_config"]


def test_what_it_brings_along_exists_and_is_used_where_it_lies(cluster):
    folder = "/home/ubuntu/alexnet/"
    text = FILE.read_text()
    for there, here in cluster["file_mounts"].items():
        if here.startswith("~"):  # the token
            continue
        assert (ROOT / here).is_file()
        assert text.count(there.removeprefix(folder)) > 1


def test_every_start_is_with_the_token_and_none_shows_the_dashboard_to_the_network(cluster):
    starts = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    at_work = [each for each in starts if "ray start" in each or "spot_watch.py $" in each]
    assert len(at_work) == 3
    assert all("RAY_AUTH_MODE=token" in each for each in at_work)
    hosts = re.findall(r"--dashboard-host=(\S+)", " ".join(starts))
    assert hosts == ["127.0.0.1"]


def test_no_secret_is_in_it():
    assert not re.search(
        r"AKIA|aws_secret|(?:key|token|password)\s*[:=]\s*[0-9a-f]{16}", FILE.read_text()
    )

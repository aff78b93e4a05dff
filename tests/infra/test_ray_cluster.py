"""The cluster file is one that Ray and EC2 accept, and that keeps our own rules."""

import os
import pty
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import boto3
import click
import psutil
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from botocore.validate import validate_parameters

from tests.waiting import wait_until

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


# What `ray up` and the autoscaler do at AWS, with moto in its place: in this process, and without a
# network. What is in capitals in the file is filled in with what is in the account.

PROFILES = ("head", "worker")
IMAGES = ("ubuntu", "ubuntu-with-cuda")


@dataclass
class Account:
    """What Ray made in an account, and what it takes each node type for."""

    resources: dict
    """By node type; what the autoscaler believes a node of it has."""
    instance_types: dict
    instances: dict
    """By node type, while they ran."""
    disks: dict
    """By instance."""
    group: dict
    """The security group of all instances."""
    given: dict
    """Profiles and images that were there before, by name."""
    profiles: list
    roles: list
    states: dict
    """By node type, after Ray ended them."""


@contextmanager
def aws():
    """AWS in this process, and Ray without clients from before or after."""
    import moto
    from moto.ec2.models.instance_types import InstanceTypeBackend
    from ray.autoscaler._private.aws import config, utils

    families = set(re.findall(r"InstanceType: (\w+\.)", FILE.read_text()))
    some = [t for t in InstanceTypeBackend.instance_types if t.name.startswith(tuple(families))]
    caches = [utils.resource_cache, utils.client_cache, config._get_subnets_or_die]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setattr(moto.settings, "ENABLE_AMI_VALIDATION", True)
        patch.setattr(moto.settings, "ENABLE_KEYPAIR_VALIDATION", True)
        patch.setattr(InstanceTypeBackend, "instance_types", some)  # Ray lists all, for seconds
        patch.setattr(config, "time", SimpleNamespace(sleep=lambda _: None))  # 15 s for a new role
        for cache in caches:
            cache.cache_clear()
        try:
            with moto.mock_aws() as mock:
                yield mock
        finally:
            for cache in caches:
                cache.cache_clear()


def fill_in(cluster, iam, ec2):
    """Profiles and images in the account, and their names in the place of the file's capitals."""
    profiles = [iam.create_instance_profile(InstanceProfileName=each) for each in PROFILES]
    head, worker = (each["InstanceProfile"]["Arn"] for each in profiles)
    plain, cuda = (
        ec2.register_image(Name=each, RootDeviceName="/dev/sda1")["ImageId"] for each in IMAGES
    )
    text = yaml.safe_dump(cluster)
    for capitals, value in {
        "HEAD_INSTANCE_PROFILE_ARN": head,
        "WORKER_INSTANCE_PROFILE_ARN": worker,
        "AMI_WITH_PYTHON_3_11": plain,
        "AMI_WITH_CUDA_AND_PYTHON_3_11": cuda,
        "MLFLOW_SERVER_URL": "http://mlflow.example:5000",
    }.items():
        text = text.replace(capitals, value)
    given = dict(zip(PROFILES + IMAGES, (head, worker, plain, cuda), strict=True))
    return yaml.safe_load(text), given


def resolve(cluster):
    """What `ray up` makes of the file. An unknown instance type is an error here.

    `ray up` itself only warns of one, and goes on to start a head whose workers never come.
    """
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(cluster))
    validate_config(config)
    return AWSNodeProvider.bootstrap_config(config)


def start_one_of_each(provider, config):
    for name, each in config[TYPES].items():
        is_head = name == config["head_node_type"]
        node_config = {**(config["head_node"] if is_head else {}), **each["node_config"]}
        kind = "head" if is_head else "worker"
        known_by = {"ray-node-type": kind, "ray-user-node-type": name, "ray-launch-config": "x"}
        provider.create_node(node_config, known_by, 1)


def by_type(ec2):
    found = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    return {tags(each)["ray-user-node-type"]: each for each in found}


def tags(instance):
    return {each["Key"]: each["Value"] for each in instance["Tags"]}


def up_and_down(cluster):
    """A cluster with one node of each type, and its end."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    region = cluster["provider"]["region"]
    iam, ec2 = (boto3.client(each, region_name=region) for each in ("iam", "ec2"))
    filled, given = fill_in(cluster, iam, ec2)
    config = resolve(filled)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    start_one_of_each(provider, config)
    instances = by_type(ec2)
    disks = {
        each["Attachments"][0]["InstanceId"]: each for each in ec2.describe_volumes()["Volumes"]
    }
    (group,) = {each["GroupId"] for i in instances.values() for each in i["SecurityGroups"]}
    for node in provider.non_terminated_nodes({}):
        provider.terminate_node(node)
    return Account(
        resources={name: each["resources"] for name, each in config[TYPES].items()},
        instance_types={
            t["InstanceType"]: t for t in ec2.describe_instance_types()["InstanceTypes"]
        },
        instances=instances,
        disks=disks,
        group=ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0],
        given=given,
        profiles=[each["Arn"] for each in iam.list_instance_profiles()["InstanceProfiles"]],
        roles=[each["RoleName"] for each in iam.list_roles()["Roles"]],
        states={name: each["State"]["Name"] for name, each in by_type(ec2).items()},
    )


@pytest.fixture(scope="module")
def ray_up(tmp_path_factory):
    """`up_and_down` in an account that is empty each time."""
    with aws() as mock, pytest.MonkeyPatch.context() as patch:

        def run(cluster):
            mock.reset()
            patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # Ray's key for ssh
            return up_and_down(cluster)

        yield run


@pytest.fixture(scope="module")
def account(ray_up):
    return ray_up(yaml.safe_load(FILE.read_text()))


def the_head_offers_nothing(account):
    assert account.resources["head"] == {"CPU": 0}


def workers_offer_what_their_instances_have(account):
    for name in ("spot", "on-demand"):
        instance = account.instance_types[account.instances[name]["InstanceType"]]
        (gpus,) = instance["GpuInfo"]["Gpus"]
        offered = account.resources[name]
        assert offered["CPU"] == instance["VCpuInfo"]["DefaultVCpus"] == 16
        assert offered["GPU"] == gpus["Count"] == 1
        assert offered[f"accelerator_type:{gpus['Name']}"] == 1
        assert 0 < offered["memory"] < instance["MemoryInfo"]["SizeInMiB"] * 2**20


def only_spot_workers_are_spot(account):
    lifecycles = {name: i.get("InstanceLifecycle") for name, i in account.instances.items()}
    assert lifecycles == {"head": None, "spot": "spot", "on-demand": None}


def profile_and_image_are_ours(account):
    wanted = {"head": ("head", "ubuntu")}
    wanted |= dict.fromkeys(("spot", "on-demand"), ("worker", "ubuntu-with-cuda"))
    for name, (profile, image) in wanted.items():
        instance = account.instances[name]
        assert instance["IamInstanceProfile"]["Arn"] == account.given[profile]
        assert instance["ImageId"] == account.given[image]
        assert tags(instance)["ray-cluster-name"] == "alexnet"  # the head's role asks for it


def ray_makes_no_role_and_no_profile(account):
    assert account.roles == []
    assert sorted(account.profiles) == sorted(account.given[each] for each in PROFILES)


def tokens_are_required_and_disks_encrypted(account):
    for name, size in {"head": 100, "spot": 150, "on-demand": 150}.items():
        instance = account.instances[name]
        disk = account.disks[instance["InstanceId"]]
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert (disk["Size"], disk["VolumeType"], disk["Encrypted"]) == (size, "gp3", True)


def only_ssh_is_open_to_the_world(account):
    # Ray's own group: everything between the nodes of the cluster, and ssh from anywhere.
    inside, *outside = account.group["IpPermissions"]
    assert [each["GroupId"] for each in inside["UserIdGroupPairs"]] == [account.group["GroupId"]]
    assert inside["IpRanges"] + inside["Ipv6Ranges"] + inside["PrefixListIds"] == []
    ports = [(each["IpProtocol"], each["FromPort"], each["ToPort"]) for each in outside]
    assert ports == [("tcp", 22, 22)]


def all_are_terminated_and_none_only_stopped(account):
    assert account.states == dict.fromkeys(("head", "spot", "on-demand"), "terminated")


RULES = [
    the_head_offers_nothing,
    workers_offer_what_their_instances_have,
    only_spot_workers_are_spot,
    profile_and_image_are_ours,
    ray_makes_no_role_and_no_profile,
    tokens_are_required_and_disks_encrypted,
    only_ssh_is_open_to_the_world,
    all_are_terminated_and_none_only_stopped,
]


@pytest.mark.parametrize("rule", RULES)
def test_what_ray_starts_at_aws_keeps_our_rules(account, rule):
    rule(account)


SPOT = f"{TYPES}/spot/node_config"
WORLD = {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265}
WORLD["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (f"{TYPES}/head/node_config/InstanceType", "g6.xlarge", the_head_offers_nothing),
        (f"{TYPES}/spot/resources", {"GPU": 4}, workers_offer_what_their_instances_have),
        (f"{SPOT}/InstanceMarketOptions", None, only_spot_workers_are_spot),
        (f"{SPOT}/IamInstanceProfile/Arn", "HEAD_INSTANCE_PROFILE_ARN", profile_and_image_are_ours),
        (f"{SPOT}/ImageId", "AMI_WITH_PYTHON_3_11", profile_and_image_are_ours),
        ("cluster_name", "alex", profile_and_image_are_ours),
        (f"{SPOT}/MetadataOptions", None, tokens_are_required_and_disks_encrypted),
        (f"{SPOT}/BlockDeviceMappings", None, tokens_are_required_and_disks_encrypted),
        ("provider/security_group", {"IpPermissions": [WORLD]}, only_ssh_is_open_to_the_world),
        ("provider/cache_stopped_nodes", True, all_are_terminated_and_none_only_stopped),
    ],
)
def test_a_mistake_that_ray_and_ec2_accept_breaks_a_rule(cluster, ray_up, path, value, rule):
    mistaken = changed(cluster, path, value)
    check_ray(mistaken)
    check_ec2(mistaken)
    account = ray_up(mistaken)
    with pytest.raises(AssertionError):
        rule(account)


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (f"{SPOT}/InstanceType", "g6.5xlarge", "g6.5xlarge is not available in AWS region"),
        (f"{SPOT}/ImageId", "IMAGE_TO_FILL_IN", "InvalidAMIID"),
        (f"{SPOT}/IamInstanceProfile", {"Name": "workers"}, "NoSuchEntity.*workers not found"),
        # Ray then makes a role that may do everything, with policies that this account lacks.
        (f"{TYPES}/head/node_config/IamInstanceProfile", None, "AmazonEC2FullAccess"),
        ("provider/availability_zone", "us-west-2a", "No usable subnets matching"),
    ],
)
def test_a_mistake_is_found_by_what_ray_does_at_aws(cluster, ray_up, path, value, wanted):
    mistaken = changed(cluster, path, value)
    check_ray(mistaken)
    check_ec2(mistaken)
    with pytest.raises(Exception, match=wanted):
        ray_up(mistaken)


# The commands that start Ray, in the shell and on the terminal that Ray's ssh gives them. The home
# of the node is a folder of the test; programs in it only write down how they were called.

HEAD_IP, NODE_IP = "10.0.0.1", "10.0.0.2"
HEAD = {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": "i-1"}
HEAD["RAY_NODE_TYPE_NAME"] = "head"
WORKER = {"RAY_HEAD_IP": HEAD_IP, "RAY_CLOUD_INSTANCE_ID": "i-2", "RAY_NODE_TYPE_NAME": "spot"}
WORKER["RAY_CLOUD_INSTANCE_TYPE_NAME"] = "g6.4xlarge"
"""What Ray exports before each command: `ray up` for the head, its RayInstaller for a worker."""

PROGRAMS = {
    ".bashrc": """
        PATH=~/bin:$PATH
        ulimit() { echo "ulimit $*" >> ~/calls; }  # where tests run, it may be forbidden
        """,
    # Kills nothing but what the test started, whatever the pattern.
    "bin/pkill": """#!/bin/bash
        status=1
        for pid in $(pgrep "$@"); do
            if [ $pid != $$ ] && grep -qzx "HOME=$HOME" /proc/$pid/environ; then
                kill $pid && status=0
            fi
        done 2> /dev/null
        exit $status
        """,
    "alexnet/venv/bin/activate": "PATH=~/alexnet/venv/bin:$PATH",
    "alexnet/venv/bin/ray": """#!/bin/bash
        echo "$RAY_AUTH_MODE $RAY_OVERRIDE_LABELS ray $*" >> ~/calls
        """,
    "alexnet/venv/bin/python": """#!/bin/bash
        echo "$RAY_AUTH_MODE $RAY_OVERRIDE_LABELS python $*" >> ~/calls
        echo $$ >> ~/watchers
        exec -a "python $*" sleep 60
        """,
}


class Node:
    """A machine for Ray's `SSHCommandRunner`, which takes it for `subprocess`."""

    def __init__(self, home):
        self.home = home
        for name, text in PROGRAMS.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def check_call(self, ssh, **_):
        """Ends as what the last arguments of `ssh` are on a node; then the terminal is gone."""
        command = " ".join(ssh[ssh.index(f"ubuntu@{NODE_IP}") + 1 :])
        here, there = pty.openpty()
        try:
            with (self.home / "output").open("a") as output:
                subprocess.run(
                    ["setsid", "--ctty", "--wait", "bash", "-c", command], check=True, timeout=60,
                    stdin=there, stdout=output, stderr=output, cwd=self.home,
                    env={"HOME": str(self.home), "PATH": os.environ["PATH"]},
                )  # fmt: skip
        finally:
            os.close(there)
            os.close(here)

    def start(self, cluster, commands, exports, labels=None):
        """Run them one by one, as Ray does; an error is the first that does not end with 0."""
        from ray.autoscaler._private.command_runner import SSHCommandRunner
        from ray.autoscaler._private.util import with_envs

        provider = SimpleNamespace(internal_ip=lambda _: NODE_IP)
        given = ("", "i-2", provider, cluster["auth"], cluster["cluster_name"])
        runner = SSHCommandRunner(*given, process_runner=self, use_internal_ip=True)
        runner.ssh_control_path = None  # a folder of ssh's in /tmp
        variables = {"RAY_OVERRIDE_LABELS": labels} if labels else {}
        for command in with_envs(commands, exports):
            runner.run(command, environment_variables=variables)

    @property
    def calls(self):
        return (self.home / "calls").read_text().replace(str(self.home), "~").splitlines()

    @property
    def watchers(self):
        """Which of those that were ever started still run."""
        ever = self.home / "watchers"
        pids = [int(each) for each in ever.read_text().split()] if ever.exists() else []
        alive = [psutil.Process(each) for each in pids if psutil.pid_exists(each)]
        return [each.pid for each in alive if each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def node(tmp_path):
    if not shutil.which("pgrep") or not Path("/proc/self/environ").exists():
        pytest.skip("needs pgrep and /proc, as a node has them")
    node = Node(tmp_path)
    yield node
    for each in node.watchers:
        os.kill(each, signal.SIGKILL)


def ray_start(commands):
    """The line of the file, as the program is called."""
    (line,) = (each for each in commands if "ray start" in each)
    words = line[line.index("ray start") :].split()
    return " ".join(words).replace("$RAY_HEAD_IP", HEAD_IP)


def test_the_start_commands_of_a_head_end_well_and_start_ray(cluster, node):
    commands = cluster["head_start_ray_commands"]
    node.start(cluster, commands, HEAD)
    assert node.calls == ["  ray stop", "ulimit -n 65536", f"token  {ray_start(commands)}"]


def test_the_start_commands_of_a_worker_end_well_and_start_ray_and_a_watcher_that_stays(
    cluster, node
):
    commands = cluster["worker_start_ray_commands"]
    node.start(cluster, commands, WORKER, {"ray.io/market-type": "spot"})
    labels = '{"ray.io/market-type":"spot"}'
    wanted = [
        f" {labels} ray stop",
        "ulimit -n 65536",
        f"token {labels} {ray_start(commands)}",
        f"token {labels} python ~/alexnet/spot_watch.py {HEAD_IP}:6379",
    ]
    wait_until(lambda: len(node.watchers) == 1)
    assert node.calls == wanted


def test_a_second_start_of_a_worker_ends_the_watcher_of_the_first(cluster, node):
    commands = cluster["worker_start_ray_commands"]
    node.start(cluster, commands, WORKER)
    wait_until(lambda: len(node.watchers) == 1)
    first = node.watchers
    node.start(cluster, commands, WORKER)
    wait_until(lambda: len(node.watchers) == 1 and node.watchers != first)


def test_a_pkill_that_finds_its_own_shell_is_found(cluster, node):
    with pytest.raises(click.ClickException, match="SSH command failed"):
        node.start(cluster, ["pkill -f spot_watch.py || true"], WORKER)


# Which nodes Ray asks for when AWS has no spot instance to give: its autoscaler's own steps, with a
# cloud of the test that refuses each of them.


class CloudWithoutSpot:
    """What the autoscaler's steps need of a provider of nodes."""

    def __init__(self):
        self.asked, self._errors = [], []

    def launch(self, shape, request_id):
        from ray.autoscaler.v2.instance_manager.node_provider import LaunchNodeError

        for name, count in shape.items():
            self.asked += [name] * count
            if name == "spot":
                refused = (name, count, request_id, time.time_ns(), "no Spot capacity")
                self._errors.append(LaunchNodeError(*refused))

    def poll_errors(self):
        errors, self._errors = self._errors, []
        return errors


def wanted_by_a_run(num_workers, market):
    """What Ray's GCS tells the autoscaler after `request_resources`, and of a head that runs."""
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated import autoscaler_pb2 as pb
    from ray.core.generated.common_pb2 import LABEL_OPERATOR_IN

    selector = [("ray.io/market-type", LABEL_OPERATOR_IN, [market])] if market else []
    worker = ResourceRequestUtil.make({"GPU": 1, "CPU": 6}, label_selectors=[selector])
    asked = ResourceRequestUtil.group_by_count([worker] * num_workers)
    head = {"node_id": b"head", "instance_id": "i-0", "ray_node_type_name": "head"}
    head |= {"status": pb.RUNNING, "total_resources": {"node:__internal_head__": 1}}
    return pb.ClusterResourceState(
        node_states=[pb.NodeState(**head)],
        cluster_resource_constraints=[pb.ClusterResourceConstraint(resource_requests=asked)],
    )


def asked_of_aws(cluster, account, num_workers, market):
    """Types of the nodes that the autoscaler wants to start in 20 rounds."""
    from ray.autoscaler.v2.instance_manager import config, instance_storage, node_provider, storage
    from ray.autoscaler.v2.instance_manager.instance_manager import InstanceManager
    from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
    from ray.autoscaler.v2.instance_manager.subscribers import (
        cloud_instance_updater,
        cloud_resource_monitor,
    )
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler
    from ray.core.generated.instance_manager_pb2 import NodeKind

    for name, resources in account.resources.items():
        cluster[TYPES][name]["resources"] = resources  # as `ray up` fills them in
    settings = config.AutoscalingConfig(cluster, skip_content_hash=True)
    cloud, monitor = CloudWithoutSpot(), cloud_resource_monitor.CloudResourceMonitor()
    manager = InstanceManager(
        instance_storage.InstanceStorage("test", storage.InMemoryStorage()),
        [cloud_instance_updater.CloudInstanceUpdater(cloud), monitor],
    )
    scheduler, wanted = ResourceDemandScheduler(), wanted_by_a_run(num_workers, market)
    head = {"i-0": node_provider.CloudInstance("i-0", "head", NodeKind.HEAD, is_running=True)}
    for _ in range(20):
        errors = cloud.poll_errors()
        Reconciler.reconcile(
            manager, scheduler, cloud, monitor, wanted, head, settings, errors
        )  # fmt: skip
    return cloud.asked


def test_however_often_aws_refuses_a_spot_node_ray_asks_for_another(cluster, account):
    assert asked_of_aws(cluster, account, 1, market=None) == ["spot"] * 20


@pytest.mark.parametrize(("num_workers", "started"), [(1, 1), (8, 8), (9, 0)])
def test_nodes_on_demand_start_when_the_label_is_asked_for_but_none_if_it_is_for_too_many(
    cluster, account, num_workers, started
):
    # Ray starts all that a request names or nothing: 9 are more than `max_workers`.
    asked = asked_of_aws(cluster, account, num_workers, market="on-demand")
    assert asked == ["on-demand"] * started

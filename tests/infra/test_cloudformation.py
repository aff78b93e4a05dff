"""The stack is accepted by cfn-lint, and its roles may do what the code does and no more."""

import fnmatch
import re
from pathlib import Path

import pytest
import yaml

from tests.manifests import REMOVED, ROOT, changed

FILE = ROOT / "infra" / "aws" / "cluster.yaml"
TEXT = FILE.read_text()

BUCKET = "arn:aws:s3:::bucket"
DATA, RUNS = f"{BUCKET}/datasets/imagenet/manifest.json", f"{BUCKET}/runs/imagenet-001/run.json"
EC2 = "arn:aws:ec2:us-east-1:111111111111"
OWN = {"aws:ResourceTag/ray-cluster-name": "alexnet"}

NAMES = {
    "AWS::AccountId": "111111111111",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "Bucket": "bucket",
    "Bucket.Arn": BUCKET,
    "BucketName": "bucket",
    "ClusterName": "alexnet",
    "DataPrefix": "datasets",
    "RunsPrefix": "runs",
    "WorkerRole.Arn": "arn:aws:iam::111111111111:role/worker",
}
"""What a name stands for in a stack that was made."""


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's functions, for the values that a stack would have."""


def _function(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        if suffix == "Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda found: NAMES[found[1]], text)
        return NAMES.get(text, text)
    return {suffix: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", _function)


@pytest.fixture
def stack():
    return yaml.load(TEXT, Loader)


# -------------------------------------------------------------------------------------- cfn-lint


def lint(text):
    """Errors and warnings of cfn-lint."""
    api = pytest.importorskip("cfnlint.api", reason="pip install -e '.[dev]'")
    return [str(match) for match in api.lint_all(text) if match.rule.id[0] in "EW"]


def test_cfn_lint_accepts_it():
    assert lint(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SSEAlgorithm: AES256", "SSEAlgorithm: AES25"),
        ("Status: Enabled  ", "Status: On  "),
        ("BlockPublicAcls: true", "BlockPublicAcl: true"),
        ("DaysAfterInitiation: 1", "DaysAfterInitiation: soon"),
        ("Type: AWS::IAM::InstanceProfile", "Type: AWS::IAM::Profile"),
        ("Roles:\n        - !Ref HeadRole", "Roles:\n        - !Ref HeadRoles"),
        ("Value: !GetAtt HeadInstanceProfile.Arn", "Value: !GetAtt HeadInstanceProfile.Name"),
        ("Effect: Deny", "Effect: Never"),
        ("      Bucket: !Ref Bucket\n", ""),
        ("Parameters:", "Parameter:"),
    ],
)
def test_cfn_lint_finds_a_planted_mistake(old, new):
    assert old in TEXT
    assert lint(TEXT.replace(old, new, 1))


# ----------------------------------------------------------------------------------------- rules


def policies(stack):
    """Every statement of every policy, and where it is."""
    for name, resource in stack["Resources"].items():
        properties = resource["Properties"]
        documents = [properties.get("PolicyDocument")]
        documents += [each["PolicyDocument"] for each in properties.get("Policies", [])]
        for document in filter(None, documents):
            for statement in document["Statement"]:
                yield f"{name} {statement['Sid']}", statement


def findings(stack):
    """What cfn-lint does not say."""
    found = [*bucket_findings(stack["Resources"]["Bucket"])]
    denied = [s for _, s in policies(stack) if s["Effect"] == "Deny"]
    tls = {"Bool": {"aws:SecureTransport": "false"}}
    if [(s["Action"], s["Principal"], s.get("Condition")) for s in denied] != [("s3:*", "*", tls)]:
        found.append("the bucket can be read without TLS")
    for where, statement in policies(stack):
        found += [f"{where}: {finding}" for finding in statement_findings(statement)]
    for name, resource in stack["Resources"].items():
        arns = resource["Properties"].get("ManagedPolicyArns", ["StoragePolicy"])
        if arns != ["StoragePolicy"]:
            found.append(f"{name}: policies that are not of this stack: {arns}")
    return found


def bucket_findings(bucket):
    properties = bucket["Properties"]
    public = properties.get("PublicAccessBlockConfiguration", {})
    if [value is True for value in public.values()] != [True] * 4:
        yield "the bucket may be made public"
    if properties.get("VersioningConfiguration") != {"Status": "Enabled"}:
        yield "what is overwritten is lost"
    if bucket.get("DeletionPolicy") != "Retain" or bucket.get("UpdateReplacePolicy") != "Retain":
        yield "the data goes with the stack"
    rules = properties.get("LifecycleConfiguration", {}).get("Rules", [])
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        yield "unfinished uploads are paid for without end"
    if not any("NoncurrentVersionExpiration" in rule for rule in rules):
        yield "deleted checkpoints are paid for without end"


def statement_findings(statement):
    if statement["Effect"] == "Deny":
        return
    if "Principal" in statement:
        yield "gives rights to somebody else"
    actions = as_list(statement["Action"])
    if any("*" in action for action in actions):
        yield f"all of something: {actions}"
    only_looks = all(action.startswith("ec2:Describe") for action in actions)
    if "*" in as_list(statement["Resource"]) and not (only_looks and "Condition" in statement):
        yield f"{actions} on everything"


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_it_keeps_our_rules(stack):
    assert findings(stack) == []


BUCKET_AT = "Resources/Bucket"
STORAGE = "Resources/StoragePolicy/Properties/PolicyDocument/Statement"
HEAD = "Resources/HeadRole/Properties"
HEAD_STATEMENTS = f"{HEAD}/Policies/0/PolicyDocument/Statement"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{BUCKET_AT}/Properties/PublicAccessBlockConfiguration", REMOVED),
        (f"{BUCKET_AT}/Properties/PublicAccessBlockConfiguration/RestrictPublicBuckets", REMOVED),
        (f"{BUCKET_AT}/Properties/PublicAccessBlockConfiguration/BlockPublicAcls", False),
        (f"{BUCKET_AT}/Properties/VersioningConfiguration/Status", "Suspended"),
        (f"{BUCKET_AT}/Properties/LifecycleConfiguration", REMOVED),
        (f"{BUCKET_AT}/Properties/LifecycleConfiguration/Rules/0", REMOVED),
        (f"{BUCKET_AT}/DeletionPolicy", REMOVED),
        (f"{BUCKET_AT}/UpdateReplacePolicy", "Delete"),
        ("Resources/BucketPolicy", REMOVED),
        ("Resources/BucketPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
        ("Resources/BucketPolicy/Properties/PolicyDocument/Statement/0/Condition", REMOVED),
        (f"{STORAGE}/1/Action", "s3:*"),
        (f"{STORAGE}/2/Resource", "*"),
        (f"{HEAD_STATEMENTS}/1/Resource", "*"),
        (f"{HEAD_STATEMENTS}/0/Condition", REMOVED),
        (f"{HEAD}/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AmazonEC2FullAccess"]),
    ],
)
def test_our_rules_find_a_planted_mistake(stack, path, value):
    assert findings(changed(stack, path, value))


# ---------------------------------------------------------------------------------------- rights


def may(stack, who, action, resource, **context):
    """Whether a role or policy allows a request, as IAM decides where nothing denies it."""
    given = stack["Resources"][who]["Properties"]
    statements = list(given.get("PolicyDocument", {}).get("Statement", []))
    for each in given.get("Policies", []):
        statements += each["PolicyDocument"]["Statement"]
    if who.endswith("Role"):
        for name in given["ManagedPolicyArns"]:
            statements += stack["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]
    return any(
        action in as_list(each["Action"])
        and any(fnmatch.fnmatchcase(resource, arn) for arn in as_list(each["Resource"]))
        and all(
            context.get(key) == value
            for key, value in each.get("Condition", {}).get("StringEquals", {}).items()
        )
        for each in statements
    )


S3_CALLS = {
    "get_object": ["s3:GetObject"],
    "put_object": ["s3:PutObject"],
    "delete_object": ["s3:DeleteObject"],
    "upload_file": ["s3:PutObject", "s3:AbortMultipartUpload"],
    "list_objects_v2": ["s3:ListBucket"],
}
"""What the code asks of S3, and the rights that it takes."""


def test_all_that_the_code_asks_of_s3_is_accounted_for():
    folder = ROOT / "alexnet" / "adapters" / "object_store"
    code = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert set(re.findall(r"\bclient\([^)]*\)\.(\w+)", code)) == S3_CALLS.keys()


@pytest.mark.parametrize("who", ["WorkerRole", "HeadRole", "StoragePolicy"])
@pytest.mark.parametrize("action", sorted({a for actions in S3_CALLS.values() for a in actions}))
def test_a_node_may_do_to_runs_what_the_code_does_and_only_read_data(stack, who, action):
    if action == "s3:ListBucket":
        assert may(stack, who, action, BUCKET)
        return
    assert may(stack, who, action, RUNS)
    assert may(stack, who, action, DATA) is (action == "s3:GetObject")
    assert may(stack, "PrepareDataPolicy", action, DATA)
    assert not may(stack, "PrepareDataPolicy", action, RUNS)


@pytest.mark.parametrize(
    ("who", "action", "resource", "context"),
    [
        ("WorkerRole", "s3:DeleteObjectVersion", RUNS, {}),
        ("WorkerRole", "s3:GetObject", f"{BUCKET}/else/object", {}),
        ("WorkerRole", "s3:GetObject", f"{BUCKET}-of-others/datasets/object", {}),
        ("WorkerRole", "s3:PutBucketPolicy", BUCKET, {}),
        ("WorkerRole", "ec2:TerminateInstances", f"{EC2}:instance/i-1", OWN),
        ("WorkerRole", "iam:PassRole", NAMES["WorkerRole.Arn"], {}),
        ("HeadRole", "ec2:TerminateInstances", f"{EC2}:instance/i-1", {}),
        (
            "HeadRole",
            "ec2:TerminateInstances",
            f"{EC2}:instance/i-1",
            {"aws:ResourceTag/ray-cluster-name": "another"},
        ),
        ("HeadRole", "ec2:CreateTags", f"{EC2}:instance/i-1", {}),
        ("HeadRole", "ec2:RunInstances", f"{EC2}:instance/*", {}),
        ("HeadRole", "ec2:RunInstances", "arn:aws:ec2:eu-west-1:111111111111:subnet/s", {}),
        ("HeadRole", "ec2:DescribeInstances", "*", {"aws:RequestedRegion": "eu-west-1"}),
        (
            "HeadRole",
            "iam:PassRole",
            "arn:aws:iam::111111111111:role/admin",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        ),
        ("HeadRole", "iam:PassRole", NAMES["WorkerRole.Arn"], {}),
    ],
)
def test_a_role_may_not(stack, who, action, resource, context):
    assert not may(stack, who, action, resource, **context)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:DescribeInstances", "*", {"aws:RequestedRegion": "us-east-1"}),
        ("ec2:RunInstances", f"{EC2}:instance/*", {"aws:RequestTag/ray-cluster-name": "alexnet"}),
        ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-1", {}),
        *(
            ("ec2:RunInstances", f"{EC2}:{kind}/x", {})
            for kind in ("subnet", "security-group", "key-pair", "volume", "network-interface")
        ),
        ("ec2:CreateTags", f"{EC2}:instance/i-1", {"ec2:CreateAction": "RunInstances"}),
        ("ec2:CreateTags", f"{EC2}:instance/i-1", OWN),
        ("ec2:TerminateInstances", f"{EC2}:instance/i-1", OWN),
        ("iam:PassRole", NAMES["WorkerRole.Arn"], {"iam:PassedToService": "ec2.amazonaws.com"}),
    ],
)
def test_the_head_may_start_and_end_workers_of_its_cluster(stack, action, resource, context):
    assert may(stack, "HeadRole", action, resource, **context)


def test_ray_asks_ec2_for_what_the_head_may(stack):
    from ray.autoscaler._private.aws import node_provider

    code = Path(node_provider.__file__).read_text()
    calls = set(
        re.findall(r"\b(?:client|ec2)\.((?:describe|create|start|stop|terminate)_\w+)", code)
    )
    calls = {"run_instances" if call == "create_instances" else call for call in calls}
    given = {a for _, s in policies(stack) for a in as_list(s["Action"]) if a.startswith("ec2:")}
    asked = {f"ec2:{call.title().replace('_', '')}" for call in calls}
    assert asked <= given


def test_the_outputs_are_what_the_cluster_file_has_in_capitals(stack):
    wanted = re.findall(r"Arn: ([A-Z_]+)", (ROOT / "ray_cluster.yaml").read_text())
    described = " ".join(each["Description"] for each in stack["Outputs"].values())
    assert wanted
    assert all(name in described for name in wanted)

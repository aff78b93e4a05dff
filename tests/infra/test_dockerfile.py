"""The Dockerfile is accepted by hadolint, and keeps our own rules. No image is built here."""

import re
import tomllib

import pytest

from tests.manifests import ROOT, is_pinned, output, program

DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"


def lint(text, tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_text(text)
    return output(program("hadolint"), str(file))


def instructions(text):
    """(keyword, rest) of a Dockerfile, continued lines joined and comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = lines.replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(text):
    """The instructions of each stage, by its name."""
    found = {}
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            stage = found.setdefault(rest.partition(" AS ")[2], [])
        stage.append((keyword, rest))
    return found


def findings(text):
    """What hadolint does not say."""
    found = []
    for name, stage in stages(text).items():
        users = [rest for keyword, rest in stage if keyword == "USER"]
        if name != "base" and not (users and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])):
            found.append(f"{name}: Kubernetes cannot see that it is not root")
        for keyword, rest in stage:
            image = rest.partition(" ")[0]
            if keyword == "FROM" and image not in stages(text) and not is_pinned(image):
                found.append(f"{name}: {image}: must have a tag, and not latest")
            if re.search(r"https?://", rest):
                found.append(f"{name}: {rest}: an address that belongs in an argument")
            found += [f"{name}: {each}: not locked" for each in open_installs(rest)]
    return found


def open_installs(step):
    """The calls of pip whose versions nothing holds."""
    calls = [call.split() for call in re.findall(r"pip install ([^&;|]*)", step)]
    ours = ["--no-deps", "--no-build-isolation", "."]
    return [call for call in calls if "--constraint" not in call and call != ours]


def test_the_dockerfile_passes_hadolint(tmp_path):
    done = lint(DOCKERFILE.read_text(), tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_keeps_our_rules():
    assert findings(DOCKERFILE.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("python:3.11-slim-bookworm", "python:latest"),
        ("python:3.11-slim-bookworm", "python"),
        ("COPY alexnet", "ADD alexnet"),
        ("WORKDIR /app", "WORKDIR app"),
        ("RUN pip install --constraint", "RUN cd / && pip install --constraint"),
        ("--no-install-recommends ", ""),
        ("USER 1000:1000", "USER root"),
        ("pip install --constraint constraints.txt boto3 mlflow", "pip install boto3 mlflow"),
        ("COPY pyproject.toml ./", "COPY pyproject.toml constraints.txt dependencies"),
        ('CMD ["python", "pipelines/train.py"]', "CMD python pipelines/train.py"),
        ("FROM base AS pipeline", "FORM base AS pipeline"),
    ],
)
def test_hadolint_finds_a_planted_mistake(tmp_path, old, new):
    text = DOCKERFILE.read_text()
    assert old in text
    assert lint(text.replace(old, new), tmp_path).returncode != 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("USER 1000:1000", "USER alexnet"),
        ("USER 1000:1000", "USER 0:0"),
        ("USER 1000:1000\nCMD", "CMD"),
        ("python:3.11-slim-bookworm", "python:latest"),
        ("pip install --constraint constraints.txt --requirement", "pip install --requirement"),
        ('TORCH_INDEX_URL=""', 'TORCH_INDEX_URL="https://wheels.example/cpu"'),
    ],
)
def test_our_rules_find_a_planted_mistake(old, new):
    text = DOCKERFILE.read_text()
    assert old in text
    assert findings(text.replace(old, new))


def test_the_image_has_the_dependencies_of_the_project(tmp_path):
    (step,) = [rest for keyword, rest in instructions(DOCKERFILE.read_text()) if "tomllib" in rest]
    script = f"cd {ROOT}\n{step.partition(' > requirements.txt')[0]}"
    done = output("sh", "-c", script)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == project["dependencies"], done.stderr


def test_code_comes_after_what_changes_less_often():
    steps = [rest for _, rest in stages(DOCKERFILE.read_text())["pipeline"]]
    packages = next(n for n, rest in enumerate(steps) if "--requirement requirements.txt" in rest)
    code = next(n for n, rest in enumerate(steps) if rest.startswith("alexnet "))
    assert packages < code


def test_what_is_copied_is_there_and_not_ignored():
    kept = {
        line.lstrip("!").partition("/")[0]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for keyword, rest in instructions(DOCKERFILE.read_text()):
        if keyword == "COPY":
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert name in kept, name

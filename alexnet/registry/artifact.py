"""The files of a registered model version, and a check that there are no others.

    MLmodel, conda.yaml, ...       what MLflow writes
    mlflow_served_model.py         the program that MLflow runs
    code/alexnet/                  the modules that it needs, and no others
    artifacts/weights.safetensors  the network's state
    artifacts/about.json           classes, preprocessing, shape of the network
    artifacts/probe.safetensors    a few images, and the logits that a faithful copy gives for them
    artifacts/model_card.md        what the model is, for people
    artifacts/model.onnx           the network as a graph, if `registry.onnx` asked for it
    artifacts/lineage.json         what it was made from, and the digests of all other files

Nothing is pickled, and no name but these is read, so no name leads out of the folder. Whoever can
write artifacts cannot alter a version: the digest of `lineage.json` is kept in MLflow's database.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from alexnet import classifier
from alexnet.errors import ArtifactError
from alexnet.registry import lineage
from alexnet.registry.lineage import Lineage, sha256

SERVED = "mlflow_served_model.py"

CODE = ("__init__", "augment", "classifier", "config", "errors", "images", "model")
"""Modules of `alexnet` that serving imports."""

DATA, PACKAGE = "artifacts", "code/alexnet"
"""Folders of a version."""

PROBE, CARD, ONNX = "probe.safetensors", "model_card.md", "model.onnx"

_ALWAYS = {
    "weights": classifier.WEIGHTS,
    "about": classifier.ABOUT,
    "probe": PROBE,
    "model_card": CARD,
}

MIB = 2**20

MAX_BYTES = {
    **dict.fromkeys(
        (
            *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"),
            "registered_model_meta",
            *(SERVED, *(f"{PACKAGE}/{name}.py" for name in CODE)),
            *(f"{DATA}/{CARD}", f"{DATA}/{classifier.ABOUT}"),
        ),
        MIB,
    ),
    **dict.fromkeys(
        ("input_example.json", "serving_input_example.json", f"{DATA}/{PROBE}"), 64 * MIB
    ),
    f"{DATA}/{lineage.NAME}": 256 * MIB,
    f"{DATA}/{classifier.WEIGHTS}": 4096 * MIB,
    f"{DATA}/{ONNX}": 4096 * MIB,
}
"""The files that a version may have, and how large each may be."""

FROM_MLFLOW = "registered_model_meta"
"""Which MLflow adds to what it hands out."""


def check_listing(where: str, listed: Mapping[str, int]) -> None:
    """Refuse a version by the names and sizes of its files, before any is fetched.

    Args:
        where: begins the message of an error.
        listed: bytes of each file, by path.

    Raises:
        ArtifactError: a file is there that may not be, is too large, or is missing.
    """
    for name, num_bytes in listed.items():
        if name not in MAX_BYTES:
            raise ArtifactError(
                f"{where}: has a file {name!r}, which no version has. Nothing was loaded."
            )
        if num_bytes > MAX_BYTES[name]:
            raise ArtifactError(
                f"{where}: {name} has {num_bytes} bytes: may have {MAX_BYTES[name]}. Nothing was "
                "loaded."
            )
    if f"{DATA}/{lineage.NAME}" not in listed:
        raise ArtifactError(f"{where}: has no {DATA}/{lineage.NAME}. Register it by a training.")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of all files but the lineage, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    left_out = {f"{DATA}/{lineage.NAME}", FROM_MLFLOW}
    return {name: sha256(found[name].read_bytes()) for name in found if name not in left_out}


def check(where: str, folder: Path, lineage_sha256: str) -> Lineage:
    """Hold a version's files to its lineage, without running any of them.

    Args:
        where: begins the message of an error.
        folder: the files.
        lineage_sha256: the version's tag.

    Raises:
        ArtifactError: a file is not the one that was registered, or not what it may be.
    """
    try:
        data = (folder / DATA / lineage.NAME).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{where}: {DATA}/{lineage.NAME}: {error.strerror}.") from error
    if sha256(data) != lineage_sha256:
        raise ArtifactError(
            f"{where}: {DATA}/{lineage.NAME} is not the one that was registered (SHA-256 "
            f"{sha256(data)[:12]}, the version's tag says {lineage_sha256[:12]})."
        )
    made_from = lineage.from_json(data)
    found = digests(folder)
    for name in sorted({*found, *made_from.files}):
        if found.get(name) != made_from.files.get(name):
            said = made_from.files.get(name, "no such file")[:12]
            raise ArtifactError(
                f"{where}: {name} is not the one that was registered (SHA-256 "
                f"{found.get(name, 'missing')[:12]}, its lineage says {said})."
            )
    _check_mlmodel(where, (folder / "MLmodel").read_text(encoding="utf-8"))
    return made_from


def _check_mlmodel(where: str, text: str) -> None:
    """MLflow loads by what this file says: it must say what ours say."""
    try:
        flavors = yaml.safe_load(text)["flavors"]
        flavor = flavors["python_function"]
        paths = {key: entry["path"] for key, entry in flavor["artifacts"].items()}
        plain = list(flavors) == ["python_function"] and "python_model" not in flavor
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: MLmodel: damaged: {type(error).__name__}") from error
    found = (flavor.get("loader_module"), flavor.get("model_code_path"), flavor.get("code"), paths)
    wanted = data_paths(onnx="onnx" in paths)
    if not plain or found != (LOADER, SERVED, "code", wanted):
        raise ArtifactError(
            f"{where}: MLmodel does not load {SERVED} with the files in {DATA}/. Nothing was "
            "loaded."
        )


LOADER = "mlflow.pyfunc.loaders.code_model"
"""MLflow's, which runs a program and unpickles nothing."""


def data_paths(*, onnx: bool) -> dict[str, str]:
    """The files that the program is handed, as MLmodel names them."""
    return {key: f"{DATA}/{name}" for key, name in data_files(onnx=onnx).items()}


def data_files(*, onnx: bool) -> dict[str, str]:
    """Files in `artifacts/`, by the names under which MLflow hands them to the program."""
    return {**_ALWAYS, "lineage": lineage.NAME, **({"onnx": ONNX} if onnx else {})}

"""A version loads anywhere without pickle, takes any form of image, and gives what was measured."""

import base64
import dataclasses
import io
import itertools
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest

from alexnet import augment, classifier, images
from alexnet.adapters import mlflow_model
from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.mlflow_served_model import ServedAlexNet
from alexnet.errors import ConfigError, DataError
from alexnet.registry import artifact, onnx_export, probe
from alexnet.registry.lineage import sha256
from infra.processes import BIN, HOST, free_ports, running
from tests import closure_venv
from tests.registry import candidate
from tests.tiny_data import NUM_VAL, VAL_IMAGES, colour_samples, new_record

pytestmark = pytest.mark.slow

NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A version's files, as MLflow keeps them."""
    record = new_record(trained.config, trained.manifest, "model")
    kept = tmp_path_factory.mktemp("model") / "kept"
    with mlflow_model.staged(candidate(trained, record)) as (made, _):
        shutil.copytree(made, kept)
    return str(kept)


@pytest.fixture(scope="module")
def model(folder):
    return mlflow.pyfunc.load_model(folder)


def predict(model, cells, **params):
    return model.predict(pd.DataFrame({"image": cells}), params=params or None)


def test_images_get_names_and_probabilities_as_accurate_as_was_measured(model, trained):
    samples = list(colour_samples("val", NUM_VAL))
    answer = predict(model, [sample.jpeg for sample in samples])
    right = [NAMES[sample.label] for sample in samples]
    top1 = sum(a == b for a, b in zip(answer["class"], right, strict=True)) / NUM_VAL
    assert top1 == trained.best.metrics["top1"]
    assert all(sum(p) == pytest.approx(1) for p in answer["probabilities"])
    for _, row in answer.iterrows():
        best = np.argsort(row["probabilities"])[::-1]
        assert row["top_classes"] == [NAMES[label] for label in best]
        assert row["top_probabilities"] == [row["probabilities"][label] for label in best]
        assert (row["class"], row["probability"]) == (NAMES[best[0]], max(row["probabilities"]))


def test_every_form_of_an_image_is_the_same_image(model):
    jpeg = VAL_IMAGES[0]
    text = base64.b64encode(jpeg).decode()
    one, other = (predict(model, [cell])["probabilities"][0] for cell in (jpeg, text))
    assert other == one
    several = predict(model, [[text, text], jpeg])["probabilities"]
    assert [each == pytest.approx(one, abs=1e-6) for each in several] == [True] * 3


@pytest.mark.parametrize("shape", [(37, 91, 3), (200, 64, 3), (50, 50)])
def test_pixels_are_the_image_whose_pixels_they_are(model, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    png = cv2.imencode(".png", pixels[..., ::-1] if len(shape) == 3 else pixels)[1].tobytes()
    assert images.decode(png).shape[:2] == shape[:2]
    found = [predict(model, [cell])["probabilities"][0] for cell in (pixels, pixels.tolist(), png)]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("not base64!", "no base64"),
        (b"GIF", "not a JPEG, PNG"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.full((4, 4, 3), 0.5), r"whole numbers in \[0, 255\]"),
        (np.full((4, 4, 3), 256), r"whole numbers in \[0, 255\]"),
        (np.zeros((0, 4, 3), np.uint8), "must be"),
        ([[1, 2], [3]], "uneven rows"),
    ],
)
def test_what_is_no_image_is_refused(model, cell, message):
    served = model.unwrap_python_model()
    with pytest.raises(DataError, match=message):
        served.predict(None, pd.DataFrame({"image": pd.Series([cell], dtype=object)}))


def test_so_many_classes_are_named_as_are_asked_for(model):
    assert [len(predict(model, VAL_IMAGES[:1], top_k=k)["top_classes"][0]) for k in (1, 2, 9)] == [
        1,
        2,
        3,
    ]
    with pytest.raises(DataError, match="top_k = 0: must be 1 or more"):
        ServedAlexNet().predict(None, pd.DataFrame({"image": []}), {"top_k": 0})


def test_a_version_has_no_pickle_and_only_the_code_that_it_needs(folder):
    files = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*")}
    files = {name for name in files if not name.endswith(("__pycache__", ".pyc"))}
    assert {"artifacts/weights.safetensors", "artifacts/about.json"} <= files
    assert {"artifacts/probe.safetensors", "artifacts/model_card.md"} <= files
    assert "input_example.json" in files
    assert not [name for name in files if name.endswith((".pkl", ".pt", ".pth", ".bin"))]
    code = {name for name in files if name.startswith("code/") and name.endswith(".py")}
    assert code == {f"code/alexnet/{name}.py" for name in artifact.CODE}
    card = (Path(folder) / "artifacts" / "model_card.md").read_text()
    assert "| one image alone on one core, with decoding | " in card


LOAD = """
import json, sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict(pd.DataFrame({"image": json.load(sys.stdin)}))
import alexnet
assert alexnet.__file__.endswith("/code/alexnet/__init__.py")
assert not {"ray", "boto3", "torchvision"} & set(sys.modules)
print(json.dumps(list(answer["probabilities"])))
"""


@pytest.mark.proof
def test_an_environment_with_only_its_requirements_loads_the_champion_and_agrees(
    registered, model, mlflow_url, folder, tmp_path
):
    version = registered("in-a-fresh-environment")
    Registry(version.name).set_alias("champion", version.number)
    requirements = Path(folder, "requirements.txt").read_text().split()
    python = closure_venv.make(tmp_path / "venv", requirements)
    cells = [base64.b64encode(file).decode() for file in VAL_IMAGES]
    done = subprocess.run(
        [python, "-I", "-c", LOAD, f"models:/{version.name}@champion"],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": mlflow_url},
    )
    assert done.returncode == 0, done.stderr
    expected = list(predict(model, cells)["probabilities"])
    assert np.allclose(json.loads(done.stdout.splitlines()[-1]), expected, rtol=0, atol=1e-6)


def test_the_onnx_graph_is_the_same_network_on_real_images(trained, photos, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install -e '.[onnx]'")
    registry = dataclasses.replace(trained.config.registry, onnx=True)
    config = dataclasses.replace(trained.config, registry=registry)
    record = new_record(config, trained.manifest, "onnx")
    files = photographs(photos, 5)
    with mlflow_model.staged(candidate(trained, record, config=config, images=files)) as (made, _):
        made_from = artifact.check(
            "here", made, sha256((made / "artifacts/lineage.json").read_bytes())
        )
        assert "artifacts/model.onnx" in made_from.files
        for file in (made / "artifacts" / "model.onnx", made / "MLmodel"):
            for folder in (tempfile.gettempdir(), Path(classifier.__file__).parent, Path.home()):
                assert str(folder).encode() not in file.read_bytes()
        session = onnxruntime.InferenceSession(made / "artifacts" / "model.onnx")
        network = classifier.Classifier(
            made / "artifacts" / classifier.WEIGHTS, made / "artifacts" / classifier.ABOUT
        )
        for number in (1, 5):
            views = [augment.evaluate_view(file, network.about.image_px) for file in files[:number]]
            (logits,) = session.run(None, {"images": np.stack(views)})
            assert np.allclose(logits, network.logits(files[:number]), rtol=0, atol=1e-5)


def photographs(folder, number):
    with tarfile.open(folder / "imagenette2-224.tar") as tar:
        files = (member for member in tar if member.name.lower().endswith((".jpeg", ".jpg")))
        return [tar.extractfile(member).read() for member in itertools.islice(files, number)]


def test_onnx_without_its_packages_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(onnx_export, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match="registry.onnx = true: no_such_package not installed"):
        onnx_export.check_installed()


def test_a_copy_is_recognized_by_the_logits_of_its_probe(folder, model):
    files, logits = probe.read(f"{folder}/artifacts/probe.safetensors")
    assert files == VAL_IMAGES
    again = model.unwrap_python_model().classifier.logits(files).numpy()
    assert np.array_equal(again, logits)


def test_it_is_served_over_http(folder, model, tmp_path):
    (port,) = free_ports(1)
    command = [
        *(str(BIN / "mlflow"), "models", "serve", "-m", folder, "--env-manager", "local"),
        *("-h", HOST, "-p", str(port)),
    ]
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    with running("serve", command, tmp_path, env) as server:
        server.wait_until(lambda: answers(f"http://{HOST}:{port}/ping"))
        cells = [base64.b64encode(file).decode() for file in VAL_IMAGES]
        bodies = (
            {"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}},
            {"inputs": {"image": cells}},
        )
        expected = predict(model, VAL_IMAGES)
        for body in bodies:
            found = post(f"http://{HOST}:{port}/invocations", body)["predictions"]
            assert [row["class"] for row in found] == list(expected["class"])
            assert [row["probabilities"] for row in found] == list(expected["probabilities"])


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(io.TextIOWrapper(answer))

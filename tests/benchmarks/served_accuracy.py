"""Accuracy and latency of a version behind `mlflow models serve`, asked over HTTP with photos."""

import argparse
import base64
import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.dataset import manifest
from alexnet.dataset.shard_reader import SampleRange, ShardReader
from infra.processes import BIN, HOST, environment, free_ports, running
from infra.servers import answers

AT_ONCE = 16
"""Images in a request, but for the timing."""

TIMED = 100
"""Requests of one image."""


def ask(url: str, files: list[bytes]) -> list[dict[str, Any]]:
    """What the server makes of image files."""
    rows = [[base64.b64encode(file).decode()] for file in files]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: list[dict[str, Any]] = json.load(answer)["predictions"]
    return found


def main() -> None:
    """Serve, ask, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="registered model")
    parser.add_argument("version", help="number or alias")
    parser.add_argument("data", help="data set whose validation split is asked about")
    args = parser.parse_args()
    version = Registry(args.model).find(args.version)
    store = open_store(args.data)
    known = manifest.read(store)
    split = known.split("val")
    reader = ShardReader(store, split)
    (port,) = free_ports(1)
    command = [str(BIN / "mlflow"), "models", "serve", "-m", version.uri, "--env-manager", "local"]
    command += ["-h", HOST, "-p", str(port)]
    address = f"http://{HOST}:{port}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running("serve", command, Path(folder), environment(tracker())) as server,
    ):
        server.wait_until(lambda: answers(f"{address}/ping"))
        right = asked = 0
        for number, shard in enumerate(split):
            samples = list(reader.read(SampleRange(number, 0, shard.num_samples)))
            for begin in range(0, len(samples), AT_ONCE):
                some = samples[begin : begin + AT_ONCE]
                found = ask(f"{address}/invocations", [sample.file() for sample in some])
                names = [known.classes[sample.label] for sample in some]
                right += sum(a["class"] == b for a, b in zip(found, names, strict=True))
                asked += len(some)
        took = []
        for sample in samples[:TIMED]:
            begun = time.perf_counter()
            ask(f"{address}/invocations", [sample.file()])
            took.append(1000 * (time.perf_counter() - begun))
    print(f"{version.shown}: {right} of {asked} right, top-1 {right / asked:.4f}")
    print(f"recorded: top-1 {version.tags['top1']}")
    print(f"one photo a request: median {statistics.median(took):.1f} ms")


def tracker() -> dict[str, str]:
    """Where the version is."""
    import mlflow

    return {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}


if __name__ == "__main__":
    main()

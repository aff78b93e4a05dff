"""Loads a model version with MLflow in a separate, isolated process, as a server would.

The function starts this file as a program, which must not import anything of ours: what it loads
brings its own code.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPEATS = 15
"""Of the timing; the median counts."""

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it."""

    problem: str = ""
    """Why it could not be loaded; empty if it could."""
    difference: float = float("inf")
    """Largest between a logit of the probe and the one that was registered."""
    alone_ms: float = float("inf")
    """Median time for one image alone, on one core, with decoding."""


def load(folder: Path) -> Loaded:
    """Load a version whose files were checked, without this process's secrets."""
    with tempfile.TemporaryDirectory(prefix="fresh-load-") as home:
        env = {"PATH": os.defpath, "HOME": home, "OMP_NUM_THREADS": "1"}
        env["MLFLOW_DISABLE_TELEMETRY"] = "true"
        try:
            done = subprocess.run(  # noqa: S603 - our own file, on a folder that was checked
                [sys.executable, "-I", __file__, str(folder)],
                env=env,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Loaded(f"not loaded in {TIMEOUT_S:g} s")
    if done.returncode:
        return Loaded(next(iter(done.stderr.strip().splitlines()[-1:]), "no word"))
    return Loaded(**json.loads(done.stdout.splitlines()[-1]))


def main(folder: str) -> None:
    """Load, compare with the probe, and time."""
    import statistics
    import time

    import mlflow
    import numpy as np
    import pandas as pd
    from safetensors.numpy import load_file

    # Whether other versions are installed than it asks for shows in its logits; MLflow takes two
    # seconds to look.
    model = mlflow.pyfunc.load_model(folder, suppress_warnings=True)
    probe = load_file(Path(folder) / "artifacts" / "probe.safetensors")
    ends = np.cumsum(probe["lengths"]).tolist()
    data = probe["files"].tobytes()
    files = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    logits = model.unwrap_python_model().classifier.logits(files).numpy()
    one = pd.DataFrame({"image": files[:1]})
    model.predict(one)  # the first one also sets up buffers
    took = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        model.predict(one)
        took.append(time.perf_counter() - begun)
    difference = float(np.abs(logits - probe["logits"]).max())
    alone_ms = 1000 * statistics.median(took)
    sys.stdout.write(json.dumps({"difference": difference, "alone_ms": alone_ms}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

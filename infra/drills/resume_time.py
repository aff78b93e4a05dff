"""How long it takes to continue, with the network of the paper."""

import json
import re
import time

from alexnet.adapters.object_store import open_store
from alexnet.dataset import embedded_digits
from infra.drills.surroundings import TWO, Settings, Surroundings, Training
from infra.programs import expect, wait_until

PAPER: Settings = {
    "data.image_px": 224,
    "model.width": 1,
    "model.num_classes": 1000,
    "train.global_batch_size": 16,
    "train.checkpoint_every_s": 5,
}
"""62,378,344 parameters; a checkpoint of 499 MB with the momentum."""


def resume_time(place: Surroundings, run: str) -> int:
    """From `kill -9` of the command: the same one again, to its first new step."""
    place.set_nodes(1, 1)
    settings = PAPER | TWO | {"data.url": many_classes(place)}
    killed = place.train(run, settings)
    killed.reach(1)
    with_checkpoint = re.compile(r"drills/.*/step-\d+/meta\.json")

    def kept() -> int:
        listed = place.client.list_objects_v2(Bucket="checkpoints", Prefix=f"drills/{run}/")
        return sum(bool(with_checkpoint.match(e["Key"])) for e in listed.get("Contents", ()))

    wait_until(lambda: kept() >= 2, "two checkpoints")
    killed.process.kill()
    killed.process.wait()
    again = place.train(run, settings)
    resumed = first_new_step(again)
    print(
        f"  {run}: first new step {resumed - again.began:.1f} s after the command, "
        f"{place.steps_redone(run)} steps to do again",
        flush=True,
    )
    again.process.kill()
    again.process.wait()
    return place.steps_redone(run)


def first_new_step(training: Training) -> float:
    """When a continued training has done its first step."""
    wait_until(
        lambda: (
            re.search(r"resumed\n(.*\n)*?step=", training.text)
            or training.process.poll() is not None
        ),
        "the first new step",
    )
    expect(training.process.poll() is None, training.text[-2000:])
    return time.monotonic()


def many_classes(place: Surroundings) -> str:
    """The digits as a data set of 1000 classes, most of them without images; its folder."""
    folder = place.folder / "thousand"
    if not folder.exists():
        embedded_digits.write(open_store(str(folder)))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["classes"] += [f"none-{number}" for number in range(10, 1000)]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)

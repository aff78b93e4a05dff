"""Other numbers of workers: from the start, and while a run goes."""

import json
import secrets
import signal

from infra.drills import evidence
from infra.drills.surroundings import AT_EPOCHS, TWO, Settings, Surroundings, ray
from infra.programs import expect

FIRST_STEPS = 10
"""Of a resumed run, in which rounding has not grown yet."""


def other_workers(place: Surroundings, run: str) -> int:
    """From one checkpoint with 1, 2, 3 and 4 workers: the same images, the same losses."""
    place.set_nodes(2, 2)
    begun = place.train(run, TWO)
    begun.reach(50)
    begun.send(signal.SIGTERM)
    begun.end()
    names = [copy(place, run, f"{run}-with-{workers}") for workers in (1, 2, 3, 4)]
    for workers, name in enumerate(names, 1):
        place.train(name, {"cluster.num_workers": workers}).done()
    ids = [evidence.series(place, name, "data/batch_ids") for name in names]
    losses = [evidence.series(place, name, "train/loss") for name in names]
    for other in (1, 2, 3):
        expect(ids[0] == ids[other], f"{names[other]} was trained on other images")
        expect(evidence.agree(losses[0], losses[other], 0.02), f"losses of {names[other]} differ")
        first = sorted(losses[0])[50 : 50 + FIRST_STEPS]
        one, two = ({step: each[step] for step in first} for each in (losses[0], losses[other]))
        expect(evidence.agree(one, two, 1e-4), f"first losses of {names[other]} differ")
    return 0


def copy(place: Surroundings, source: str, name: str) -> str:
    """Another run that was at the same place; its name."""
    listed = place.client.list_objects_v2(Bucket="checkpoints", Prefix=f"drills/{source}/")
    for entry in listed["Contents"]:
        key = entry["Key"]
        where = {"Bucket": "checkpoints", "Key": key.replace(f"/{source}/", f"/{name}/")}
        place.client.copy_object(**where, CopySource={"Bucket": "checkpoints", "Key": key})
    record = place.record(source) | {"name": name, "key": secrets.token_hex(16)}
    key = f"drills/{name}/run.json"
    place.client.put_object(Bucket="checkpoints", Key=key, Body=json.dumps(record).encode())
    return name


def node_joins_and_leaves(place: Surroundings, run: str) -> int:
    """A second node comes in the middle, and leaves again without notice."""
    longer: Settings = {
        "train.epochs": 60,
        "train.checkpoint_every_s": 3,
        "cluster.resize_every_s": 2,
    }
    calm = f"{run}-calm"
    place.set_nodes(1)
    place.train(calm, {"cluster.num_workers": 1} | longer).done()
    training = place.train(run, {"cluster.num_workers": "[1, 2]"} | longer)
    training.reach(50)
    node = place.add_node()
    training.wait_for(" resumed")
    training.reach(training.step + 50)
    place.remove_node(node)
    training.done()
    expect(training.text.count(" resumed") >= 2, "the node did not leave in the middle")
    ids = [evidence.series(place, name, "data/batch_ids") for name in (calm, run)]
    expect(ids[0] == ids[1], "the images of a step are not those of the undisturbed run")
    accounts = [evidence.ledgers(place, name) for name in (calm, run)]
    expect(accounts[0] == accounts[1], "an image was lost or repeated")
    return evidence.finished(place, run)


def preemption(place: Surroundings, run: str) -> int:
    """A node says that it will be taken away: a checkpoint, and on with what is left."""
    place.set_nodes(1, 1)
    training = place.train(run, {"cluster.num_workers": "[1, 2]", "train.epochs": 60} | AT_EPOCHS)
    training.reach(50)
    *_, leaving = place.nodes
    done = ray(
        *(
            "drain-node",
            f"--address={place.head.gcs_address}",
            f"--node-id={place.node_id(leaving)}",
        ),
        *("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot"),
        "--deadline-remaining-seconds=40",
        env=place.env,
    )
    expect(done.returncode == 0, done.stderr)
    training.wait_for(" resumed")
    place.remove_node(leaving)
    training.done()
    reasons = [reason for reason, *_ in place.record(run)["lost"]]
    expect(reasons[:1] == ["a node is taken away"], f"lost: {reasons}")
    expect(place.steps_redone(run) <= 1, f"{place.steps_redone(run)} steps were redone")
    return evidence.finished(place, run)

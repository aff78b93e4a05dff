"""What the documents say exists, exists."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from alexnet.loading.epoch_plan import EpochPlan
from alexnet.promotion.significance import mcnemar
from infra.documentation.pages import CODE
from tests.streams import stream_ids

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def slugs(text):
    """The anchors that GitHub, and the site after it, gives to a page's headings."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", CODE.sub("", text), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(re.sub(r"-\d+$", "", other) == slug for other in found)
        found.append(f"{slug}-{repeated}" if repeated else slug)
    return set(found)


def broken_links(text, page):
    """Links that lead nowhere, or to a heading that is not there; addresses that are none."""
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", text)):
        if "://" in target:
            address = urlsplit(target)
            if address.scheme not in ("http", "https") or "." not in (address.hostname or ""):
                yield target
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name
        if not file.exists() or (
            anchor and anchor not in slugs(file.read_text() if name else text)
        ):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert list(broken_links(page.read_text(), page)) == []


@pytest.mark.parametrize(
    "link", ["no-such.md", "scale.md#no-such", "#no-such", "https://", "htps://example.org"]
)
def test_a_link_that_leads_nowhere_is_found(link):
    text = f"# A page\n\n[one](scale.md#memory-and-start-up-of-a-process) [two]({link})\n"
    assert list(broken_links(text, ROOT / "docs" / "page.md")) == [link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    named = re.findall(
        r"\b((?:pipelines|alexnet|tests|infra)/[\w/]+\.(?:py|toml))", page.read_text()
    )
    for name in named:
        assert (ROOT / name).exists(), name


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z ]+)`", page.read_text()):
            assert set(name.split()) <= targets, page.name


def test_the_order_in_the_example_is_the_real_one():
    page = (ROOT / "docs" / "data-order.md").read_text()
    plan = EpochPlan(
        [4, 4, 4],
        seed=int(re.search(r"`train.seed = (\d+)`", page)[1]),
        epoch=0,
        num_streams=2,
        window_samples=4,
        global_batch_size=4,
    )
    streams = [[f"{'ABC'[shard]}{at}" for shard, at in stream_ids(plan, s)] for s in (0, 1)]
    steps = [[*streams[0][at : at + 2], *streams[1][at : at + 2]] for at in (0, 2, 4)]
    for kind, expected in (("stream", streams), ("step", steps)):
        shown = re.findall(rf"{kind} (\d) +((?:[ABC]\d[ |]*)+)", page)
        assert [re.findall(r"[ABC]\d", samples) for _, samples in shown] == expected


def test_the_p_values_in_the_example_of_the_gate_are_right():
    page = " ".join((ROOT / "docs" / "gate.md").read_text().split())
    shown = re.findall(r"(\d+) gained and (\d+) lost is 10 (?:images )?more,.*?p = ([\d.]+)", page)
    assert len(shown) == 2
    for gained, lost, p_value in shown:
        found = float(mcnemar(np.array(int(gained)), np.array(int(lost))))
        assert f"{found:.1g}" == p_value

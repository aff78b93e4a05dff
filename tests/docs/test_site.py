"""The site has every page, every key and every command, and needs nothing from elsewhere."""

import argparse
import importlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexnet.config import RunConfig, flat
from infra.documentation import commands, configuration, formats, pages
from infra.documentation.described import UndescribedError

bs4 = pytest.importorskip("bs4", reason="Sphinx is not installed: pip install -e '.[docs]'")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def build(docs, site):
    """What `make docs` does; exit status and what it says."""
    options = ["--fresh-env", "--fail-on-warning", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(docs), str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    status, said = build(DOCS, folder)
    assert status == 0, said
    return folder


def soup(page):
    return bs4.BeautifulSoup(page.read_text(), "html.parser")


def fetched(html):
    """Addresses elsewhere that a browser asks for when it shows a page."""
    tree = bs4.BeautifulSoup(html, "html.parser")
    sources = [tag[key] for key in ("src", "srcset", "data", "poster") for tag in tree(**{key: 1})]
    sources += [tag[key] for tag in tree(True) for key in ("src", "poster") if tag.has_attr(key)]
    sources += [tag["href"] for tag in tree("link") if tag.has_attr("href")]
    return [*(each for each in sources if is_elsewhere(each)), *fetched_by_style(html)]


def fetched_by_style(text):
    named = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", text)
    return [each for each in named if is_elsewhere(each)]


def is_elsewhere(address):
    return re.match(r"(?:\w+:)?//", address) is not None


@pytest.mark.slow
def test_no_page_fetches_anything_from_elsewhere(site):
    assert {
        page.name: found for page in site.rglob("*.html") if (found := fetched(page.read_text()))
    } == {}
    styles = {style.name: fetched_by_style(style.read_text()) for style in site.rglob("*.css")}
    assert {name: found for name, found in styles.items() if found} == {}


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "<style>@import 'https://fonts.example/css';</style>",
        '<p style="background: url(https://example.org/a.png)">',
        '<img src="http://example.org/a.png">',
    ],
)
def test_what_is_fetched_from_elsewhere_is_found(html):
    assert len(fetched(f"<html>{html}<a href='https://example.org'>a link</a></html>")) == 1


@pytest.mark.slow
def test_every_link_on_the_site_leads_to_a_page_and_a_place_in_it(site):
    trees = {page: soup(page) for page in site.rglob("*.html")}
    ids = {page: {tag["id"] for tag in tree(id=True)} for page, tree in trees.items()}
    broken = []
    for page, tree in trees.items():
        for href in {tag["href"] for tag in tree("a", href=True)}:
            name, _, anchor = href.partition("#")
            target = (page.parent / name).resolve() if name else page
            if re.match(r"[a-z]+:", href):
                continue
            if not target.exists() or (anchor and anchor not in ids.get(target, ())):
                broken.append((page.name, href))
    assert broken == []


@pytest.mark.slow
def test_every_key_of_the_configuration_is_there_with_its_default(site):
    tree = soup(site / "configuration.html")
    for key, default in flat(RunConfig()).items():
        described = tree.find(id=f"confval-{key}").find_next("dd")
        (shown,) = [
            term.find_next_sibling("dd").get_text()
            for term in described.find_all("dt")
            if term.get_text().startswith("Default")
        ]
        assert json.loads(shown) == json.loads(json.dumps(default)), key
        assert len(described.find_all("p", recursive=False)) >= 1, key


@pytest.mark.slow
def test_every_option_of_every_command_is_there_with_its_default(site):
    tree = soup(site / "commands.html")
    names = [module for module in commands.modules() if module.startswith("pipelines.")]
    scripts = [path.stem for path in ROOT.glob("pipelines/*.py") if "main(argv" in path.read_text()]
    assert names == [f"pipelines.{script}" for script in sorted(scripts)]
    for name in names:
        parser = commands.parser_of(importlib.import_module(name).main)
        script = name.removeprefix("pipelines.") + ".py"
        (part,) = [h2.parent for h2 in tree("h2") if h2.get_text().startswith(script)]
        shown = {dt.get_text(): dt.find_next("dd").get_text() for dt in part.find_all("dt")}
        for action in parser._actions[1:]:
            (text,) = [
                text
                for term, text in shown.items()
                if re.split(r"[\s,¶#]", term.strip())[0]
                == (action.option_strings or [action.dest])[0]
            ]
            if action.default not in (None, False, "", []):
                default = str(action.default).removeprefix(f"{ROOT}/")
                assert f"Default: {default}" in text, (script, action.dest)
        statuses = {row.td.get_text() for row in part.find_all("tr") if row.td}
        assert {"0", "2"} <= statuses, script


@pytest.mark.slow
def test_every_field_of_what_is_written_is_there(site):
    text = soup(site / "formats.html").get_text()
    for kind, _ in formats.FILES.values():
        for name in kind.__dataclass_fields__:
            assert re.search(rf"^{name} \(", text, re.M), (kind, name)


@pytest.mark.slow
def test_no_path_of_this_machine_is_on_the_site(site):
    for page in [*site.rglob("*.html"), site / "searchindex.js"]:
        assert str(ROOT) not in page.read_text(), page.name


@pytest.mark.slow
def test_a_forgotten_page_a_link_and_an_anchor_that_lead_nowhere_fail_the_build(tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(DOCS / "static", docs / "static")
    settings = (DOCS / "conf.py").read_text()
    navigation = re.search(r"^NAVIGATION = \{.*?^\}$", settings, re.DOTALL | re.MULTILINE)[0]
    few = 'NAVIGATION = {"Explanation": ["scale"]}'
    (docs / "conf.py").write_text(settings.replace(navigation, few))
    (docs / "index.md").write_text("# Pages\n\n<!-- navigation -->\n")
    (docs / "scale.md").write_text("# Scale\n")
    (docs / "forgotten.md").write_text("# Forgotten\n\n[a](no-such.md) [b](scale.md#no-such)\n")
    status, said = build(docs, tmp_path / "site")
    assert status == 1
    assert "forgotten.md: WARNING: document isn't included in any toctree" in said
    assert "forgotten.md:3: WARNING: 'myst' cross-reference target not found: 'no-such.md'" in said
    assert "forgotten.md:3: WARNING: local id not found in doc 'scale': 'no-such'" in said
    assert said.count("WARNING") == 3


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section."""

    told: int = 1
    """What it is."""

    untold: int = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run."""

    section: Section = Section()


def test_a_key_without_a_docstring_has_no_reference():
    with pytest.raises(UndescribedError, match=r"section\.untold: no docstring below it in tests"):
        configuration.reference(Run)


def parser_with(**option):
    parser = argparse.ArgumentParser(prog="python pipelines/x.py", epilog="Exit status: 0 done.")
    parser.add_argument("--number", **option)
    return parser


@pytest.mark.parametrize("option", [{}, {"help": "%(default)s", "default": 3}])
def test_an_option_without_help_has_no_reference(option):
    with pytest.raises(UndescribedError, match=r"x\.py --number.*: no help"):
        list(commands.described(parser_with(**option)))


@pytest.mark.parametrize("epilog", [None, "It may fail.", "Exit status: nothing to say."])
def test_a_command_that_does_not_tell_its_exit_statuses_has_no_reference(epilog):
    parser = parser_with(help="how many")
    parser.epilog = epilog
    with pytest.raises(UndescribedError, match="its epilog has no 'Exit status: 0 done"):
        list(commands.described(parser))


def test_exit_statuses_are_told_apart():
    parser = parser_with(help="how many")
    parser.epilog = "Exit status: 0 done, and well; 2 an error, 130 or 143 stopped, by a signal."
    table = list(commands.described(parser))[-1]
    assert table.splitlines()[2:] == [
        "| 0 | done, and well |",
        "| 2 | an error |",
        "| 130 or 143 | stopped, by a signal |",
    ]


def test_a_link_out_of_docs_is_the_name_of_the_file_on_the_site():
    text = (
        "[the code](../alexnet/loading/epoch_plan.py) [`infra/drills/`](../infra/drills) "
        "[a](scale.md#memory)\n"
        "```\n[code](../alexnet/loading/epoch_plan.py)\n```\n"
    )
    assert pages.rendered(text, DOCS / "page.md", DOCS, {}) == (
        "the code (`alexnet/loading/epoch_plan.py`) `infra/drills` [a](scale.md#memory)\n"
        "```\n[code](../alexnet/loading/epoch_plan.py)\n```\n"
    )

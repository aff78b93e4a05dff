"""The site of these pages, made by `make docs`. A page is added by its name in NAVIGATION."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from infra.documentation import pages
from infra.documentation.described import UndescribedError

DOCS = Path(__file__).resolve().parent

NAVIGATION = {
    "Tutorial": ["tutorial"],
    "How to": [
        "your-images",
        "tuning",
        "registry",
        "retraining",
        "schedules",
        "cluster",
        "kubernetes",
        "operations",
        "metrics",
        "security",
    ],
    "Reference": ["configuration", "commands", "data-format", "formats"],
    "Explanation": ["architecture", "data-order", "gate", "scale"],
    "Results": ["results"],
    "Decisions": [f"decisions/{page.stem}" for page in sorted(DOCS.glob("decisions/*.md"))],
}

project = "AlexNet on a cluster"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
highlight_language = "none"  # of blocks that do not name one: output and diagrams
smartquotes = False  # "--" and quotes stay what is typed

# A reader's browser fetches nothing: Furo uses the system's fonts, and brings its own scripts.
html_theme = "furo"
html_theme_options = {"footer_icons": []}
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Have pages go through `infra/documentation/pages.py` before Sphinx reads them."""

    def fill(_: Sphinx, name: str, content: list[str]) -> None:
        try:
            content[0] = pages.rendered(content[0], DOCS / f"{name}.md", DOCS, NAVIGATION)
        except UndescribedError as error:
            logging.getLogger(__name__).warning("%s", error, location=name)

    app.connect("source-read", fill)

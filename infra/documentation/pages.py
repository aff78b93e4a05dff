"""What is done to the Markdown of docs/ on its way to the site.

The sources are read on GitHub too, so they are plain Markdown with links to files, and comments
where the site has more: `<!-- navigation -->` for the tree of the pages, and
`<!-- reference: commands -->...<!-- end -->` for what is made from the code. So nothing that is
made has to be committed, or can be old.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.documentation import commands, configuration, formats, measured

CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
"""A block of code, in which brackets are no links."""

LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
"""To a file: text and path."""

REFERENCE = re.compile(r"<!-- reference: (\w+) -->.*?<!-- end -->", re.DOTALL)
"""What is replaced: its name, and what stands there for those who read the source."""

REFERENCES: dict[str, Callable[[], str]] = {
    "configuration": configuration.reference,
    "commands": commands.reference,
    "formats": formats.reference,
    "measures": measured.reference,
    "search": configuration.search_reference,
}


def rendered(text: str, page: Path, docs: Path, navigation: Mapping[str, Sequence[str]]) -> str:
    """The Markdown of a page as Sphinx gets it."""
    parts = CODE.split(text)
    parts[::2] = [LINK.sub(lambda link: _stays(link, page, docs), part) for part in parts[::2]]
    text = "".join(parts)
    text = text.replace("<!-- navigation -->", trees(navigation))
    return REFERENCE.sub(lambda name: REFERENCES[name[1]](), text)


def trees(navigation: Mapping[str, Sequence[str]]) -> str:
    """The navigation as Sphinx's directives."""
    return "\n\n".join(
        "\n".join(["```{toctree}", f":caption: {heading}", ":hidden:", "", *pages, "```"])
        for heading, pages in navigation.items()
    )


def _stays(link: re.Match[str], page: Path, docs: Path) -> str:
    """A link, or the name of the file if that is outside of docs/ and so not on the site."""
    target = (page.parent / link[2]).resolve()
    if target.is_relative_to(docs):
        return link[0]
    name = f"`{target.relative_to(docs.parent)}`"
    return name if link[1].strip("`/") == name.strip("`/") else f"{link[1]} ({name})"

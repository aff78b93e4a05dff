"""Self-contained HTML pages: no script, and no file beside them."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --line: #8884; --mark: #4a7bd0; --bad: #c0392b; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left;
  vertical-align: top; overflow-wrap: break-word }
td.file { overflow-wrap: anywhere; min-width: 8rem }
ul { padding-left: 1.2rem; overflow-wrap: anywhere }
td.k { white-space: nowrap }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { background: var(--mark); height: .7rem; min-width: 1px; border-radius: 2px }
.bad { color: var(--bad); font-weight: 600 }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); gap: .5rem }
.sheet figure { margin: 0; font-size: .7rem; overflow-wrap: anywhere }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 3px; display: block }
.swatch { display: inline-block; width: 2.5rem; height: 1.2rem; border: 1px solid var(--line);
  vertical-align: middle }
.scroll { max-height: 30rem; overflow: auto }
.wide { overflow-x: auto }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A page of the parts that are not empty."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n" + "\n".join(filter(None, parts)) + "\n</body></html>\n"
    )


def section(title: str, body: str) -> str:
    """A part with a heading; empty if there is nothing to say."""
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def contact_sheet(images: Iterable[tuple[bytes, str]]) -> str:
    """Small JPEG files with their captions; empty if there are none."""
    figures = "".join(
        f'<figure><img alt="" src="data:image/jpeg;base64,{b64encode(jpeg).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for jpeg, caption in images
    )
    return f'<div class="sheet">{figures}</div>' if figures else ""

"""How a page is made of its template: what is put in is escaped, nothing loads or runs, and its words are explained."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from haloes.readable import readable
from haloes.report.numbers import count
from haloes.words import words_in

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, from_outside: Mapping[str, Any] | None = None, **contents: Any) -> str:
    """
    Return a page as HTML, with the style sheet of all pages and an explanation of the words that it uses.

    Args:
        template: the file in `templates`.
        from_outside: what stands in for those of the contents that are people's and models' own texts, while the
            page's words are looked for.
        **contents: what the template shows; all of it is escaped.
    """
    page = _environment().get_template(template)
    without_style = {"css": "", "policy": "", "words": {}}
    bare = page.render({**contents, **(from_outside or {}), **without_style})
    # Two elements are two words, also where nothing stands between them.
    words = words_in(html.unescape(re.sub(r"<[^>]*>", " ", bare)))
    css = style_sheet()
    own = {"css": Markup(css), "policy": content_policy(css), "words": words}  # noqa: S704 - the package's own file
    return page.render({**contents, **own})


def style_sheet() -> str:
    """Read the style sheet of all pages."""
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")


def content_policy(css: str) -> str:
    """Make the page's Content-Security-Policy: nothing may load or run, and no style applies but the page's own."""
    # The hash lets this style sheet apply and no other, so that markup in an answer cannot restyle the page.
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    """Load the templates of all pages: what is put in is escaped, and a name that is not there is an error."""
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    templates.filters["count"] = count
    return templates


def _readable(value: object) -> object:
    """Return what a template puts in so that nothing in it controls or reorders what is seen; it is escaped after."""
    if isinstance(value, Markup):
        return Markup(readable(value))  # noqa: S704 - it was markup before
    return readable(value) if isinstance(value, str) else value

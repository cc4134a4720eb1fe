"""The documentation as a site: sphinx-build -W docs site (`pip install -e '.[docs]'` before)."""

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml import converter
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import write_reference  # noqa: E402 - beside the pages, not in the package

from bids_qsmthal import __version__  # noqa: E402

# Before any page is read: these are made from the code, so none can be older than it.
write_reference.write()

project = "bids_qsmthal"
author = project_copyright = "The bids_qsmthal developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
highlight_language = "text"
smartquotes = False  # --option stays two dashes
html_title = f"bids_qsmthal {version}"
# Pages link to headings of each other, as they do on GitHub.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True

# The renderers of Sphinx load MathJax from a network or draw pictures with LaTeX. MathML is part of
# the page, and every browser of today draws it.
html_math_renderer = "mathml"


def inline_formula(page: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    page.body.append(converter.convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(page: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    page.body.append(f"<div>{converter.convert(node.astext(), display='block')}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Tell Sphinx how formulas are written."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))


# A link that is refused to programs, or that a publisher's server answers slowly, is no broken one.
linkcheck_ignore = [r"https://doi\.org/.*"]
linkcheck_timeout = 30

"""The documentation as a site: sphinx-build -W docs site (`pip install -e '.[docs]'` before)."""

import sys
from pathlib import Path

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

# A link that is refused to programs, or that a publisher's server answers slowly, is no broken one.
linkcheck_ignore = [r"https://doi\.org/.*"]
linkcheck_timeout = 30

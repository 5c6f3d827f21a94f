"""How the documentation is built: `make docs`. The pages are Markdown; nothing is fetched when they are read.

The pages in `api/` list modules; what they say of them is in the docstrings and signatures of the library.
"""

import importlib.util
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import with_modules

project = "INSD"
author = "The INSD developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings"]
myst_enable_extensions = ["colon_fence"]
# Links to headings of other pages.
myst_heading_anchors = 3
html_theme = "furo"
html_title = "INSD"
html_copy_source = False

# Names in single backticks link to what they name, if it is in the pages.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
# One parameter a line: the shapes in signatures are to be read.
python_maximum_signature_line_length = 60
python_trailing_comma_in_multi_line_signatures = False
# Kernels for a GPU are documented where Triton is not installed, too.
autodoc_mock_imports = [] if importlib.util.find_spec("triton") else ["triton"]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "ignore-module-all": True,
    "special-members": "__call__",
    "show-inheritance": True,
    "exclude-members": "logger, log, model_config",
}


def setup(app: Sphinx) -> None:
    """Figures of the default grid come into `figures/` by `make results`; until then, pages are made without them."""
    app.connect("source-read", _without_missing_figures)
    app.connect("source-read", _with_modules)


def _with_modules(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = with_modules(source[0])


def _without_missing_figures(app: Sphinx, _page: str, source: list[str]) -> None:
    def shown(image: re.Match) -> str:
        there = (Path(app.srcdir) / image[1]).exists()
        return image[0] if there else "*Made by* `make results` *or, of a study, by the command of its page.*"

    source[0] = re.sub(r"^!\[.*\]\((figures/\S+)\)$", shown, source[0], flags=re.MULTILINE)

"""The HTML site: the pages of this project as they are, with the reference of what code says.

`make docs` builds it. The source folder is that of the project, so that links between pages are
those of the files; `docs/README.md` is its table of contents.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import reference  # noqa: E402
from flowchart import FlowChart  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import icflow  # noqa: E402
from icflow import resources  # noqa: E402

project, version, release = "icflow", icflow.__version__, icflow.__version__
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb"]

# --- pages ---------------------------------------------------------------------------

root_doc = "README"
PARTS = {"README.md", "docs", "config", "containers", "resources"}
exclude_patterns = [path.name for path in ROOT.iterdir() if path.name not in PARTS]
source_suffix = {".md": "myst-nb"}
# Anchors of headings as GitHub makes them, so that one link is right in both places.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# --- the tutorial --------------------------------------------------------------------

# Cells run in an empty folder, with what is installed here and the data that are here.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "error"
SCRATCH = Path(tempfile.mkdtemp(prefix="icflow-docs-"))
for name in resources.RESOURCES:
    (SCRATCH / name).symlink_to(resources.ensure(name, ROOT))
# The kernel need not warn of who listens: only this machine can.
PROFILE = SCRATCH / "profile_default" / "ipython_kernel_config.py"
PROFILE.parent.mkdir()
PROFILE.write_text("get_config().IPKernelApp.log_level = 'ERROR'\n", encoding="utf-8")
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "ICFLOW_DATA": str(SCRATCH),
    "IPYTHONDIR": str(SCRATCH),
}

# --- the Python reference ---------------------------------------------------------------

# Two dashes begin an option.
smartquotes = False
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# --- looks ---------------------------------------------------------------------------

html_theme = "sphinx_book_theme"
html_title = "icflow"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
templates_path = ["templates"]
# Where a server or a reader begins.
html_additional_pages = {"index": "start.html"}
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
}


def write(app: Sphinx, page: str, text: list[str]) -> None:
    """Add to the text of a page what is written from elsewhere."""
    if page == root_doc:
        text[0] += reference.contents((ROOT / "docs/README.md").read_text(encoding="utf-8"))
    elif page == "docs/commands":
        text[0] += reference.commands()


def clean(app: Sphinx, error: Exception | None) -> None:
    """Remove what the tutorial was run with."""
    shutil.rmtree(SCRATCH, ignore_errors=True)


def setup(app: Sphinx) -> None:
    """Connect what pages are written with."""
    app.connect("build-finished", clean)
    app.connect("source-read", write)
    app.add_directive("mermaid", FlowChart)

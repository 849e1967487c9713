"""Sphinx's settings for the site that `make site` builds; docs/make_site.py gathers the pages."""

import re

from docutils.writers.html5_polyglot import HTMLTranslator

from osvos_keras import __version__

project = "osvos-keras"
version = release = __version__
copyright = "the authors of osvos-keras, MIT licence"
extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = ["templates"]
exclude_patterns = ["README.md", "templates"]  # and `extra`, since it is copied as it is

# The notebooks were executed by the course; the site shows what it left.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # these would come from a CDN
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"  # `name` in a docstring: code, and a link where the name is known
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
add_module_names = False
maximum_signature_line_length = 60
python_use_unqualified_type_names = True

smartquotes = False  # the name of a sequence is shown as it is
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "osvos-keras"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("growth.js", {"defer": "defer"})]
html_extra_path = ["extra"]
html_show_sourcelink = False
html_copy_source = False
html_use_index = False  # the reference lists the modules, and the search finds names
html_domain_indices = False


def break_names(app, page, template, context, doctree) -> None:
    """Let names of 20 letters and more in code break behind a dot, a slash or an underscore."""
    context["body"] = re.sub(
        r'(?<=<span class="pre">)[^<]{20,}',
        lambda name: re.sub(r"(?<=\w[._/])(?=[a-zA-Z])", "<wbr>", name[0]),
        context.get("body", ""),
    )


def setup(app) -> None:
    """Names that break, and formulas as MathML, by docutils' own writer: they need no script and no font."""
    app.connect("html-page-context", break_names)
    app.add_html_math_renderer(
        "mathml",
        (HTMLTranslator.visit_math, HTMLTranslator.depart_math),
        (HTMLTranslator.visit_math_block, HTMLTranslator.depart_math_block),
    )

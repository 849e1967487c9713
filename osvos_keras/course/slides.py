"""Slides from a notebook: a heading begins a slide, other text goes on below it."""

import re

from nbconvert.preprocessors import Preprocessor


class SlidePerHeading(Preprocessor):
    """For `jupyter nbconvert --to slides`: docs/teachers.md has the command."""

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "markdown":
            heading = re.search(r"^#+ ", cell.source, re.MULTILINE)
            cell.metadata["slideshow"] = {"slide_type": "slide" if heading else "subslide"}
        return cell, resources

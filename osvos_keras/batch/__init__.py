"""Notebooks run headless: singly, as a course, or once for each of many sequences."""

import sys

# papermill checks notebooks by jsonschema, which reads a grammar of web addresses where this package is
# installed. That takes more than a second of each start, and no rule for notebooks needs it. None: not there.
sys.modules.setdefault("rfc3987_syntax", None)

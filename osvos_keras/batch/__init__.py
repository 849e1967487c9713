"""Notebooks run headless: singly, as a course, or once for each of many sequences."""

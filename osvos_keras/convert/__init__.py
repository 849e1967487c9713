"""Conversion of published weights to this network."""

"""Conversion of published weights to this network, and export of this network to other programs."""

"""The weights that others published, converted to this network's."""

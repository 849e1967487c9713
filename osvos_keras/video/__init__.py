"""A person's own clip: decoded, segmented, shown."""

"""A clip of one's own: decoded, segmented, shown."""

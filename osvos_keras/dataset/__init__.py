"""A whole data set on disk: downloaded, and checked."""

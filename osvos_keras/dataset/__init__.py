"""Download a whole data set, check it, and write its lists."""

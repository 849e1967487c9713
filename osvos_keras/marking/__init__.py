"""The first mask, marked by a person: from a file, a box or a polygon, or drawn with the mouse."""

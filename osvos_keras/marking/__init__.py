"""The first mask made by a person: from points or a box, or drawn with the mouse."""

"""What `osvos evaluate` writes for people: tables, pictures, an HTML page."""

"""Pictures of frames, masks and scores, with Matplotlib."""

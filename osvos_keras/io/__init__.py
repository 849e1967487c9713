"""Files in and out: paths, listings, images, masks, records. Nothing here knows the network."""

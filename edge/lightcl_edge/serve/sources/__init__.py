"""Where pictures come from: cameras, streams, video files, folders, or whoever sends them."""

"""The page on the device: it shows what the camera sees, is taught by its owner, and learns in a child process."""

"""What the camera shows: recognising, a steady answer, and the frames that wait for a label."""

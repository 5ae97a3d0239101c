"""What executes a training step of the head: one contract, two engines."""

"""What a person reads and types: text, progress, the program's frame."""

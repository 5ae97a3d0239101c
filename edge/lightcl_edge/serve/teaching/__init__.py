"""What the owner taught, and the process that learns it."""

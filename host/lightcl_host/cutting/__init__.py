"""Where a graph can be cut, and the two parts."""

"""The paper's figures: memory, operations, as published."""

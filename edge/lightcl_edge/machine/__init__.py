"""This machine: memory, its limits, heat, interrupts, plug-ins."""

"""How well each layer generalises, what each cut costs, and which one to take for a device."""

"""What was measured, as typed records."""

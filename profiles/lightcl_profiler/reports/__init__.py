"""Records as text and pages."""

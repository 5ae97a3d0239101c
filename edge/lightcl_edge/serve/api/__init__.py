"""The interface under ``/api/v1``: what programs and the page ask for."""

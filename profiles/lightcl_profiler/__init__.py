"""Measures what a way of learning costs: true peak memory of a fresh process, time, phases."""

"""The trainer: one compiled program for a block of steps, and a host loop between blocks."""

"""Campaigns: many cases of one kind of trouble, each with what became of it."""

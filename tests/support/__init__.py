"""What several tests share.

Problems, public calls, correct candidates, candidates with planted faults, and source mutants.
"""

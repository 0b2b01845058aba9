"""What several tests share: problems, candidates, planted faults and source mutants."""

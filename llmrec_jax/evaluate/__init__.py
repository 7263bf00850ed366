"""How good a ranking is: exact ranks over the whole catalogue, the baselines of every report, the report."""

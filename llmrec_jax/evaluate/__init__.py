"""How good a ranking is: exact ranks over the whole catalogue, the report, the verdict."""

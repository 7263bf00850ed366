"""How good a ranking is: exact ranks over the whole catalogue, the arms every report compares, the report itself."""

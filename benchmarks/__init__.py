"""Programs that measure, each runnable as a file; no part of the library."""

"""Reading a domain folder: records checked line by line, prepared arrays, splits; the built-in demo shops."""

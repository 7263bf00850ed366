"""Prepares a domain whose log outgrows one machine, with Apache Beam. `pipeline.load_domain` is the entry point."""

"""Typed Python functions served as Connect RPCs; import what you need from the submodules."""

"""Accessors as RPCs: models become messages, writes become handlers, errors become codes."""

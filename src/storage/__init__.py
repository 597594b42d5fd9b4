"""Durable, audited records for machine apps: import the submodules, `storage.bootstrap`, `storage.accessor`, …."""

"""Data on its way out of the database and into it: archives, backups, restores."""

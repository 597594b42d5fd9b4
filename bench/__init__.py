"""What the project costs, each figure next to the alternative, measured side by side: `python -m bench`."""

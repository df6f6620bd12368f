"""Pages, and the scripts that make them: `python -m docs.verification`."""

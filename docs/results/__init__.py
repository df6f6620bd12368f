"""When does which fusion help? `python -m docs.results` measures it and makes the page."""

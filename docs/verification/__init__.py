"""Every known answer that pnpfusion must reproduce; `python -m docs.verification` makes the page.

A case is a module with one function for its tables and one for its figure.
"""

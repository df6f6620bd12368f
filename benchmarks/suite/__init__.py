"""``make bench``: what pnpfusion costs beside other programs, and as problems grow."""

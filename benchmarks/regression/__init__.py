"""``make bench-check``: whether pnpfusion has become slower, by ratios to fixed codes."""

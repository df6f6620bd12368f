"""Many runs: which there are, who makes which, and the one file they end up in."""

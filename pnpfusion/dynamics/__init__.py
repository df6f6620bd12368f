"""Laws of motion."""

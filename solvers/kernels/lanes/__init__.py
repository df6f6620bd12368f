"""Cells of one axis, each line cut into eight lanes that one wide register carries side by side."""

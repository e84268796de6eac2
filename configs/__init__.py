"""Configs that ship with the library."""

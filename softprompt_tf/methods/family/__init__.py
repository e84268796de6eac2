"""The methods of the family, one file each, and what every method is."""

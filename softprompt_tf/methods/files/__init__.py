"""The files that keep a task, and the formats of other tools."""

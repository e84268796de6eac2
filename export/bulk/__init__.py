"""Bulk answers: a pipeline on Apache Beam that answers the rows of files with an export."""

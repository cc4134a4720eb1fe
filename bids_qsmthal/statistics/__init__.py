"""Statistics: tables in, tables out."""

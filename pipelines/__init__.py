"""From the raw store to tables that people query."""

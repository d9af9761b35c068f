-- One row per (source, local_date) that a changed visit was or is part of.
{{ touched_keys(['source', 'local_date']) }}

-- One row per (source, account_id) that a changed visit was or is part of.
{{ touched_keys(['source', 'account_id']) }}

-- One row per (source, agent_key, local_date) that a changed visit was or is part of.
{{ touched_keys(['source', 'agent_key', 'local_date']) }}

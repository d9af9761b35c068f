-- One row per visit (source, visit_id): its current version.
{{ config(alias='visits') }}
{{ visits_of(ref('int_current_contents')) }}

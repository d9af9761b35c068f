{# The rows of a landed table that belong to contents, which say by content_delivery_id, content_item and content_load_id
   where they stand. #}
{% macro rows_of(table, contents) -%}
    (
        select _part.*
        from {{ source('landed', table) }} as _part
        {{ semi_join() }} {{ contents }} as _content
            on
                _content.content_delivery_id = _part.delivery_id
                and _content.content_item = _part.item
                and _content.content_load_id = _part._dlt_load_id
    )
{%- endmacro %}

{# The rows of the current versions; in an incremental build only of visits that changed, whose contents are few to find. #}
{% macro current_rows_of(table) -%}
    {%- set changed = rows_of(table, ref('int_changed_contents')) -%}
    {{ changed_copy(ref('kobra_' ~ table), changed) }}
{%- endmacro %}

{# The visits of contents: what was sent, with when this version first came, by which delivery, and how many there are. #}
{% macro visits_of(contents) -%}
select
    visits.source,
    visits.visit_id,
    visits.product_id,
    visits.agent_id,
    visits.agent_name,
    visits.account_id,
    visits.client_name,
    visits.visit_type,
    visits.lat,
    visits.lng,
    visits.interest,
    visits.rebound,
    visits.tag_name,
    visits.finished,
    visits.cancelled,
    visits.cancellation_reason,
    visits.start_local,
    visits.end_local,
    visits.time_zone_raw,
    visits.comment,
    visits.content_hash,
    contents.valid_from as received_at,
    contents.delivery_id,
    contents.versions,
    visits.extra
from {{ source('landed', 'visits') }} as visits
inner join {{ contents }} as contents
    on
        contents.content_delivery_id = visits.delivery_id
        and contents.content_item = visits.item
        and contents.content_load_id = visits._dlt_load_id
{%- endmacro %}

{# The current version of visits; in an incremental build only of those that changed. #}
{% macro current_visits() -%}
    {%- set changed = visits_of(ref('int_changed_contents')) -%}
    {{ changed_copy(ref('kobra_visits'), "(" ~ changed ~ ")") }}
{%- endmacro %}

{# When a delivery came, in a text that sorts: its id begins with the microsecond. Ids keep their order even when the clock was
   set back; received_at does not. #}
{% macro arrived_at(delivery_id) -%} left({{ delivery_id }}, 18) {%- endmacro %}

{# Who made a visit: the agent's id, or `name:` and the normalised name. A name is normalised only where there is no id: it
   costs more than the rest of the row. #}
{% macro agent_key(agent_id, agent_name) -%}
    coalesce(
        {{ not_blank(agent_id) }},
        'name:' || nullif({{ normalised_text("case when " ~ not_blank(agent_id) ~ " is null then " ~ agent_name ~ " end") }}, '')
    )
{%- endmacro %}

{# Whether a JSON object has a key. #}
{% macro has_key(json, key) -%} {{ adapter.dispatch('has_key')(json, key) }} {%- endmacro %}
{% macro default__has_key(json, key) -%} has_json_key({{ json }}, '{{ key }}') {%- endmacro %}
{% macro duckdb__has_key(json, key) -%} json_exists({{ json }}, '$.{{ key }}') {%- endmacro %}

{# Several values as one that is compared in their order, and has them as fields. #}
{% macro pack(columns) -%} {{ adapter.dispatch('pack')(columns) }} {%- endmacro %}
{% macro default__pack(columns) -%} struct({{ columns | join(', ') }}) {%- endmacro %}
{% macro duckdb__pack(columns) -%}
    struct_pack({% for column in columns %}{{ column }} := {{ column }}{{ ", " if not loop.last }}{% endfor %})
{%- endmacro %}

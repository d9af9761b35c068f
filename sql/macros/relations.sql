{# Relations are named by schema and table alone: a view then finds its tables whatever the file is called or attached as. #}
{% macro ref() -%}
    {%- set version = kwargs.get('version') or kwargs.get('v') -%}
    {%- set relation = builtins.ref(*varargs, version=version) if version else builtins.ref(*varargs) -%}
    {{ return(relation.include(database=false)) }}
{%- endmacro %}
{% macro source() -%} {{ return(builtins.source(*varargs).include(database=false)) }} {%- endmacro %}

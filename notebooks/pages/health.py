"""Whether the numbers can be trusted: how fresh they are, what was rejected, what nothing maps, what drifts."""

from collections.abc import Mapping
from typing import Any

import marimo as mo

from notebooks.figures import Figure
from notebooks.ratios import ratio
from notebooks.view import OF_SOURCES, View

FILTERS = ("days", "sources")

_FRESH = """
    select (select max(received_at) from w.kobra.deliveries) as last_received_at,
        (select max(finished_at) from w.meta.runs) as last_run_at,
        (select arg_max(duration_s, finished_at) from w.meta.runs) as last_run_s,
        (select as_of from w.meta.build) as as_of_date
"""
_DELIVERED = f"""
    select sum(landed)::bigint as landed, sum(new_versions)::bigint as new_versions,
        sum(duplicates)::bigint as duplicates, sum(rejected)::bigint as rejected,
        {ratio("sum(rejected)", "sum(landed)")} as rejected_rate,
        {ratio("sum(duplicates)", "sum(landed)")} as duplicate_rate,
        count(*) filter (not is_balanced) as unbalanced_days,
        (select count(*) from visits where local_date is null and {OF_SOURCES}) as undated_visits
    from reconciliation where {OF_SOURCES}
"""
_REJECTS = f"""
    select reason, rejected, landed,
        {ratio("rejected", "landed")} as rejected_share, last_received_at
    from (
        select reason, count(*) as rejected, max(received_at) as last_received_at from w.kobra.rejects
        where {OF_SOURCES} group by reason
    ), (select count(*) as landed from w.kobra.deliveries where {OF_SOURCES})
    order by rejected desc, reason
"""
_QUESTIONS = f"""
    select source, product_id, question_id, question_name, answer_name, answered from questions
    where {OF_SOURCES} and matched_by = 'unmapped'
    order by answered desc, question_name, answer_name, question_id
"""
_LABELS = f"""
    select source, product_id, any_value(label) as label, sum(visits)::bigint as visits from label_mix
    where {OF_SOURCES} and outcome = 'unmapped' and label_key is not null
    group by source, product_id, label_key order by visits desc, label
"""
_BALANCE = f"""
    select source, received_date, landed, new_versions, duplicates, rejected, is_balanced, not is_balanced as is_wrong
    from reconciliation where {OF_SOURCES} order by received_date desc, source limit 31
"""
_CHECKS = f"""
    select "check", sum(failed)::bigint as failed, sum(tested)::bigint as tested,
        {ratio("sum(failed)", "sum(tested)")} as failed_rate,
        sum(failed) filter (local_date between $before_since and $before_until)::bigint as failed_before,
        sum(tested) filter (local_date between $before_since and $before_until)::bigint as tested_before,
        sum(failed) filter (local_date between $since and $until)::bigint as failed_now,
        sum(tested) filter (local_date between $since and $until)::bigint as tested_now,
        {ratio("failed_now", "tested_now")} as rate_now, {ratio("failed_before", "tested_before")} as rate_before
    from data_quality where {OF_SOURCES} group by 1 order by rate_now desc nulls last, 1
"""
_FIELDS = f"""
    select field, count(*) as visits_with_it from (
        select unnest(json_keys(extra)) as field from w.kobra.visits where extra is not null and {OF_SOURCES}
    ) group by field order by visits_with_it desc, field
"""
_UNREAD = f"""
    select q.question_name, a.answer_name, count(*) filter (not a.parse_ok) as failed, count(a.parse_ok) as tested,
        {ratio("failed", "tested")} as failed_rate
    from (from w.kobra.answers where {OF_SOURCES}) as a
    join w.kobra.questions as q using (source, visit_id, question_pos)
    group by all having failed > 0 order by failed desc, 1, 2
"""
_INPUTS = "select file, reason, count(*) as rows from w.inputs.rejects group by all order by rows desc, file, reason"

_DELIVERED_FIGURES = (
    Figure("landed", defined="reconciliation.landed"),
    Figure("new_versions", defined="reconciliation.new_versions"),
    Figure("duplicate_rate", "rate", "reconciliation.duplicates", ("duplicates", "landed")),
    Figure("rejected_rate", "rate", "reconciliation.rejected", ("rejected", "landed")),
    Figure("unbalanced_days", defined="reconciliation.is_balanced"),
    Figure("undated_visits"),
)


def controls(_view: View, _kept: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def show(view: View, _chosen: Mapping[str, Any]) -> object:
    fresh = view.row(_FRESH) | {"published_at": view.snapshot.stamp.published_at}
    checks = [{**row, "check": view.words(row["check"])} for row in view.rows(_CHECKS)]
    rejects = [{**row, "reason": view.words.of_code(row["reason"])} for row in view.rows(_REJECTS)]
    questions, labels = (
        [{**row, "product_id": view.words.product(row["product_id"])} for row in view.rows(query)]
        for query in (_QUESTIONS, _LABELS)
    )
    balance = [
        {**row, "is_balanced": view.words("yes" if row["is_balanced"] else "no")} for row in view.rows(_BALANCE)
    ]
    failing = [Figure("question_name", "text"), Figure("answer_name", "text"), Figure("failed"), Figure("tested"),
               Figure("failed_rate", "rate", of=("failed", "tested"))]  # fmt: skip
    return mo.vstack([
        view.title("freshness"),
        view.cards(
            [Figure(name, "instant") for name in ("published_at", "last_run_at", "last_received_at")]
            + [Figure("last_run_s", "number"), Figure("as_of_date", "date")],
            fresh,
        ),
        view.title("deliveries"),
        view.cards(_DELIVERED_FIGURES, view.row(_DELIVERED)),
        view.title("rejected_by_reason"),
        view.table(
            (Figure("reason", "text"), Figure("rejected", defined="reconciliation.rejected"),
             Figure("rejected_share", "rate", of=("rejected", "landed")), Figure("last_received_at", "instant")),
            rejects, "rejects",
        ),
        view.title("unmapped_questions"),
        view.table(
            (Figure("source", "text"), Figure("product_id", "text"), Figure("question_id", "text"),
             Figure("question_name", "text"), Figure("answer_name", "text"),
             Figure("answered", defined="questions.answered")),
            questions, "unmapped_questions",
        ),
        view.title("unmapped_labels"),
        view.table(
            (Figure("source", "text"), Figure("product_id", "text"), Figure("label", "text"),
             Figure("visits", defined="label_mix.visits")),
            labels, "unmapped_labels",
        ),
        view.title("reconciliation"),
        view.table(
            (Figure("source", "text"), Figure("received_date", "date"),
             Figure("landed", defined="reconciliation.landed"),
             Figure("new_versions", defined="reconciliation.new_versions"),
             Figure("duplicates", defined="reconciliation.duplicates"),
             Figure("rejected", defined="reconciliation.rejected"), Figure("is_balanced", "text")),
            balance, "reconciliation",
        ),
        view.title("drift"),
        view.table(
            (Figure("check", "text"),
             Figure("rate_now", "rate", of=("failed_now", "tested_now")),
             Figure("rate_before", "rate", of=("failed_before", "tested_before")),
             Figure("failed_rate", "rate", of=("failed", "tested"))),
            checks, "checks",
        ),
        view.title("unread_answers"),
        view.table(failing, view.rows(_UNREAD), "unread_answers"),
        view.title("undocumented_fields"),
        view.table((Figure("field", "text"), Figure("visits_with_it")), view.rows(_FIELDS), "fields", most=20),
        view.title("refused_inputs"),
        view.table((Figure("file", "text"), Figure("reason", "text"), Figure("rows")), view.rows(_INPUTS), "inputs"),
    ])  # fmt: skip

-- One row per (source, account_id, product_id, episode_no): a row of completed visits of one account without long gaps.
with as_of as (
    select as_of from {{ source('meta', 'build') }}
)

select
    episodes.source,
    episodes.account_id,
    episodes.product_id,
    episodes.episode_no,
    episodes.visits,
    episodes.first_resolved,
    episodes.ever_contacted,
    episodes.ever_rpc,
    episodes.ever_promised,
    episodes.last_date + settings.episode_days < as_of.as_of as is_closed,
    episodes.first_date,
    episodes.last_date
from {{ ref('int_episodes') }} as episodes
inner join {{ ref('stg_settings') }} as settings on settings.source = episodes.source
cross join as_of

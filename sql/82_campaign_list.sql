-- The list of a campaign: ltv_create_campaign makes it, ltv_refresh_campaign makes it again.
--
-- One statement scores the customers of the query, takes away who must or need not be contacted, deals the others to
-- two arms and writes the members; what it returns is counted on the way. The hold-out is drawn before the budget is
-- spent, and the budget cuts both arms at the same place, so that their members are alike.

CREATE TYPE ltv.campaign_step AS (
    step text, customers bigint, left_out bigint, expected_value float8, cost float8, expected_profit float8,
    value_low float8, value_high float8
);
COMMENT ON TYPE ltv.campaign_step IS 'one step of the choice of members, see ltv_create_campaign';

-- A trial of two arms shows a difference d of their means in four of five cases (at 5 %, two-sided) where d is 2.8016
-- standard errors, 1.96 + 0.8416. What is known of the variance is that of the model on customers held out of its
-- training, rmse^2; it is taken to grow in proportion to the expected value, as that of a sum of orders does.
-- contacts is how many can be paid for; null where all can.
CREATE FUNCTION ltv.hold_out_share(
    detect float8, rmse float8, mean_actual float8, members bigint, contacts bigint, mean_ltv float8
) RETURNS float8
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    variation float8 := 2.8016 ^ 2 * rmse ^ 2 / NULLIF(mean_actual * mean_ltv, 0);
    needed float8 := variation / detect ^ 2;  -- of 1 / contacts + 1 / held out, the inverse
    paid bigint := LEAST(contacts, members);
    held_out float8;
BEGIN
    IF members = 0 THEN
        RETURN 0;
    END IF;
    held_out := CASE WHEN paid < members AND needed < paid THEN 1 / (1 / needed - 1.0 / paid) END;
    IF held_out + paid <= members THEN
        RETURN held_out / (held_out + paid);
    ELSIF 4 * needed <= members AND contacts IS NULL
          OR 4 * needed <= members AND members * (1 + sqrt(1 - 4 * needed / members)) / 2 <= contacts THEN
        RETURN (1 - sqrt(1 - 4 * needed / members)) / 2;
    END IF;
    RAISE invalid_parameter_value USING
        MESSAGE = format('a lift of %s %% cannot be shown with this campaign', round((detect * 100)::numeric, 2)),
        DETAIL = format('%s customers may be members%s; the least lift that they can show in four of five cases is '
                        'about %s %%.', members,
                        CASE WHEN paid < members THEN format(', and the budget pays for %s contacts', paid) ELSE '' END,
                        round((100 * sqrt(variation / CASE WHEN members < 2 * paid THEN members / 4.0
                            ELSE 1.0 / (1.0 / paid + 1.0 / (members - paid)) END))::numeric, 1)),
        HINT = 'Ask for a larger lift with detect, let more customers in, or give hold_out and take what it can show.';
END
$$;
COMMENT ON FUNCTION ltv.hold_out_share
    IS 'the share to hold out so that a relative lift is found in four of five cases, or an error';

-- What takes customers away by a key: joins, and whether one of them has found something.
CREATE FUNCTION ltv.suppressing_joins(definition jsonb, OUT joins text, OUT hits text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    query text := definition ->> 'query';
    id_column text := definition ->> 'id_column';
    email_column text := definition ->> 'email_column';
    source record;
    found record;
    match record;
BEGIN
    joins := '';
    hits := 'false';
    FOR source IN
        SELECT CASE WHEN s.source ->> 'relation' IS NULL THEN s.source ->> 'query'
                    ELSE 'SELECT * FROM ' || (s.source ->> 'relation') END AS query, s.i
        FROM jsonb_array_elements(NULLIF(definition -> 'suppress', 'null')) WITH ORDINALITY AS s(source, i)
    LOOP
        found := ltv.query_columns(source.query);
        IF id_column = ANY (found.names) THEN
            match := ltv.id_match(query, id_column, 'r.id', 'the query', source.query, id_column,
                                  format('a.%I', id_column), 'suppress');
        ELSIF email_column = ANY (found.names) THEN
            SELECT 'ltv.hashed_email(r.email::text)' AS left_side,
                   format('ltv.hashed_email(a.%I::text)', email_column) AS right_side,
                   'OPERATOR(pg_catalog.=)' AS operator INTO match;
        ELSE
            RAISE undefined_column USING MESSAGE = format('nobody can be found in source %s of suppress', source.i),
                DETAIL = format('It has no column "%s"%s. Its columns are: %s.', id_column,
                    CASE WHEN email_column IS NULL THEN '' ELSE format(' and none "%s"', email_column) END,
                    array_to_string(found.names[:40], ', ')),
                HINT = 'Rename its column in a query. E-mails, as they are or hashed by SHA-256, are compared with '
                       'those of the query where email_column names a column that both have.';
        END IF;
        joins := joins || format($sql$
    LEFT JOIN (SELECT DISTINCT %s AS key FROM (%s
    ) a) x%s ON x%3$s.key %s %s$sql$, match.right_side, source.query, source.i, match.operator, match.left_side);
        hits := hits || format(' OR x%s.key IS NOT NULL', source.i);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.suppressing_joins IS 'how the customers of suppress are found, as SQL';

-- Contacts of two campaigns are too close where fewer days than the cool-down lie between the days they began on.
CREATE FUNCTION ltv.resting_joins(definition jsonb, relation regclass, day date, OUT joins text, OUT hits text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    query text := definition ->> 'query';
    id_column text := definition ->> 'id_column';
    types record := ltv.query_columns(query);
    other record;
    other_type oid;
    match record;
BEGIN
    joins := '';
    hits := 'false';
    IF COALESCE(definition -> 'cooldown', 'null') = 'null' THEN
        RETURN;
    END IF;
    FOR other IN
        SELECT c.other ->> 'name' AS name, c.other ->> 'id_column' AS id_column, c.i
        FROM jsonb_array_elements(ltv.other_campaigns(relation)) WITH ORDINALITY AS c(other, i)
    LOOP
        SELECT a.atttypid INTO other_type FROM pg_attribute a
        WHERE a.attrelid = to_regclass(other.name) AND a.attname = other.id_column;
        match := ltv.id_sides(query, id_column, ltv.base_type(types.types[array_position(types.names, id_column)]),
                              'r.id', ltv.base_type(other_type), format('a.%I', other.id_column));
        CONTINUE WHEN match.operator IS NULL;  -- those are customers of another kind
        joins := joins || format($sql$
    LEFT JOIN (SELECT DISTINCT %s AS key FROM ONLY %s a
               WHERE a.drawn_arm = 'contact' AND pg_catalog.abs(a.since - %L::date) < %s
                 AND (a.left_at IS NULL OR (a.left_at AT TIME ZONE %L)::date > a.since)) o%s ON o%6$s.key %s %s$sql$,
            match.right_side, other.name, day, definition ->> 'cooldown', definition ->> 'time_zone', other.i,
            match.operator, match.left_side);
        hits := hits || format(' OR o%s.key IS NOT NULL', other.i);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.resting_joins IS 'how customers that other campaigns contact are found, as SQL';

CREATE FUNCTION ltv.tier_of(definition jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN COALESCE(definition -> 'thresholds', 'null') = 'null'
                THEN format('LEAST(width_bucket((r.rank - 1)::float8 / r.n, %L::float8[]) + 1, %s)', b.bounds,
                            cardinality(b.bounds))
                ELSE format('%s - width_bucket(r.ltv, %L::float8[])', cardinality(b.rising) + 1, b.rising) END
    FROM (SELECT ARRAY(SELECT x::float8 FROM jsonb_array_elements_text(definition -> 'bounds') x) AS bounds,
                 ARRAY(SELECT x::float8 AS t
                       FROM jsonb_array_elements_text(NULLIF(definition -> 'thresholds', 'null')) x
                       ORDER BY t) AS rising) b
$$;
COMMENT ON FUNCTION ltv.tier_of IS 'the tier of a customer of a campaign, as SQL';

-- Those who are members keep the arm that they were drawn into, whatever the draw says of them now, and are let rest by
-- nobody else's campaign. The draw takes the leading bits of the hash of a customer; who comes first of those of equal
-- value is decided by the others, so that neither tells of the other.
CREATE FUNCTION ltv.campaign_statement(
    name text, relation regclass, scored_query text, definition jsonb, day date, rmse float8, mean_actual float8
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
DECLARE
    id_column text := definition ->> 'id_column';
    columns record := ltv.query_columns(definition ->> 'query');
    equals text := ltv.equality_operator(columns.types[array_position(columns.names, id_column)]);
    suppressing record := ltv.suppressing_joins(definition);
    resting record := ltv.resting_joins(definition, relation, day);
    affordable text := floor((definition ->> 'budget')::float8 / NULLIF((definition ->> 'cost_per_contact')::float8, 0)
                             + 1e-9)::numeric::text;
BEGIN
    RETURN ltv.fill_in($sql$
WITH scored AS MATERIALIZED (
    SELECT s.id, s.eligible, s.email, s.ltv, s.margin, ltv.customer_fraction({draw}, s.id::text) AS draw
    FROM (SELECT ltv_row.{id} AS id, ltv_row.ltv_eligible AS eligible, {email} AS email, {call} AS ltv,
                 {margin} AS margin
          FROM ({query}
          ) ltv_row) s
), ranked AS (
    SELECT s.*, row_number() OVER (ORDER BY {order} DESC, s.draw * 65536 - floor(s.draw * 65536), s.id) AS rank,
           count(*) OVER () AS n
    FROM scored s WHERE s.id IS NOT NULL AND s.ltv IS NOT NULL
), sorted AS MATERIALIZED (
    SELECT r.id, r.rank, r.ltv, r.ltv * r.margin AS worth, r.draw, {known} AS known,
           {tier} AS tier,
           CASE WHEN r.eligible IS NOT TRUE THEN 1 WHEN {suppressed} THEN 2
                WHEN {known} IS NULL AND ({resting}) THEN 3
                WHEN r.ltv * r.margin < {cost} THEN 4 ELSE 5 END AS step
    FROM ranked r{known_join}{suppressing_joins}{resting_joins}
), able AS MATERIALIZED (
    SELECT s.*, {place} AS place, count(*) OVER (PARTITION BY s.tier) AS of_tier,
           row_number() OVER (PARTITION BY s.tier ORDER BY s.draw, s.id) AS turn
    FROM sorted s WHERE s.step = 5
), shares AS MATERIALIZED (
    SELECT {share} AS share FROM able a
), armed AS (
    SELECT a.*, COALESCE(a.known, CASE WHEN {held_out} THEN 'hold_out' ELSE 'contact' END) AS arm
    FROM able a CROSS JOIN shares h
), counted AS (
    SELECT a.*, {contacts} AS contacts FROM armed a
), chosen AS MATERIALIZED (
    SELECT c.* FROM counted c WHERE {affordable}
), {writing}
SELECT jsonb_build_object(
    'query', (SELECT count(*) FROM scored), 'share', (SELECT h.share FROM shares h),
    'repeated', (SELECT min(d.id) FROM (SELECT s.id::text AS id FROM scored s WHERE s.id IS NOT NULL
                                        GROUP BY s.id HAVING count(*) > 1) d),
    'steps', (SELECT jsonb_object_agg(g.step, jsonb_build_array(g.n, g.value, g.variance))
              FROM (SELECT s.step, count(*) AS n, sum(s.ltv) AS value, sum(ltv.variance_of({spread}, s.ltv)) AS variance
                    FROM sorted s GROUP BY s.step) g),
    'arms', (SELECT jsonb_object_agg(g.arm, jsonb_build_array(g.n, g.value, g.variance, g.worth))
             FROM (SELECT c.arm, count(*) AS n, sum(c.ltv) AS value, sum(ltv.variance_of({spread}, c.ltv)) AS variance,
                          sum(c.worth) AS worth
                   FROM chosen c GROUP BY c.arm) g),
    'level', sqrt(({spread}).level ^ 2 + ({spread}).tier ^ 2),
    'changes', (SELECT jsonb_object_agg(g.change, g.n)
                FROM (SELECT w.change, count(*) AS n FROM written w WHERE w.change IS NOT NULL GROUP BY w.change) g))
$sql$, jsonb_build_object(
        'draw', quote_literal('campaign:' || (definition ->> 'draw')), 'id', quote_ident(id_column),
        'email', CASE WHEN definition ->> 'email_column' IS NULL THEN 'NULL::text'
                 ELSE format('ltv_row.%I', definition ->> 'email_column') END,
        'call', CASE WHEN definition ->> 'version' IS NULL
                     THEN format('ltv.predict(%L::text, ltv_row)', definition ->> 'model')
                     ELSE format('ltv.predict(%L::text, %s, ltv_row)', definition ->> 'model',
                                 definition ->> 'version') END,
        'query', ltv.gathered_query(scored_query),
        'spread', format('%L::ltv.spread', ltv.spread(ltv.prediction_facts(
            definition ->> 'model', (definition ->> 'version')::bigint) -> 'spread')),
        'tier', ltv.tier_of(definition),
        'suppressed', suppressing.hits, 'suppressing_joins', suppressing.joins,
        'resting', resting.hits, 'resting_joins', resting.joins,
        'margin', ltv.margin_of(columns.names, columns.types, definition ->> 'margin_column',
                                (definition ->> 'margin')::float8, 'ltv_row'),
        'order', CASE WHEN definition ->> 'margin_column' IS NULL THEN 's.ltv' ELSE 's.ltv * s.margin' END,
        'cost', format('%L::float8', definition ->> 'cost_per_contact'),
        'known', CASE WHEN relation IS NULL THEN 'NULL::text' ELSE 'm.drawn_arm' END,
        'known_join', CASE WHEN relation IS NOT NULL
                           THEN format(E'\n    LEFT JOIN ONLY %s m ON m.%I %s r.id', name, id_column, equals) END,
        'share', CASE WHEN definition ->> 'hold_out' IS NOT NULL
                 THEN format('%L::float8 + 0 * count(*)', definition ->> 'hold_out')
                 ELSE format('ltv.hold_out_share(%L, %L, %L, count(*), %s, avg(a.ltv)%s)', definition ->> 'detect',
                             rmse, mean_actual, COALESCE(affordable || '::bigint', 'NULL'),
                             ' FILTER (WHERE a.place <= ' || affordable || ')') END,
        'held_out', CASE WHEN relation IS NULL THEN 'a.turn <= round(h.share * a.of_tier)' ELSE 'a.draw < h.share' END,
        -- Each costs a sort.
        'place', CASE WHEN affordable IS NULL OR definition ->> 'hold_out' IS NOT NULL THEN '0'
                      ELSE 'row_number() OVER (ORDER BY s.rank)' END,
        'contacts', CASE WHEN affordable IS NULL THEN '0'
            ELSE 'count(*) FILTER (WHERE a.arm = ''contact'') OVER (ORDER BY a.rank ROWS UNBOUNDED PRECEDING)' END,
        'affordable', CASE WHEN affordable IS NULL THEN 'true'
                      ELSE format('c.contacts < %s OR c.contacts = %1$s AND c.arm = ''contact''', affordable) END,
        'writing', ltv.campaign_writing(name, relation, id_column, equals, day)));
END
$$;
COMMENT ON FUNCTION ltv.campaign_statement IS 'the statement that chooses and writes the members of a campaign';

CREATE FUNCTION ltv.campaign_writing(name text, relation regclass, id_column text, equals text, day date) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET DateStyle = ISO
AS $$
    SELECT ltv.fill_in(CASE WHEN relation IS NULL THEN '' ELSE $sql$renewed AS (
    UPDATE ONLY {name} m
    SET rank = c.rank, tier = c.tier, ltv = c.ltv, arm = c.arm, previous_tier = m.tier, left_at = NULL,
        change = CASE WHEN m.left_at IS NOT NULL THEN 'entered' WHEN m.tier <> c.tier THEN 'tier' END
    FROM chosen c
    WHERE m.{id} {equals} c.id AND (m.change IS NOT NULL OR m.left_at IS NOT NULL
          OR (m.rank, m.tier, m.ltv, m.arm, m.previous_tier) IS DISTINCT FROM (c.rank, c.tier, c.ltv, c.arm, m.tier))
    RETURNING m.change
), departed AS (
    UPDATE ONLY {name} m
    SET rank = NULL, arm = NULL, previous_tier = m.tier, left_at = COALESCE(m.left_at, now()),
        change = CASE WHEN m.left_at IS NULL THEN 'left' END
    WHERE (m.left_at IS NULL OR m.change IS NOT NULL)
      AND NOT EXISTS (SELECT FROM chosen c WHERE m.{id} {equals} c.id)
    RETURNING m.change
), $sql$ END || $sql$entered AS (
    INSERT INTO {name} ({id}, rank, tier, ltv, arm, since, drawn_arm, drawn_tier, drawn_ltv, change)
    SELECT c.id, c.rank, c.tier, c.ltv, c.arm, {day}::date, c.arm, c.tier, c.ltv, 'entered'
    FROM chosen c WHERE c.known IS NULL
    RETURNING change
), written AS (
    SELECT change FROM entered$sql$
        || CASE WHEN relation IS NULL THEN '' ELSE ' UNION ALL TABLE renewed UNION ALL TABLE departed' END || E'\n)',
        jsonb_build_object('name', name, 'id', quote_ident(id_column), 'equals', equals, 'day', quote_literal(day)))
$$;
COMMENT ON FUNCTION ltv.campaign_writing IS 'the part of the statement that writes the members of a campaign';

-- What the statement has counted, step by step.
CREATE FUNCTION ltv.campaign_funnel(definition jsonb, counted jsonb) RETURNS SETOF ltv.campaign_step
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH steps AS (
        SELECT s.step, s.name, COALESCE(sum(v.n), 0)::bigint AS n, sum(v.value) AS value,
               sum(v.variance) AS variance
        FROM (VALUES (1, 'scored'), (2, 'eligible'), (3, 'not_suppressed'), (4, 'rested'), (5, 'profitable'))
             s(step, name)
        LEFT JOIN (SELECT k.key::int AS step, (k.value ->> 0)::bigint AS n, (k.value ->> 1)::float8 AS value,
                          (k.value ->> 2)::float8 AS variance
                   FROM jsonb_each(NULLIF(counted -> 'steps', 'null')) k) v ON v.step >= s.step
        GROUP BY s.step, s.name
    ), arms AS (
        SELECT a.arm, COALESCE((counted #>> ARRAY['arms', a.arm, '0'])::bigint, 0) AS n,
               (counted #>> ARRAY['arms', a.arm, '1'])::float8 AS value,
               (counted #>> ARRAY['arms', a.arm, '2'])::float8 AS variance,
               (counted #>> ARRAY['arms', a.arm, '3'])::float8 AS worth
        FROM unnest('{hold_out,contact}'::text[]) a(arm)
    ), sizes (i, step, n, value, variance) AS (
        SELECT 0, 'query', (counted ->> 'query')::bigint, NULL, NULL
        UNION ALL SELECT s.step, s.name, s.n, s.value, s.variance FROM steps s
        UNION ALL SELECT 6, 'within_budget', sum(a.n)::bigint, sum(a.value), sum(a.variance) FROM arms a
    )
    SELECT f.step, f.customers, f.left_out, f.expected_value, f.cost, f.expected_profit, i.ends[1], i.ends[2] FROM (
        SELECT r.i, r.step, r.n AS customers, lag(r.n) OVER (ORDER BY r.i) - r.n AS left_out, r.value AS expected_value,
               NULL::float8 AS cost, NULL::float8 AS expected_profit, r.variance
        FROM sizes r
        UNION ALL
        SELECT CASE a.arm WHEN 'hold_out' THEN 7 ELSE 8 END, a.arm, a.n, NULL, a.value,
               a.n * c.cost, a.worth - a.n * c.cost, a.variance
        FROM arms a, LATERAL (SELECT CASE a.arm WHEN 'contact' THEN (definition ->> 'cost_per_contact')::float8
                                     END AS cost) c
        UNION ALL
        SELECT 9 + c.i, c.change, COALESCE((counted #>> ARRAY['changes', c.key])::bigint, 0), NULL, NULL, NULL, NULL,
               NULL
        FROM (VALUES (1, 'entered', 'entered'), (2, 'left', 'left'), (3, 'changed_tier', 'tier')) c(i, change, key)
        WHERE definition -> 'refreshed' = 'true'
    ) f, LATERAL (SELECT ltv.sum_interval(f.expected_value, f.variance, (counted ->> 'level')::float8) AS ends) i
    ORDER BY f.i
$$;
COMMENT ON FUNCTION ltv.campaign_funnel IS 'the steps of the choice of members with their sizes';

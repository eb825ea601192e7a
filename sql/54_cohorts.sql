-- Cohorts: what the customers of a month have brought and will have brought, and when they pay back what they cost.
--
-- Customers are looked at by age, the days since their start (which is the first order where no other start is known).
-- Orders up to a cut-off are real; what comes within the horizon after it is predicted, customer by customer.

CREATE TYPE ltv.cohort_age AS (
    cohort date, age int, days int, customers bigint, revenue float8, predicted_revenue float8, value float8,
    cost float8, ltv_to_cac float8, payback_day int, predicted_low float8, predicted_high float8,
    payback_earliest int, payback_latest int
);
COMMENT ON TYPE ltv.cohort_age IS 'a cohort at an age, see ltv_cohorts';

-- How what is predicted until the horizon spreads over the days: as a version of several horizons says, else as the
-- orders that the law of the model expects, or else evenly.
CREATE FUNCTION ltv.predicted_growth(model text, facts jsonb, features text, days text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE WHEN facts ->> 'longest' IS NOT NULL
                       THEN 'ltv.predict_horizon(%1$L::text, %2$s, %3$s, LEAST(%4$s, %5$s::float8))'
                       WHEN facts -> 'has_state' = 'true'
                       THEN '(ltv.predict_state(%1$L::text, %2$s, %3$s, %4$s)).expected_orders' ELSE '%4$s' END,
                  model, (facts ->> 'version')::int, features, days, (facts ->> 'longest')::float8)
$$;
COMMENT ON FUNCTION ltv.predicted_growth
    IS 'SQL for what grows with the days as what is predicted of a customer does';

-- What was spent on customers, by cohort. Runs with the rights of who asks.
CREATE FUNCTION ltv.cohort_costs(query text, period text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns record := ltv.query_columns(query);
    type oid := columns.types[ltv.check_column(columns.names, 'cost', 'costs')];
    costs jsonb;
BEGIN
    PERFORM ltv.date_type_of(query, 'cohort', 'costs');
    IF (SELECT t.typcategory FROM pg_type t WHERE t.oid = type) <> 'N' THEN
        RAISE datatype_mismatch USING
            MESSAGE = format('the column "cost" is of type %s, which is not numeric', format_type(type, NULL)),
            DETAIL = 'It is what was spent on the customers of a cohort.', HINT = 'Cast it in a query.';
    END IF;
    EXECUTE format(
        E'SELECT jsonb_agg(to_jsonb(c)) FROM (SELECT date_trunc(%L, k.cohort::timestamp)::date AS cohort, '
        'sum(k.cost::numeric) AS cost FROM (%s\n) k WHERE k.cohort IS NOT NULL AND k.cost IS NOT NULL GROUP BY 1) c',
        period, query) INTO costs;
    RETURN COALESCE(costs, '[]');
END
$$;
COMMENT ON FUNCTION ltv.cohort_costs IS 'the sum of costs of each cohort';

-- The statement behind ltv_cohorts, for a definition of features that has one cut-off.
CREATE FUNCTION ltv.cohorts_query(definition jsonb, context ltv.features_context, argument jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id_column text := definition ->> 'customer_id_column';
    listed boolean := definition ->> 'customers' IS NOT NULL;
    horizon int := ceil((argument #>> '{facts,horizon}')::float8);
    orders record := ltv.query_columns(definition ->> 'source');
    features record := ltv.query_columns('SELECT * FROM ' || (argument ->> 'name'));
    margin text := ltv.margin_of(features.names, features.types, argument ->> 'margin_column',
                                 (argument ->> 'margin')::float8, 'ltv_f');
    cutoff record;
BEGIN
    SELECT c.as_of, format('%L::pg_catalog.date', c.as_of_day) AS day INTO cutoff
    FROM ltv.features_cutoffs(definition) c;
    RETURN ltv.fill_in($sql$
WITH customers AS MATERIALIZED (
    SELECT r.customer, r.features, r.predicted, r.margin, r.start, {today} - r.start AS seen,
           ltv.variance_of({spread}, r.predicted) AS variance,
           pg_catalog.date_trunc({period}, r.start::timestamp)::pg_catalog.date AS cohort
    FROM (SELECT ltv_f.{id} AS customer, ltv_f AS features, {today} - ltv_f.{age} AS start,
                 ltv.predict({model}::text, {version}, ltv_f) AS predicted, {margin} AS margin
          FROM ({features}
          ) ltv_f) r
    WHERE r.start IS NOT NULL
), cohorts AS (
    SELECT t.cohort, pg_catalog.sum(t.customers)::bigint AS customers, pg_catalog.min(t.seen) AS seen,
           pg_catalog.sum(t.predicted) AS predicted,
           pg_catalog.sum(t.variance + pg_catalog.power(({spread}).tier * t.predicted, 2::float8)) AS variance
    FROM (SELECT c.cohort, pg_catalog.count(*) AS customers, pg_catalog.min(c.seen) AS seen,
                 pg_catalog.sum(c.predicted) AS predicted, pg_catalog.sum(c.variance) AS variance
          FROM customers c
          GROUP BY c.cohort, pg_catalog.width_bucket(c.predicted, ({spread}).tiers)) t
    GROUP BY t.cohort
), shares AS (
    -- Of what is predicted until the horizon, the share until some days before it; of some customers, which are enough.
    SELECT s.cohort, s.day, COALESCE(s.grown / NULLIF(pg_catalog.max(s.grown) OVER (PARTITION BY s.cohort),
                                                      0::float8), s.day::float8 / {horizon}::float8) AS share
    FROM (SELECT p.cohort, k.day, pg_catalog.sum({growth}) AS grown
          FROM (SELECT c.cohort, c.features, pg_catalog.row_number() OVER (PARTITION BY c.cohort ORDER BY
                           ltv.customer_fraction('cohorts:'::text, c.customer::text)) AS place
                FROM customers c) p
          CROSS JOIN pg_catalog.unnest({knots}::int[]) k(day)
          WHERE p.place <= 200 GROUP BY p.cohort, k.day) s
), parts AS (
    SELECT s.cohort, d.day, (s.share - s.share_before) / (s.day - s.day_before)::float8 AS part
    FROM (SELECT h.cohort, h.day, h.share, pg_catalog.lag(h.share) OVER earlier AS share_before,
                 pg_catalog.lag(h.day) OVER earlier AS day_before
          FROM shares h WINDOW earlier AS (PARTITION BY h.cohort ORDER BY h.day)) s
    CROSS JOIN LATERAL pg_catalog.generate_series(s.day_before + 1, s.day) d(day)
), flows AS (
    SELECT c.cohort, GREATEST(s.day - c.start, 0) AS age, pg_catalog.sum(s.amount)::float8 AS spent,
           0::float8 AS predicted, {earned} AS earned, 0::float8 AS to_earn
    FROM {orders} JOIN customers c ON {match}
    WHERE {known} GROUP BY c.cohort, GREATEST(s.day - c.start, 0)
    UNION ALL
    SELECT g.cohort, g.seen + p.day, 0::float8, g.predicted * p.part, 0::float8, g.to_earn * p.part
    FROM (SELECT c.cohort, c.seen, pg_catalog.sum(c.predicted) AS predicted,
                 pg_catalog.sum(c.predicted * c.margin) AS to_earn
          FROM customers c GROUP BY c.cohort, c.seen) g
    JOIN parts p ON p.cohort = g.cohort
    UNION ALL
    SELECT c.cohort, a.age, 0::float8, 0::float8, 0::float8, 0::float8
    FROM cohorts c CROSS JOIN LATERAL pg_catalog.generate_series(0, c.seen + {horizon}, {step}) a(age)
), ages AS (
    SELECT f.cohort, f.age, pg_catalog.sum(f.spent) AS spent, pg_catalog.sum(f.predicted) AS predicted,
           pg_catalog.sum(f.earned) AS earned, pg_catalog.sum(f.to_earn) AS to_earn,
           pg_catalog.power({discount}::float8, f.age::float8 / -365::float8) AS worth
    FROM flows f GROUP BY f.cohort, f.age
), curve AS (
    -- What is still to come by an age varies as much as its share of all that is to come.
    SELECT v.*, ltv.sum_interval(v.predicted, c.variance * (v.predicted / NULLIF(c.predicted, 0::float8)),
                                 ({spread}).level) AS range
    FROM (SELECT a.cohort, a.age, pg_catalog.sum(a.spent) OVER until AS spent,
                 pg_catalog.sum(a.predicted) OVER until AS predicted,
                 pg_catalog.sum(a.earned * a.worth) OVER until AS earned,
                 pg_catalog.sum(a.to_earn * a.worth) OVER until AS to_earn
          FROM ages a WINDOW until AS (PARTITION BY a.cohort ORDER BY a.age)) v
    JOIN cohorts c ON c.cohort = v.cohort
), money AS (
    SELECT c.cohort, k.cost, pg_catalog.sum((a.earned + a.to_earn) * a.worth) / NULLIF(k.cost, 0::float8) AS ltv_to_cac
    FROM cohorts c JOIN ages a ON a.cohort = c.cohort
    JOIN pg_catalog.jsonb_to_recordset({costs}::pg_catalog.jsonb) AS k(cohort pg_catalog.date, cost float8)
        ON k.cohort = c.cohort
    GROUP BY c.cohort, k.cost
), payback AS (
    SELECT m.cohort, pg_catalog.min(v.age) FILTER (WHERE v.earned + v.to_earn >= m.cost) AS day,
           pg_catalog.min(v.age) FILTER (WHERE v.earned + r.high >= m.cost) AS earliest,
           pg_catalog.min(v.age) FILTER (WHERE v.earned + r.low >= m.cost) AS latest
    FROM money m JOIN cohorts c ON c.cohort = m.cohort
    JOIN curve v ON v.cohort = m.cohort AND v.age <= c.seen + {horizon}
    CROSS JOIN LATERAL (SELECT CASE WHEN v.predicted = 0::float8 THEN 0::float8
                                    ELSE v.to_earn * (v.range[1] / v.predicted) END AS low,
                               CASE WHEN v.predicted = 0::float8 THEN 0::float8
                                    ELSE v.to_earn * (v.range[2] / v.predicted) END AS high) r
    GROUP BY m.cohort
)
SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(r) ORDER BY r.cohort, r.days)
FROM (SELECT v.cohort, v.age / {step} AS age, v.age AS days, c.customers,
             CASE WHEN v.age <= c.seen THEN v.spent / c.customers::float8 END AS revenue,
             CASE WHEN v.age > c.seen THEN (v.spent + v.predicted) / c.customers::float8 END AS predicted_revenue,
             (v.earned + v.to_earn) / c.customers::float8 AS value, m.cost / c.customers::float8 AS cost, m.ltv_to_cac,
             b.day AS payback_day,
             CASE WHEN v.age > c.seen THEN (v.spent + v.range[1]) / c.customers::float8 END AS predicted_low,
             CASE WHEN v.age > c.seen THEN (v.spent + v.range[2]) / c.customers::float8 END AS predicted_high,
             CASE WHEN {is_known} THEN b.earliest END AS payback_earliest,
             CASE WHEN {is_known} THEN b.latest END AS payback_latest
      FROM curve v JOIN cohorts c ON c.cohort = v.cohort
      LEFT JOIN money m ON m.cohort = v.cohort
      LEFT JOIN payback b ON b.cohort = v.cohort
      WHERE v.age % {step} = 0 AND v.age <= c.seen + {horizon}) r$sql$, jsonb_build_object(
        'id', quote_ident(id_column), 'today', cutoff.day, 'horizon', horizon,
        'age', CASE WHEN definition ->> 'start_column' IS NOT NULL THEN 'days_since_start' ELSE 't' END,
        'period', format('%L::text', argument ->> 'period'),
        'step', CASE argument ->> 'period' WHEN 'week' THEN 7 WHEN 'month' THEN 30 ELSE 91 END,
        'model', quote_literal(argument ->> 'model'), 'version', (argument #>> '{facts,version}')::int,
        'features', ltv.features_query(definition, context),
        'growth', ltv.predicted_growth(argument ->> 'model', argument -> 'facts', 'p.features', 'k.day::float8'),
        'knots', quote_literal(ARRAY(SELECT DISTINCT k * horizon / 12 AS day FROM generate_series(0, 12) k
                                     ORDER BY day)::text),
        'spread', format('%L::ltv.spread', ltv.spread(argument #> '{facts,spread}')),
        'is_known', CASE WHEN argument #> '{facts,spread,level}' IS NULL THEN 'false' ELSE 'true' END,
        'orders', ltv.features_orders(definition, context.today),
        'match', CASE WHEN listed THEN (ltv.id_match(
                     definition ->> 'customers', id_column, 'c.customer', 'customers',
                     definition ->> 'source', id_column, 's.customer', 'the orders')).condition
                 ELSE format('s.customer %s c.customer', ltv.equality_operator(
                     orders.types[array_position(orders.names, id_column)])) END,
        'known', CASE definition ->> 'unit' WHEN 'day' THEN format('s.day <= %s', cutoff.day)
                 ELSE format('s.ts <= %L::pg_catalog.timestamptz', cutoff.as_of) END,
        'margin', margin, 'earned', CASE WHEN argument ->> 'margin_column' IS NULL
            THEN 'pg_catalog.sum(s.amount)::float8 * ' || margin
            ELSE 'pg_catalog.sum(s.amount::float8 * c.margin)' END,
        'discount', 1 + (argument ->> 'discount_rate')::float8,
        'costs', quote_literal(argument ->> 'costs')));
END
$$;
COMMENT ON FUNCTION ltv.cohorts_query IS 'the SELECT behind ltv_cohorts';

-- Runs as the owner of the features, who must be allowed to score with the model. Returns an array of rows. How many
-- customers there are the planner cannot know; each of them joined with each order took 20 times as long.
CREATE FUNCTION ltv.cohort_rows(argument jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off
AS $$
DECLARE
    spec jsonb := ltv.current_sources(argument ->> 'name', argument -> 'definition');
    today date := (now() AT TIME ZONE (spec ->> 'time_zone'))::date;
    facts ltv.log_facts := ltv.log_facts(spec, today);
    log_end record := ltv.log_end(spec);
    context ltv.features_context;
    as_of text := COALESCE(argument ->> 'as_of', CASE spec ->> 'unit'
        WHEN 'day' THEN to_jsonb(COALESCE(log_end.day, facts.last_day)) #>> '{}'
        ELSE to_jsonb(COALESCE(log_end.instant, facts.last_instant)) #>> '{}' END);
BEGIN
    IF NULLIF(spec -> 'age', 'null') IS NOT NULL THEN
        RAISE feature_not_supported USING MESSAGE = 'cohorts need features as of days',
            DETAIL = format('%s looks at each customer so many days after the start.', argument ->> 'name'),
            HINT = 'Make features with as_of in place of age, and train a model on them.';
    ELSIF as_of IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the log behind %s is empty', argument ->> 'name');
    END IF;
    spec := ltv.with_cutoffs(spec || '{"materialized": true}', as_of::ltv.cutoffs);
    IF jsonb_array_length(spec -> 'as_of') <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'as_of must be one cut-off', HINT = 'Call it once per cut-off.';
    END IF;
    PERFORM ltv.check_cutoffs(spec, facts), ltv.check_attributes(spec);
    context.today := today;
    context.log_end := ltv.known_log_end(spec, facts);
    RETURN ltv.read_in(ltv.run_path(spec), ltv.cohorts_query(spec, context, argument));
END
$$;
COMMENT ON FUNCTION ltv.cohort_rows IS 'cohorts, as the owner of the features';

CREATE FUNCTION ltv.cohorts_of(
    model text, features regclass, period text, costs text, margin float8, discount_rate float8, as_of ltv.cutoffs,
    version bigint, margin_column text
) RETURNS SETOF ltv.cohort_age
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    facts jsonb := ltv.prediction_facts(model, version);
    spec jsonb;
    owner regrole := (SELECT c.relowner FROM pg_class c WHERE c.oid = features);
    spent jsonb;
    rows jsonb;
    left_over record;
BEGIN
    PERFORM ltv.check_choice('period', period, '{week,month,quarter}');
    IF features IS NULL OR period IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = format('the %s must be given', CASE WHEN period IS NULL THEN 'period' ELSE 'features' END),
            HINT = 'For example ltv_cohorts(''my_model'', ''my_features'', ''month'').';
    ELSIF (margin > 0 AND margin < 'infinity') IS NOT TRUE
        OR (discount_rate >= 0 AND discount_rate < 'infinity') IS NOT TRUE THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the margin must be greater than 0, and the discount rate must not be negative',
            HINT = 'For example margin => 0.35, discount_rate => 0.10: of a year.';
    ELSIF ((facts ->> 'horizon')::float8 BETWEEN 1 AND 36525) IS NOT TRUE THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('it is not known how far model "%s" looks ahead', model),
            DETAIL = format('Version %s was trained without a horizon.', facts ->> 'version'),
            HINT = 'Train it on features made by ltv_create_features, or with the option "horizon".';
    END IF;
    spec := ltv.feature_definition(features);
    IF spec IS NULL AND ltv.feature_facts(features) IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of %s', features),
            DETAIL = format('It belongs to role "%s", whose orders cohorts would read.', owner),
            HINT = 'Name features of your own.';
    ELSIF spec IS NULL THEN
        RAISE undefined_object USING MESSAGE = format('%s was not made by ltv_create_features', features),
            HINT = 'Cohorts are read off the orders that features were made of.';
    END IF;
    spent := CASE WHEN costs IS NULL THEN '[]' ELSE ltv.cohort_costs(costs, period) END;
    rows := ltv.run_as(owner, NULL, NULL, 'SELECT ltv.cohort_rows($2)', jsonb_build_object(
        'name', ltv.qualified_name(features), 'definition', spec, 'model', model, 'facts', facts, 'period', period,
        'costs', spent, 'margin', margin, 'margin_column', margin_column, 'discount_rate', discount_rate,
        'as_of', as_of));
    SELECT count(*) AS n, sum(k.cost) AS cost INTO left_over
    FROM jsonb_to_recordset(spent) AS k(cohort date, cost numeric)
    WHERE k.cohort NOT IN (SELECT r.cohort FROM jsonb_to_recordset(rows) AS r(cohort date));
    IF left_over.n > 0 THEN
        RAISE NOTICE USING MESSAGE = format('costs of %s left out, in which nobody became a customer',
                CASE left_over.n WHEN 1 THEN format('one %s are', period)
                     ELSE format('%s %ss are', left_over.n, period) END),
            DETAIL = format('They come to %s.', left_over.cost);
    END IF;
    RETURN QUERY SELECT r.* FROM jsonb_populate_recordset(NULL::ltv.cohort_age, rows) r ORDER BY r.cohort, r.days;
END
$$;
COMMENT ON FUNCTION ltv.cohorts_of IS 'see ltv_cohorts; the costs are a bound query';

CREATE FUNCTION ltv.cohorts(
    model text, features text, period text, costs text, margin float8, discount_rate float8, as_of ltv.cutoffs,
    version bigint, margin_column text
) RETURNS SETOF ltv.cohort_age
LANGUAGE sql
AS $$
    SELECT * FROM ltv.cohorts_of(model, ltv.bind_relation(features), period, ltv.bind_query(costs), margin,
                                 discount_rate, as_of, version, margin_column)
$$;
COMMENT ON FUNCTION ltv.cohorts IS 'see ltv_cohorts';

CREATE FUNCTION @extschema@.ltv_cohorts(
    model         text,
    features      text,
    period        text DEFAULT 'month',
    costs         text DEFAULT NULL,
    margin        float8 DEFAULT 1,
    discount_rate float8 DEFAULT 0,
    as_of         ltv.cutoffs DEFAULT NULL,
    version       bigint DEFAULT NULL,
    margin_column text DEFAULT NULL
) RETURNS TABLE (
    cohort date, age int, days int, customers bigint, revenue float8, predicted_revenue float8, value float8,
    cost float8, ltv_to_cac float8, payback_day int, predicted_low float8, predicted_high float8,
    payback_earliest int, payback_latest int
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_cohorts
    IS 'real and predicted revenue per customer by cohort and age, with what customers cost and when they pay it back';

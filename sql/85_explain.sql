-- Why a prediction is what it is: Shapley values of single predictions, permutation importance of the features.
--
-- The public functions bind their caller's queries in the caller's search_path. Rows that a version was trained on come
-- from its stored query, which runs with the rights of the model's owner.

-- One element for each thing that can be changed by itself: a feature, or a place in a vector.
CREATE FUNCTION ltv.model_features(
    model text, version int, OUT feature text, OUT column_name text, OUT place int
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p.place IS NULL THEN i.input ->> 'name' ELSE format('%s[%s]', i.input ->> 'name', p.place) END,
           i.input ->> 'name', p.place
    FROM ltv.readable_versions v, jsonb_array_elements(v.schema -> 'inputs') WITH ORDINALITY AS i(input, n)
    LEFT JOIN LATERAL generate_series(1, (i.input ->> 'len')::int) AS p(place) ON i.input ->> 'kind' = 'vector'
    WHERE v.model = $1 AND v.version = $2 ORDER BY i.n, p.place
$$;
COMMENT ON FUNCTION ltv.model_features IS 'the features of a version, each place of a vector by itself';

CREATE FUNCTION ltv.feature_rows(model text, version int, query text, argument text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := (ltv.query_columns(query)).names;
BEGIN
    PERFORM ltv.check_column(names, f.column_name, argument || ', which must have every feature of the model')
    FROM (SELECT DISTINCT column_name FROM ltv.model_features(model, version)) f;
    RETURN '(' || ltv.gathered_query(query) || E'\n)';
END
$$;
COMMENT ON FUNCTION ltv.feature_rows
    IS 'a bound query in parentheses, after checking that it has every feature of a version';

-- SQL that takes a sample of the rows of a bound query, numbered from 0: always the same ones.
CREATE FUNCTION ltv.background_query(rows_text text, size int) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('SELECT t.ltv_b, row_number() OVER (ORDER BY hashint8extended(t.n, 1)) - 1 AS n'
        ' FROM (SELECT ltv_b, row_number() OVER () AS n FROM %s ltv_b) t ORDER BY hashint8extended(t.n, 1) LIMIT %s',
        rows_text, size)
$$;
COMMENT ON FUNCTION ltv.background_query IS 'SQL for a sample of rows that predictions are explained against';

-- A sample of what a version was trained on, as JSON with the types of its columns, because it is read with the rights
-- of the owner of the model and used with those of whoever asks.
CREATE FUNCTION ltv.stored_background(query text, model text, version int, size int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns record := ltv.query_columns(query);
    types jsonb;
    sample jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('name', c.name, 'type', format_type(c.type, NULL)) ORDER BY c.i) INTO types
    FROM unnest(columns.names, columns.types) WITH ORDINALITY AS c(name, type, i)
    WHERE c.name IN (SELECT f.column_name FROM ltv.model_features(model, version) f);
    EXECUTE format('SELECT jsonb_agg(to_jsonb(b.ltv_b) ORDER BY b.n) FROM (%s) b',
        ltv.background_query(ltv.feature_rows(model, version, query, 'background'), size)) INTO sample;
    RETURN jsonb_build_object('columns', types, 'rows', sample);
END
$$;
COMMENT ON FUNCTION ltv.stored_background
    IS 'a sample of the rows of a bound query, with the types of the columns that a version needs';

CREATE FUNCTION ltv.background(model text, version int, query text, size int) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored record;
    sample jsonb;
BEGIN
    IF query IS NOT NULL THEN
        RETURN ltv.background_query(ltv.feature_rows(model, version, query, 'background'), size);
    END IF;
    stored := ltv.stored_source(model, version, 'background');
    sample := ltv.run_as(stored.owner, stored.path, stored.source,
        'SELECT ltv.stored_background($1, $2 ->> ''model'', ($2 ->> ''version'')::int, ($2 ->> ''size'')::int)',
        jsonb_build_object('model', model, 'version', version, 'size', size));
    RETURN format(
        'SELECT ltv_b, row_number() OVER () - 1 AS n FROM jsonb_to_recordset(%L::jsonb) AS ltv_b(%s)',
        COALESCE(sample ->> 'rows', '[]'),
        (SELECT string_agg(format('%I %s', c.e ->> 'name', c.e ->> 'type'), ', ' ORDER BY c.i)
         FROM jsonb_array_elements(sample -> 'columns') WITH ORDINALITY AS c(e, i)));
END
$$;
COMMENT ON FUNCTION ltv.background
    IS 'SQL for the rows that predictions are explained against: '
       'of a bound query, or of what the version was trained on';

CREATE TYPE ltv.contribution AS (
    customer_id text, ltv float8, baseline float8, rank int, feature text, value text,
    contribution float8
);
COMMENT ON TYPE ltv.contribution IS 'what one feature adds to one prediction, see ltv_explain_predict';

-- Shapley values by sampling orders of the features (Castro, Gomez and Tejada 2009; Strumbelj and Kononenko 2014): in
-- each sample a customer of the background turns into the explained one, a feature at a time; what the prediction
-- gains at a step is that feature's. Each order is followed by its reverse, which halves the noise and more.
-- The contributions of a customer add up to ltv - baseline, the mean prediction of the sampled background.
CREATE FUNCTION ltv.explain_query(
    model text, query text, top_k int, version bigint, background text, samples int, id_column text
)
RETURNS SETOF ltv.contribution
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    explained text := ltv.feature_rows(model, used, query, 'query');
    typical text;
    names text[];
    mixed text;
    original text;
    found boolean;
BEGIN
    IF samples IS NULL OR samples NOT BETWEEN 1 AND 10000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'samples must be between 1 and 10000',
            HINT = 'The noise of a contribution falls with the square root of the samples; '
                   '32 are enough for a first look.';
    ELSIF top_k < 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'top_k must be positive',
            HINT = 'Leave it out to see every feature.';
    END IF;
    IF id_column IS NOT NULL THEN
        id_column := ltv.check_id_column((ltv.query_columns(query)).names, id_column, model);
    END IF;
    typical := ltv.background(model, used, background, (samples + 1) / 2);
    EXECUTE 'SELECT EXISTS (' || typical || ')' INTO found;
    IF NOT found THEN
        RAISE no_data_found USING MESSAGE = 'the background has no rows',
            HINT = 'Predictions are explained against typical customers: '
                   'background => ''...'' names a relation or query of them.';
    END IF;
    WITH features AS (
        SELECT f.*, row_number() OVER () AS i FROM ltv.model_features(model, used) f
    ), cells AS (
        SELECT f.column_name, f.place, f.i,
               format('CASE WHEN o.places[%1$s] <= k.k THEN (x.ltv_x).%2$I%3$s ELSE (b.ltv_b).%2$I%3$s END',
                      f.i, f.column_name, '[' || f.place || ']') AS cell
        FROM features f
    ), columns AS (
        SELECT min(c.i) AS i,
               format(CASE WHEN min(c.place) IS NULL THEN '%s AS %I' ELSE 'ARRAY[%s] AS %I' END,
                      string_agg(c.cell, ', ' ORDER BY c.place), c.column_name) AS cell
        FROM cells c GROUP BY c.column_name
    )
    SELECT (SELECT array_agg(f.feature ORDER BY f.i) FROM features f),
           (SELECT string_agg(c.cell, ', ' ORDER BY c.i) FROM columns c),
           (SELECT string_agg(format('(x.ltv_x).%I%s::text', f.column_name, '[' || f.place || ']'), ', ' ORDER BY f.i)
            FROM features f)
    INTO names, mixed, original;
    RETURN QUERY EXECUTE format($sql$
        WITH x AS MATERIALIZED (SELECT ltv_x, row_number() OVER () AS n FROM %1$s ltv_x),
        b AS MATERIALIZED (%2$s),
        o AS MATERIALIZED (
            SELECT r.sample,
                   array_agg(CASE WHEN r.sample %% 2 = 0 THEN r.place ELSE %4$s + 1 - r.place END ORDER BY r.i)::int[]
                        AS places
            FROM (SELECT s.sample, f.i, row_number() OVER (PARTITION BY s.sample
                         ORDER BY hashint8extended(f.i, s.sample / 2), f.i) AS place
                  FROM generate_series(0, %3$s - 1) AS s(sample), generate_series(1, %4$s) AS f(i)) r
            GROUP BY r.sample),
        mixed AS (
            SELECT x.n, o.sample, o.places, k.k, ltv_m
            FROM x, o JOIN b ON b.n = o.sample / 2 %% (SELECT count(*) FROM b),
                 generate_series(0, %4$s) AS k(k), LATERAL (SELECT %5$s) ltv_m),
        scored AS (SELECT m.n, m.sample, m.places, m.k, ltv.predict(%6$L::text, %7$s, m.ltv_m) AS value
                   FROM mixed m OFFSET 0),
        steps AS (
            SELECT s.n, s.k, array_position(s.places, s.k) AS i, s.value,
                   s.value - lag(s.value) OVER (PARTITION BY s.n, s.sample ORDER BY s.k) AS gain
            FROM scored s),
        customer AS (SELECT s.n, avg(s.value) FILTER (WHERE s.k = %4$s) AS ltv,
                            avg(s.value) FILTER (WHERE s.k = 0) AS baseline
                     FROM steps s GROUP BY s.n),
        contribution AS (SELECT s.n, s.i, avg(s.gain) AS gain FROM steps s WHERE s.k > 0 GROUP BY s.n, s.i),
        ranked AS (SELECT c.*, row_number() OVER (PARTITION BY c.n ORDER BY abs(c.gain) DESC, c.i) AS rank
                   FROM contribution c)
        SELECT %8$s, c.ltv, c.baseline, r.rank::int, $1[r.i], (ARRAY[%9$s])[r.i], r.gain
        FROM ranked r JOIN customer c USING (n) JOIN x USING (n)
        WHERE r.rank <= COALESCE($2, r.rank) ORDER BY r.n, r.rank$sql$,
        explained, typical, samples, cardinality(names), mixed, model, used,
        CASE WHEN id_column IS NULL THEN 'NULL::text' ELSE format('(x.ltv_x).%I::text', id_column) END, original)
    USING names, top_k;
END
$$;
COMMENT ON FUNCTION ltv.explain_query IS 'see ltv_explain_predict; the queries are bound';

CREATE FUNCTION ltv.explain_predict(
    model      text,
    query      text,
    top_k      int,
    version    bigint,
    background text,
    samples    int,
    id_column  text
) RETURNS SETOF ltv.contribution
LANGUAGE sql
AS $$
    SELECT *
    FROM ltv.explain_query(model, ltv.given_query(query), top_k, version, ltv.bind_query(background),
        samples, id_column)
$$;
COMMENT ON FUNCTION ltv.explain_predict(text, text, int, bigint, text, int, text) IS 'see ltv_explain_predict';

CREATE FUNCTION @extschema@.ltv_explain_predict(
    model      text,
    query      text,
    top_k      int DEFAULT NULL,
    version    bigint DEFAULT NULL,
    background text DEFAULT NULL,
    samples    int DEFAULT 32,
    id_column  text DEFAULT 'customer_id'
) RETURNS TABLE (customer_id text, ltv float8, baseline float8, rank int, feature text, value text, contribution float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_explain_predict
    IS 'what each feature adds to the prediction of each row of a query: Shapley values';

CREATE TYPE ltv.importance AS (
    feature text, importance float8, deviation float8, baseline float8
);
COMMENT ON TYPE ltv.importance IS 'how much a model relies on one feature, see ltv_feature_importance';

-- Breiman 2001, model-agnostic: how much worse a metric gets when the customers swap their values of one feature.
CREATE FUNCTION ltv.importance_of_rows(
    query text, model text, version int, metric text, repeats int, target text, rows int
)
RETURNS SETOF ltv.importance
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    customers text := ltv.feature_rows(model, version, query, 'query');
    answer text := COALESCE(target, (SELECT v.recipe ->> 'target' FROM ltv.readable_versions v
        WHERE v.model = importance_of_rows.model AND v.version = importance_of_rows.version), 'ltv');
    names text[] := (ltv.query_columns(query)).names;
    known text[];
    sample text;
    swapped text;
    found ltv.importance;
BEGIN
    IF repeats IS NULL OR repeats NOT BETWEEN 1 AND 1000 OR rows IS NULL OR rows < 2 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'repeats must be between 1 and 1000, and rows at least 2';
    END IF;
    PERFORM ltv.check_column(names, answer, 'target');
    sample := format($sql$
        SELECT s.*, row_number() OVER (ORDER BY hashint8extended(s.ltv_n, 1)) AS ltv_place
        FROM (SELECT q.*, row_number() OVER () AS ltv_n FROM %s q WHERE q.%I IS NOT NULL) s
        ORDER BY hashint8extended(s.ltv_n, 1) LIMIT %s$sql$, customers, answer, rows);
    SELECT e.value, array_agg(e.metric) OVER () INTO found.baseline, known
    FROM ltv.metrics(model, sample, version, answer, NULL) e
    ORDER BY e.metric = importance_of_rows.metric DESC LIMIT 1;
    IF metric IS NULL OR metric <> ALL (known) THEN
        RAISE invalid_parameter_value USING MESSAGE = format('unknown metric "%s"', metric),
            HINT = format('Possible values are: %s.', array_to_string(known, ', '));
    END IF;
    FOR found.feature, swapped IN
        SELECT c.column_name,
               string_agg(CASE WHEN n.name = c.column_name THEN format('p.%I', n.name) ELSE format('s.%I', n.name) END,
                          ', ' ORDER BY n.i)
        FROM (SELECT f.column_name, min(f.n) AS place
              FROM ltv.model_features(model, version) WITH ORDINALITY AS f(feature, column_name, place, n)
              GROUP BY 1) c,
             unnest(names) WITH ORDINALITY AS n(name, i)
        GROUP BY c.column_name, c.place ORDER BY c.place
    LOOP
        SELECT avg(ltv.goodness(e.metric, found.baseline) - ltv.goodness(e.metric, e.value)),
               COALESCE(stddev_samp(e.value), 0)
        INTO found.importance, found.deviation
        FROM generate_series(1, repeats) AS r(seed), LATERAL ltv.metrics(model, format($sql$
            WITH s AS MATERIALIZED (%s),
            p AS (SELECT s.*, row_number() OVER (ORDER BY hashint8extended(s.ltv_place, %s)) AS ltv_to FROM s)
            SELECT %s FROM s JOIN p ON p.ltv_to = s.ltv_place$sql$,
                sample, r.seed + 1, swapped), version, answer, NULL) e
        WHERE e.metric = importance_of_rows.metric;
        RETURN NEXT found;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ltv.importance_of_rows IS 'permutation importance on the rows of a bound query';

-- What the splits of trees gained, as the training counted it.
CREATE FUNCTION ltv.gains(model text, version int)
RETURNS TABLE (feature text, importance float8, deviation float8, baseline float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found jsonb;
    net text;
BEGIN
    SELECT v.statistics -> 'gains', v.backbone INTO found, net FROM ltv.readable_versions v
    WHERE v.model = gains.model AND v.version = gains.version;
    IF COALESCE(jsonb_typeof(found), 'null') <> 'array' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('version %s of model "%s" has no trees whose gain could be shown', version, model),
            DETAIL = CASE WHEN net IS NULL THEN 'It has no backbone.' ELSE format('Its backbone is %s.', net) END,
            HINT = 'Any other metric shows how much any model relies on each feature.';
    END IF;
    RETURN QUERY
    SELECT g.e ->> 'name', (g.e ->> 'gain')::float8, NULL::float8, NULL::float8
    FROM jsonb_array_elements(found) WITH ORDINALITY AS g(e, i) ORDER BY g.i;
END
$$;
COMMENT ON FUNCTION ltv.gains(text, int) IS 'per feature the share of the gain of all splits of the trees of a version';

CREATE FUNCTION ltv.importance_of_query(
    model text, query text, version bigint, metric text, repeats int, target text, rows int
)
RETURNS SETOF ltv.importance
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    found jsonb;
BEGIN
    IF metric = 'gain' THEN
        RETURN QUERY SELECT * FROM ltv.gains(model, used);
        RETURN;
    END IF;
    found := ltv.on_rows(model, used, query,
        'SELECT jsonb_agg(to_jsonb(i)) FROM ltv.importance_of_rows($1, $2 ->> ''model'', ($2 ->> ''version'')::int, '
        '$2 ->> ''metric'','
        ' ($2 ->> ''repeats'')::int, $2 ->> ''target'', ($2 ->> ''rows'')::int) i',
        jsonb_build_object('model', model, 'version', used, 'metric', metric, 'repeats', repeats, 'target', target,
                           'rows', rows));
    RETURN QUERY
        SELECT i.* FROM jsonb_populate_recordset(NULL::ltv.importance, found) i;
END
$$;
COMMENT ON FUNCTION ltv.importance_of_query IS 'see ltv_feature_importance; the query is bound';

CREATE FUNCTION ltv.feature_importance(
    model   text,
    query   text,
    version bigint,
    metric  text,
    repeats int,
    target  text,
    rows    int
) RETURNS SETOF ltv.importance
LANGUAGE sql
AS $$ SELECT * FROM ltv.importance_of_query(model, ltv.bind_query(query), version, metric, repeats, target, rows) $$;
COMMENT ON FUNCTION ltv.feature_importance(text, text, bigint, text, int, text, int) IS 'see ltv_feature_importance';

CREATE FUNCTION @extschema@.ltv_feature_importance(
    model   text,
    query   text DEFAULT NULL,
    version bigint DEFAULT NULL,
    metric  text DEFAULT 'normalized_gini',
    repeats int DEFAULT 3,
    target  text DEFAULT NULL,
    rows    int DEFAULT 20000
) RETURNS TABLE (feature text, importance float8, deviation float8, baseline float8)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_feature_importance
    IS 'how much worse a metric gets when the values of one feature are swapped between customers';

-- The shares that a backbone with variable selection (tft) gave the features of the customers it
-- was trained on: what Lim et al. 2021 read from it. Statistics and catalog are read as they
-- are, so no search_path of the caller's is needed.
CREATE FUNCTION ltv.selection_weights(model text, version bigint)
RETURNS TABLE (part text, feature text, weight float8, p10 float8, p50 float8, p90 float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    selection jsonb;
    net text;
BEGIN
    SELECT v.statistics -> 'selection', v.backbone INTO selection, net FROM ltv.readable_versions v
    WHERE v.model = selection_weights.model AND v.version = used;
    IF COALESCE(jsonb_typeof(selection), 'null') <> 'array' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('version %s of model "%s" has no selection weights', used, model),
            DETAIL = CASE WHEN net IS NULL THEN 'It has no backbone.'
                          ELSE format('Its backbone is %s; only tft selects its variables.', net) END,
            HINT = 'ltv_feature_importance says how much any model relies on each feature.';
    END IF;
    RETURN QUERY
    SELECT s.e ->> 'kind', s.e ->> 'name', (s.e ->> 'mean')::float8,
           (s.e #>> '{quantiles,2}')::float8, (s.e #>> '{quantiles,10}')::float8,
           (s.e #>> '{quantiles,18}')::float8
    FROM jsonb_array_elements(selection) WITH ORDINALITY AS s(e, i)
    ORDER BY s.e ->> 'kind' DESC, (s.e ->> 'mean')::float8 DESC, s.i;
END
$$;
COMMENT ON FUNCTION ltv.selection_weights(text, bigint) IS 'see ltv_selection_weights';

CREATE FUNCTION @extschema@.ltv_selection_weights(model text, version bigint DEFAULT NULL)
RETURNS TABLE (part text, feature text, weight float8, p10 float8, p50 float8, p90 float8)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_selection_weights
    IS 'how much of its attention a tft gave each feature and each channel of the sequence';

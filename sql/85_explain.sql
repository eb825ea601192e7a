-- Why a prediction is what it is: Shapley values of single predictions, permutation importance of the features.
--
-- The queries are the caller's own, so these functions keep the caller's search_path.

-- One element for each thing that can be changed by itself: a feature, or a place in a vector.
CREATE FUNCTION ltv.model_features(model text, version int, OUT feature text, OUT column_name text, OUT place int) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN p.place IS NULL THEN i.input ->> 'name' ELSE format('%s[%s]', i.input ->> 'name', p.place) END, i.input ->> 'name', p.place
    FROM ltv.versions v, jsonb_array_elements(v.schema -> 'inputs') WITH ORDINALITY AS i(input, n)
    LEFT JOIN LATERAL generate_series(1, (i.input ->> 'len')::int) AS p(place) ON i.input ->> 'kind' = 'vector'
    WHERE v.model = $1 AND v.version = $2 ORDER BY i.n, p.place
$$;
COMMENT ON FUNCTION ltv.model_features IS 'the features of a version, each place of a vector by itself';

CREATE FUNCTION ltv.feature_rows(model text, version int, query text, argument text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    source text := ltv.query_text(query);
    names text[] := (ltv.query_columns(source)).names;
BEGIN
    PERFORM ltv.check_column(names, f.column_name, argument || ', which must have every feature of the model')
    FROM (SELECT DISTINCT column_name FROM ltv.model_features(model, version)) f;
    RETURN '(' || source || E'\n)';
END
$$;
COMMENT ON FUNCTION ltv.feature_rows IS 'a query in parentheses, after checking that it has every feature of a version';

CREATE FUNCTION ltv.training_source(model text, version int, argument text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text := (SELECT COALESCE(v.recipe ->> 'query', v.recipe ->> 'relation') FROM ltv.versions v WHERE v.model = $1 AND v.version = $2);
BEGIN
    IF source IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = format('the %s must be given', argument),
            DETAIL = 'The version was imported, so the customers that it was trained on are not known.',
            HINT = format('Name a relation or a query of typical customers: %s => ''...''.', argument);
    END IF;
    RETURN source;
END
$$;
COMMENT ON FUNCTION ltv.training_source IS 'what a version was trained on, or an error that asks for the argument';

-- Shapley values by sampling orders of the features (Castro, Gomez and Tejada 2009; Strumbelj and Kononenko 2014): in
-- each sample a customer of the background turns into the explained one, a feature at a time; what the prediction
-- gains at a step is that feature's. Each order is followed by its reverse, which halves the noise and more.
-- The contributions of a customer add up to ltv - baseline, the mean prediction of the sampled background.
CREATE FUNCTION @extschema@.ltv_explain_predict(
    model      text,
    query      text,
    top_k      int DEFAULT NULL,
    version    int DEFAULT NULL,
    background text DEFAULT NULL,
    samples    int DEFAULT 32,
    id_column  text DEFAULT 'customer_id'
) RETURNS TABLE (customer_id text, ltv float8, baseline float8, rank int, feature text, value text, contribution float8)
LANGUAGE plpgsql
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    explained text := ltv.feature_rows(model, used, query, 'query');
    typical text := ltv.feature_rows(model, used, COALESCE(background, ltv.training_source(model, used, 'background')), 'background');
    names text[];
    mixed text;
    original text;
    found boolean;
BEGIN
    IF samples IS NULL OR samples NOT BETWEEN 1 AND 10000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'samples must be between 1 and 10000',
            HINT = 'The noise of a contribution falls with the square root of the samples; 32 are enough for a first look.';
    ELSIF top_k < 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'top_k must be positive', HINT = 'Leave it out to see every feature.';
    END IF;
    IF id_column IS NOT NULL THEN
        id_column := ltv.check_id_column((ltv.query_columns(ltv.query_text(query))).names, id_column, model);
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || typical || ' ltv_b)' INTO found;
    IF NOT found THEN
        RAISE no_data_found USING MESSAGE = 'the background has no rows',
            HINT = 'Predictions are explained against typical customers: background => ''...'' names a relation or query of them.';
    END IF;
    WITH features AS (
        SELECT f.*, pg_catalog.row_number() OVER () AS i FROM ltv.model_features(model, used) f
    ), cells AS (
        SELECT f.column_name, f.place, f.i, pg_catalog.format('CASE WHEN o.places[%1$s] <= k.k THEN (x.ltv_x).%2$I%3$s ELSE (b.ltv_b).%2$I%3$s END',
                                                              f.i, f.column_name, '[' || f.place || ']') AS cell
        FROM features f
    ), columns AS (
        SELECT pg_catalog.min(c.i) AS i, pg_catalog.format(CASE WHEN pg_catalog.min(c.place) IS NULL THEN '%s AS %I' ELSE 'ARRAY[%s] AS %I' END,
                                                           pg_catalog.string_agg(c.cell, ', ' ORDER BY c.place), c.column_name) AS cell
        FROM cells c GROUP BY c.column_name
    )
    SELECT (SELECT pg_catalog.array_agg(f.feature ORDER BY f.i) FROM features f),
           (SELECT pg_catalog.string_agg(c.cell, ', ' ORDER BY c.i) FROM columns c),
           (SELECT pg_catalog.string_agg(pg_catalog.format('(x.ltv_x).%I%s::pg_catalog.text', f.column_name, '[' || f.place || ']'), ', ' ORDER BY f.i)
            FROM features f)
    INTO names, mixed, original;
    RETURN QUERY EXECUTE pg_catalog.format($sql$
        WITH x AS MATERIALIZED (SELECT ltv_x, pg_catalog.row_number() OVER () AS n FROM %1$s ltv_x),
        typical AS (SELECT ltv_b, pg_catalog.row_number() OVER () AS n FROM %2$s ltv_b),
        b AS MATERIALIZED (
            SELECT t.ltv_b, pg_catalog.row_number() OVER (ORDER BY pg_catalog.hashint8extended(t.n, 1)) - 1 AS n FROM typical t
            ORDER BY pg_catalog.hashint8extended(t.n, 1) LIMIT (%3$s + 1) / 2),
        o AS MATERIALIZED (
            SELECT r.sample, pg_catalog.array_agg(CASE WHEN r.sample %% 2 = 0 THEN r.place ELSE %4$s + 1 - r.place END ORDER BY r.i)::int[] AS places
            FROM (SELECT s.sample, f.i, pg_catalog.row_number() OVER (PARTITION BY s.sample
                         ORDER BY pg_catalog.hashint8extended(f.i, s.sample / 2), f.i) AS place
                  FROM pg_catalog.generate_series(0, %3$s - 1) AS s(sample), pg_catalog.generate_series(1, %4$s) AS f(i)) r
            GROUP BY r.sample),
        mixed AS (
            SELECT x.n, o.sample, o.places, k.k, ltv_m
            FROM x, o JOIN b ON b.n = o.sample / 2 %% (SELECT pg_catalog.count(*) FROM b), pg_catalog.generate_series(0, %4$s) AS k(k), LATERAL (SELECT %5$s) ltv_m),
        scored AS (SELECT m.n, m.sample, m.places, m.k, @extschema@.ltv_predict(%6$L::pg_catalog.text, %7$s, m.ltv_m) AS value FROM mixed m OFFSET 0),
        steps AS (
            SELECT s.n, s.k, pg_catalog.array_position(s.places, s.k) AS i, s.value,
                   s.value - pg_catalog.lag(s.value) OVER (PARTITION BY s.n, s.sample ORDER BY s.k) AS gain
            FROM scored s),
        customer AS (SELECT s.n, pg_catalog.avg(s.value) FILTER (WHERE s.k = %4$s) AS ltv, pg_catalog.avg(s.value) FILTER (WHERE s.k = 0) AS baseline
                     FROM steps s GROUP BY s.n),
        contribution AS (SELECT s.n, s.i, pg_catalog.avg(s.gain) AS gain FROM steps s WHERE s.k > 0 GROUP BY s.n, s.i),
        ranked AS (SELECT c.*, pg_catalog.row_number() OVER (PARTITION BY c.n ORDER BY pg_catalog.abs(c.gain) DESC, c.i) AS rank FROM contribution c)
        SELECT %8$s, c.ltv, c.baseline, r.rank::int, $1[r.i], (ARRAY[%9$s])[r.i], r.gain
        FROM ranked r JOIN customer c USING (n) JOIN x USING (n) WHERE r.rank <= COALESCE($2, r.rank) ORDER BY r.n, r.rank$sql$,
        explained, typical, samples, pg_catalog.cardinality(names), mixed, model, used,
        CASE WHEN id_column IS NULL THEN 'NULL::pg_catalog.text' ELSE pg_catalog.format('(x.ltv_x).%I::pg_catalog.text', id_column) END, original)
    USING names, top_k;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_explain_predict IS 'what each feature adds to the prediction of each row of a query: Shapley values';

-- Breiman 2001, model-agnostic: how much worse a metric gets when the customers swap their values of one feature.
CREATE FUNCTION @extschema@.ltv_feature_importance(
    model   text,
    query   text DEFAULT NULL,
    version int DEFAULT NULL,
    metric  text DEFAULT 'normalized_gini',
    repeats int DEFAULT 3,
    target  text DEFAULT NULL,
    rows    int DEFAULT 20000
) RETURNS TABLE (feature text, importance float8, deviation float8, baseline float8)
LANGUAGE plpgsql
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    source text := COALESCE(query, ltv.training_source(model, used, 'query'));
    customers text := ltv.feature_rows(model, used, source, 'query');
    answer text := COALESCE(target, (SELECT v.recipe ->> 'target' FROM ltv.versions v WHERE v.model = ltv_feature_importance.model AND v.version = used), 'ltv');
    names text[] := (ltv.query_columns(ltv.query_text(source))).names;
    known text[];
    sample text;
    swapped text;
BEGIN
    IF repeats IS NULL OR repeats NOT BETWEEN 1 AND 1000 OR rows IS NULL OR rows < 2 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'repeats must be between 1 and 1000, and rows at least 2';
    END IF;
    PERFORM ltv.check_column(names, answer, 'target');
    sample := pg_catalog.format($sql$
        SELECT s.*, pg_catalog.row_number() OVER (ORDER BY pg_catalog.hashint8extended(s.ltv_n, 1)) AS ltv_place
        FROM (SELECT q.*, pg_catalog.row_number() OVER () AS ltv_n FROM %s q WHERE q.%I IS NOT NULL) s
        ORDER BY pg_catalog.hashint8extended(s.ltv_n, 1) LIMIT %s$sql$, customers, answer, rows);
    SELECT e.value, pg_catalog.array_agg(e.metric) OVER () INTO baseline, known FROM @extschema@.ltv_evaluate(model, sample, used, answer) e
    ORDER BY e.metric = ltv_feature_importance.metric DESC LIMIT 1;
    IF metric IS NULL OR metric <> ALL (known) THEN
        RAISE invalid_parameter_value USING MESSAGE = pg_catalog.format('unknown metric "%s"', metric),
            HINT = pg_catalog.format('Possible values are: %s.', pg_catalog.array_to_string(known, ', '));
    END IF;
    FOR feature, swapped IN
        SELECT c.column_name, pg_catalog.string_agg(CASE WHEN n.name = c.column_name THEN pg_catalog.format('p.%I', n.name) ELSE pg_catalog.format('s.%I', n.name) END, ', ' ORDER BY n.i)
        FROM (SELECT f.column_name, pg_catalog.min(f.n) AS place FROM ltv.model_features(model, used) WITH ORDINALITY AS f(feature, column_name, place, n) GROUP BY 1) c,
             pg_catalog.unnest(names) WITH ORDINALITY AS n(name, i)
        GROUP BY c.column_name, c.place ORDER BY c.place
    LOOP
        SELECT pg_catalog.avg(ltv.goodness(e.metric, baseline) - ltv.goodness(e.metric, e.value)), COALESCE(pg_catalog.stddev_samp(e.value), 0) INTO importance, deviation
        FROM pg_catalog.generate_series(1, repeats) AS r(seed), LATERAL @extschema@.ltv_evaluate(model, pg_catalog.format($sql$
            WITH s AS MATERIALIZED (%s),
            p AS (SELECT s.*, pg_catalog.row_number() OVER (ORDER BY pg_catalog.hashint8extended(s.ltv_place, %s)) AS ltv_to FROM s)
            SELECT %s FROM s JOIN p ON p.ltv_to = s.ltv_place$sql$, sample, r.seed + 1, swapped), used, answer) e
        WHERE e.metric = ltv_feature_importance.metric;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_feature_importance IS 'how much worse a metric gets when the values of one feature are swapped between customers';

-- The shares that a backbone with variable selection (tft) gave the features of the customers it was trained on: what Lim et al. 2021 read
-- from it. Statistics and catalog are read as they are, so no search_path of the caller's is needed.
CREATE FUNCTION @extschema@.ltv_selection_weights(model text, version int DEFAULT NULL)
RETURNS TABLE (part text, feature text, weight float8, p10 float8, p50 float8, p90 float8)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    selection jsonb;
    net text;
BEGIN
    SELECT v.statistics -> 'selection', v.backbone INTO selection, net FROM ltv.versions v
    WHERE v.model = ltv_selection_weights.model AND v.version = used;
    IF COALESCE(jsonb_typeof(selection), 'null') <> 'array' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('version %s of model "%s" has no selection weights', used, model),
            DETAIL = CASE WHEN net IS NULL THEN 'It has no backbone.' ELSE format('Its backbone is %s; only tft selects its variables.', net) END,
            HINT = 'ltv_feature_importance says how much any model relies on each feature.';
    END IF;
    RETURN QUERY
    SELECT s.e ->> 'kind', s.e ->> 'name', (s.e ->> 'mean')::float8, (s.e #>> '{quantiles,2}')::float8, (s.e #>> '{quantiles,10}')::float8,
           (s.e #>> '{quantiles,18}')::float8
    FROM jsonb_array_elements(selection) WITH ORDINALITY AS s(e, i) ORDER BY s.e ->> 'kind' DESC, (s.e ->> 'mean')::float8 DESC, s.i;
END
$$;
COMMENT ON FUNCTION @extschema@.ltv_selection_weights IS 'how much of its attention a tft gave each feature and each channel of the sequence';

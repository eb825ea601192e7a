-- Watching: is the data that a model is asked about still like the data it was trained on? Profiles of features, skew
-- against training, drift between two periods, recorded runs with alerts.
--
-- A version stores how each feature was distributed in training (statistics -> 'features'), and its predictions, as the
-- feature "ltv". Here other rows are counted into the same bins and categories and compared.

CREATE TABLE ltv.monitoring (
    run          bigint NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    model        text NOT NULL,
    version      int NOT NULL,
    feature      text NOT NULL,
    kind         text,
    n            bigint,
    psi          float8,
    js_distance  float8,
    missing_then float8,
    missing_now  float8,
    mean_then    float8,
    mean_now     float8,
    threshold    float8,
    drifted      boolean NOT NULL,
    reason       text,
    PRIMARY KEY (run, feature)
);
CREATE INDEX ON ltv.monitoring (model, run);
CREATE SEQUENCE ltv.monitoring_run OWNED BY ltv.monitoring.run;
COMMENT ON TABLE ltv.monitoring IS 'what ltv_monitor found, one row per run and feature';

CREATE TABLE ltv.alerts (
    alert   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    model   text NOT NULL,
    kind    text NOT NULL CHECK (kind IN ('drift', 'step', 'training')),
    version int,
    run     bigint,
    feature text,
    message text NOT NULL
);
CREATE INDEX ON ltv.alerts (model, alert);
COMMENT ON TABLE ltv.alerts
    IS 'drifted features found by ltv_monitor, steps of chains that failed, retrainings that failed or got worse';

SELECT pg_catalog.pg_extension_config_dump('ltv.monitoring', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.monitoring_run', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.alerts', '');
SELECT pg_catalog.pg_extension_config_dump('ltv.alerts_alert_seq', '');

-- Profiles ---------------------------------------------------------------------------------------------------------

-- Values as training and scoring read them, by the same code. Called for each row, hence no SET clause.
CREATE FUNCTION ltv.number_of(value "any") RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_number_of';
COMMENT ON FUNCTION ltv.number_of
    IS 'a number as models see it, in single precision, or the days of a time; NULL where it is missing';
CREATE FUNCTION ltv.element_of(value "any", index int) RETURNS float8
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_element_of';
COMMENT ON FUNCTION ltv.element_of
    IS 'an element of an array, counted from 1, as models see it; NULL where it is missing';
CREATE FUNCTION ltv.category_of(value "any") RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ltv_category_of';
COMMENT ON FUNCTION ltv.category_of IS 'a category as models see it; NULL where it is missing';

-- SQL for the value of a described feature in a row called ltv_row; features[3] is an element of a vector.
CREATE FUNCTION ltv.feature_value(name text, kind text, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE kind
        WHEN 'categorical' THEN format('ltv.category_of(ltv_row.%I)', name)
        WHEN 'sequence' THEN format('array_length(ltv_row.%I, 1)::float8', name)
        ELSE CASE WHEN name = ANY (columns) OR name !~ '\[\d+\]$' THEN format('ltv.number_of(ltv_row.%I)', name)
             ELSE format('ltv.element_of(ltv_row.%I, %s)',
                         regexp_replace(name, '\[\d+\]$', ''), substring(name FROM '\[(\d+)\]$')) END
    END
$$;
COMMENT ON FUNCTION ltv.feature_value IS 'SQL for the value of a feature';

-- Describes the rows of a query in the way, and in the bins, of the features described by a version.
CREATE FUNCTION ltv.profile(query text, features jsonb, model text, version int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns text[] := (ltv.query_columns(query)).names;
    missing text;
    values_list text;
    described jsonb;
BEGIN
    SELECT string_agg(DISTINCT n.name, ', ') INTO missing
    FROM jsonb_array_elements(features) f(e), LATERAL (SELECT regexp_replace(f.e ->> 'name', '\[\d+\]$', '')) n(name)
    WHERE f.e ->> 'name' <> 'ltv' AND f.e ->> 'name' <> ALL (columns) AND n.name <> ALL (columns);
    IF missing IS NOT NULL THEN
        RAISE undefined_column USING MESSAGE = format('the query lacks columns of the model: %s', missing),
            DETAIL = format('Its columns are: %s.', array_to_string(columns[:40], ', ')),
            HINT = 'Give rows with all features that the version was trained on; ltv_feature_info lists them.';
    END IF;
    SELECT string_agg(CASE
        WHEN f.e ->> 'kind' = 'categorical' THEN format('(%s, %s, NULL::float8)', f.i, v.value)
        ELSE format('(%s, width_bucket(%s, %L::float8[])::text, %2$s)', f.i, v.value,
             COALESCE(translate(f.e #>> '{histogram,edges}', '[]', '{}'), '{}')) END, E',\n' ORDER BY f.i)
    INTO values_list
    FROM jsonb_array_elements(features) WITH ORDINALITY AS f(e, i),
         LATERAL (SELECT CASE f.e ->> 'name' WHEN 'ltv' THEN 'ltv.number_of(ltv_row.ltv_prediction)'
                         ELSE ltv.feature_value(f.e ->> 'name', f.e ->> 'kind', columns) END AS value) v;
    -- OFFSET 0: what a row takes to compute, the prediction above all, is computed once and not wherever it is read.
    EXECUTE format($sql$
        SELECT jsonb_agg(jsonb_build_object(
            'name', d.name, 'kind', d.kind, 'n', d.n, 'missing', d.missing::float8 / NULLIF(d.n, 0),
            'mean', d.mean, 'std', d.std, 'counts', d.counts) ORDER BY d.i)
        FROM (SELECT f.i, f.e ->> 'name' AS name, f.e ->> 'kind' AS kind, COALESCE(sum(b.n), 0) AS n,
                     COALESCE(sum(b.n) FILTER (WHERE b.bin IS NULL), 0) AS missing,
                     sum(b.total) / sum(b.n) FILTER (WHERE b.bin IS NOT NULL) AS mean,
                     sqrt(greatest(0, sum(b.squares) / sum(b.n) FILTER (WHERE b.bin IS NOT NULL)
                          - (sum(b.total) / sum(b.n) FILTER (WHERE b.bin IS NOT NULL)) ^ 2)) AS std,
                     COALESCE(jsonb_object_agg(b.bin, b.n) FILTER (WHERE b.bin IS NOT NULL), '{}') AS counts
              FROM jsonb_array_elements($1) WITH ORDINALITY AS f(e, i)
              LEFT JOIN (SELECT v.i, v.bin, count(*) AS n, sum(v.value) AS total, sum(v.value * v.value) AS squares
                         FROM (SELECT ltv_row.* %s FROM (SELECT * FROM (%s%s) ltv_s OFFSET 0) ltv_row OFFSET 0) ltv_row
                         CROSS JOIN LATERAL (VALUES %s) v(i, bin, value)
                         GROUP BY v.i, v.bin) b ON b.i = f.i
              GROUP BY f.i, f.e) d$sql$,
        CASE WHEN EXISTS (SELECT FROM jsonb_array_elements(features) f(e) WHERE f.e ->> 'name' = 'ltv')
             THEN format(', ltv.predict(%L::text, %s, ltv_row) AS ltv_prediction', model, version) END,
        ltv.gathered_query(query), E'\n', values_list) INTO described USING features;
    IF (described #>> '{0,n}')::bigint = 0 THEN
        RAISE data_exception USING MESSAGE = 'the query has no rows', HINT = 'There must be rows to compare.';
    END IF;
    RETURN described;
END
$$;
COMMENT ON FUNCTION ltv.profile IS 'how the features, and the predictions, of the rows of a query are distributed';

-- What a version remembers of its training, with counts instead of shares, like a profile.
CREATE FUNCTION ltv.training_profile(features jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(f.e || jsonb_build_object('counts', COALESCE(
        (SELECT jsonb_object_agg(c.key, c.value::float8 * p.present) FROM jsonb_each_text(f.e -> 'categories') c),
        (SELECT jsonb_object_agg((s.i - 1)::text, s.share::float8 * p.present)
         FROM jsonb_array_elements_text(f.e #> '{histogram,shares}')
             WITH ORDINALITY AS s(share, i)), '{}')) ORDER BY f.i)
    FROM jsonb_array_elements(features) WITH ORDINALITY AS f(e, i),
         LATERAL (SELECT (f.e ->> 'n')::float8 * (1 - COALESCE((f.e ->> 'missing')::float8, 0)) AS present) p
$$;
COMMENT ON FUNCTION ltv.training_profile IS 'the described features of a version as a profile';

-- Comparing --------------------------------------------------------------------------------------------------------

-- The value that a chi-squared variable with so many degrees of freedom exceeds
-- once in a thousand times (Wilson and Hilferty).
CREATE FUNCTION ltv.chi_squared_999(freedom float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT freedom * (1 - 2 / (9 * freedom) + 3.0902 * sqrt(2 / (9 * freedom))) ^ 3 $$;
COMMENT ON FUNCTION ltv.chi_squared_999 IS 'the 0.999 quantile of the chi-squared distribution';

CREATE TYPE ltv.feature_drift AS (
    feature text, kind text, psi float8, js_distance float8, missing_then float8,
    missing_now float8, threshold float8, drifted boolean, mean_then float8, mean_now float8,
    n_then bigint, n_now bigint, new_categories text[], reason text
);
COMMENT ON TYPE ltv.feature_drift IS 'one feature as it was and as it is now, see ltv_validate_data_drift';

-- Customers grow older than those that a model was trained on: that is no news. Within a year of training the PSI of t
-- was up to 2.7 in an open shop and 9.4 where nobody new came, that of recency up to 0.8 and 2.4.
CREATE FUNCTION ltv.drift_threshold(feature text, kind text) RETURNS float8
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN kind = 'categorical' THEN 0.3 WHEN feature IN ('t', 'days_since_start') THEN NULL
                WHEN feature ~ '^([a-z0-9_]+_)?recency$' THEN 3 ELSE 0.2 END
$$;
COMMENT ON FUNCTION ltv.drift_threshold IS 'from where on a difference matters by default; null: never';

-- PSI and Jensen-Shannon divergence of two samples of the same distribution are not 0 but, times 1 / (1/n + 1/m), about
-- chi-squared distributed (the latter divided by 8). Their mean is taken off what is shown; an alarm must exceed the
-- threshold by more than their 0.999 quantile. Missing values are a bin of their own.
CREATE FUNCTION ltv.compare_profiles(before jsonb, now jsonb, thresholds jsonb)
RETURNS SETOF ltv.feature_drift
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH pair AS (
        SELECT b.i, b.e ->> 'name' AS feature, b.e ->> 'kind' AS kind, b.e AS b, n.e AS n,
               b.e ->> 'kind' = 'categorical' AS is_category,
               (b.e ->> 'n')::float8 AS n_then, (n.e ->> 'n')::float8 AS n_now,
               COALESCE((b.e ->> 'missing')::float8, 0) AS missing_then,
               COALESCE((n.e ->> 'missing')::float8, 0) AS missing_now
        FROM jsonb_array_elements(before) WITH ORDINALITY AS b(e, i)
        JOIN jsonb_array_elements(now) n(e) ON n.e ->> 'name' = b.e ->> 'name'
    ), counted AS (
        SELECT p.i, c.bin, sum(c.n_then) AS n_then, sum(c.n_now) AS n_now
        FROM pair p, LATERAL (
            SELECT 'v' || k.key AS bin, k.value::float8 AS n_then, 0::float8 AS n_now
            FROM jsonb_each_text(p.b -> 'counts') k
            UNION ALL
            -- Categories that were not listed then are one bin.
            SELECT CASE WHEN p.b -> 'counts' ? k.key OR NOT p.is_category THEN 'v' || k.key ELSE 'other' END,
                   0, k.value::float8
            FROM jsonb_each_text(p.n -> 'counts') k
            UNION ALL
            SELECT 'other', COALESCE((p.b ->> 'other')::float8, 0) * p.n_then * (1 - p.missing_then), 0
            WHERE p.is_category
            UNION ALL SELECT 'missing', p.missing_then * p.n_then, p.missing_now * p.n_now) c
        GROUP BY p.i, c.bin HAVING sum(c.n_then) > 0 OR sum(c.n_now) > 0
    ), smooth AS (
        -- Half a row more in each bin, so that an empty one is not infinitely far away.
        SELECT c.i, (c.n_then + 0.5) / (p.n_then + 0.5 * p.bins) AS t, (c.n_now + 0.5) / (p.n_now + 0.5 * p.bins) AS w
        FROM counted c
        JOIN (SELECT p.i, p.n_then, p.n_now, count(*) AS bins
              FROM pair p JOIN counted c USING (i) GROUP BY 1, 2, 3) p USING (i)
    ), raw AS (
        SELECT i, count(*) - 1 AS freedom, sum((w - t) * ln(w / t)) AS psi,
               greatest(0, sum(t * ln(2 * t / (t + w)) + w * ln(2 * w / (t + w))) / 2) AS js
        FROM smooth GROUP BY i
    ), judged AS (
        SELECT p.*, r.psi, r.js, r.freedom, 1 / p.n_then + 1 / p.n_now AS noise,
               CASE WHEN p.kind <> 'timestamp'
                    THEN COALESCE((thresholds ->> p.feature)::float8, ltv.drift_threshold(p.feature, p.kind))
               END AS threshold,
               CASE WHEN r.freedom > 0 THEN ltv.chi_squared_999(r.freedom) ELSE 0 END AS extreme
        FROM pair p JOIN raw r USING (i)
    ), fresh AS (
        SELECT p.i, array_agg(k.key ORDER BY k.value::float8 DESC, k.key) AS categories,
               sum(k.value::float8) / p.n_now AS share
        FROM pair p, jsonb_each_text(p.n -> 'counts') k
        WHERE p.is_category AND NOT p.b -> 'counts' ? k.key GROUP BY p.i, p.n_now
    ), reasons AS (
        SELECT j.*, f.categories, NULLIF(concat_ws('; ',
            CASE WHEN NOT j.is_category AND j.psi > j.threshold + j.noise * j.extreme
                 THEN format('PSI %s is above %s', round(j.psi::numeric, 2), j.threshold) END,
            CASE WHEN j.is_category AND j.js / ln(2) > j.threshold ^ 2 + j.noise * j.extreme / 8 / ln(2)
                 THEN format('Jensen-Shannon distance %s is above %s',
                             round(sqrt(j.js / ln(2))::numeric, 2), j.threshold) END,
            CASE WHEN abs(j.missing_now - j.missing_then) > 0.1 + 3.3 * sqrt(m.pooled * (1 - m.pooled) * j.noise)
                 THEN format('missing %s %% instead of %s %%',
                             round(100 * j.missing_now::numeric, 1), round(100 * j.missing_then::numeric, 1)) END,
            CASE WHEN f.share - COALESCE((j.b ->> 'other')::float8, 0)
                 > 0.05 + 3.3 * sqrt(f.share * (1 - f.share) * j.noise)
                 THEN format('new categories in %s %% of the rows',
                             round(100 * f.share::numeric, 1)) END), '') AS reason
        FROM judged j LEFT JOIN fresh f USING (i),
             LATERAL (SELECT (j.missing_then * j.n_then + j.missing_now * j.n_now) / (j.n_then + j.n_now) AS pooled) m
    )
    SELECT r.feature, r.kind, greatest(0, r.psi - r.noise * r.freedom),
           sqrt(greatest(0, r.js - r.noise * r.freedom / 8) / ln(2)),
           r.missing_then, r.missing_now, r.threshold, r.reason IS NOT NULL,
           (r.b ->> 'mean')::float8, (r.n ->> 'mean')::float8,
           r.n_then::bigint, r.n_now::bigint, r.categories[1:20], r.reason
    FROM reasons r ORDER BY r.i
$$;
COMMENT ON FUNCTION ltv.compare_profiles IS 'how far two profiles are apart, feature by feature';

CREATE FUNCTION ltv.described_features(model text, version int) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    features jsonb := (SELECT v.statistics -> 'features' FROM ltv.readable_versions v
                       WHERE v.model = described_features.model AND v.version = described_features.version);
BEGIN
    IF COALESCE(jsonb_array_length(features), 0) = 0 THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('version %s of model "%s" has no statistics of its features', version, model),
            DETAIL = 'They are stored by training; imported models have none.',
            HINT = 'Compare with a version that was trained here.';
    END IF;
    RETURN features;
END
$$;
COMMENT ON FUNCTION ltv.described_features IS 'the features that a version described in training';

CREATE FUNCTION ltv.check_thresholds(thresholds jsonb, features jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    IF thresholds IS NOT NULL AND jsonb_typeof(thresholds) <> 'object' THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'thresholds must be a JSON object of numbers',
            HINT = 'For example thresholds => ''{"recency": 0.1}''.';
    END IF;
    SELECT * INTO wrong FROM jsonb_each(thresholds) t
    WHERE NOT ltv.is_double(t.value)
      OR NOT EXISTS (SELECT FROM jsonb_array_elements(features) f(e) WHERE f.e ->> 'name' = t.key)
    LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('invalid threshold "%s": %s', wrong.key, wrong.value),
            DETAIL = (SELECT format('The features are: %s.', string_agg(f.e ->> 'name', ', '))
                      FROM jsonb_array_elements(features) f(e)),
            HINT = 'Give a number for the name of a feature, or for ltv, the predictions.';
    END IF;
END
$$;
COMMENT ON FUNCTION ltv.check_thresholds IS 'an error unless thresholds are numbers for features';

CREATE FUNCTION ltv.skew_of_query(model text, query text, version bigint, thresholds jsonb)
RETURNS SETOF ltv.feature_drift
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    features jsonb := ltv.described_features(model, used);
BEGIN
    PERFORM ltv.check_thresholds(thresholds, features);
    RETURN QUERY
        SELECT *
        FROM ltv.compare_profiles(ltv.training_profile(features), ltv.profile(query, features, model, used),
             thresholds);
END
$$;
COMMENT ON FUNCTION ltv.skew_of_query IS 'see ltv_validate_data_skew; the query is bound';

CREATE FUNCTION ltv.validate_data_skew(model text, query text, version bigint, thresholds jsonb)
RETURNS SETOF ltv.feature_drift
LANGUAGE sql
AS $$ SELECT * FROM ltv.skew_of_query(model, ltv.given_query(query), version, thresholds) $$;
COMMENT ON FUNCTION ltv.validate_data_skew(text, text, bigint, jsonb) IS 'see ltv_validate_data_skew';

CREATE FUNCTION @extschema@.ltv_validate_data_skew(
    model text, query text, version bigint DEFAULT NULL, thresholds jsonb DEFAULT NULL
)
RETURNS TABLE (
    feature text, kind text, psi float8, js_distance float8, missing_then float8, missing_now float8,
    threshold float8, drifted boolean, mean_then float8, mean_now float8, n_then bigint, n_now bigint,
    new_categories text[], reason text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_validate_data_skew
    IS 'compares rows with those that a version was trained on, feature by feature and by its predictions';

CREATE FUNCTION ltv.drift_of_queries(model text, query_then text, query_now text, version bigint, thresholds jsonb)
RETURNS SETOF ltv.feature_drift
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    features jsonb := ltv.described_features(model, used);
BEGIN
    PERFORM ltv.check_thresholds(thresholds, features);
    RETURN QUERY SELECT * FROM ltv.compare_profiles(ltv.profile(query_then, features, model, used),
                                                    ltv.profile(query_now, features, model, used), thresholds);
END
$$;
COMMENT ON FUNCTION ltv.drift_of_queries IS 'see ltv_validate_data_drift; the queries are bound';

CREATE FUNCTION ltv.validate_data_drift(model text, query_then text, query_now text, version bigint, thresholds jsonb)
RETURNS SETOF ltv.feature_drift
LANGUAGE sql
AS $$
    SELECT *
    FROM ltv.drift_of_queries(model, ltv.given_query(query_then), ltv.given_query(query_now), version, thresholds)
$$;
COMMENT ON FUNCTION ltv.validate_data_drift(text, text, text, bigint, jsonb) IS 'see ltv_validate_data_drift';

CREATE FUNCTION @extschema@.ltv_validate_data_drift(
    model text, query_then text, query_now text, version bigint DEFAULT NULL, thresholds jsonb DEFAULT NULL
)
RETURNS TABLE (
    feature text, kind text, psi float8, js_distance float8, missing_then float8, missing_now float8,
    threshold float8, drifted boolean, mean_then float8, mean_now float8, n_then bigint, n_now bigint,
    new_categories text[], reason text
)
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_validate_data_drift
    IS 'compares the rows of two periods, feature by feature and by the predictions of a version';

-- Recorded runs ----------------------------------------------------------------------------------------------------

CREATE VIEW ltv.readable_monitoring WITH (security_barrier) AS
SELECT m.* FROM ltv.monitoring m WHERE ltv.has_privilege(m.model, 'read');
COMMENT ON VIEW ltv.readable_monitoring IS 'what ltv_monitor found of the models that the current role may look into';
CREATE VIEW ltv.readable_alerts WITH (security_barrier) AS
SELECT a.* FROM ltv.alerts a WHERE ltv.has_privilege(a.model, 'read');
COMMENT ON VIEW ltv.readable_alerts IS 'the alerts of the models that the current role may look into';
GRANT SELECT ON ltv.readable_monitoring, ltv.readable_alerts TO PUBLIC;

-- Whether a mean prediction lies outside the band of the earlier runs of the version: 2 standard deviations of a new
-- observation around their mean, to which the sampling error of this run is added. Five runs make a history.
CREATE FUNCTION ltv.outside_band(model text, version int, mean float8, error float8) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('mean prediction %s is outside %s to %s', round(mean::numeric, 2),
                  round((h.mean - h.width)::numeric, 2), round((h.mean + h.width)::numeric, 2))
    FROM (SELECT avg(m.mean_now) AS mean,
                 2 * sqrt(var_samp(m.mean_now) * (1 + 1.0 / count(*)) + error ^ 2) AS width, count(*) AS runs
          FROM ltv.readable_monitoring m WHERE m.model = $1 AND m.version = $2 AND m.feature = 'ltv') h
    WHERE h.runs >= 5 AND abs($3 - h.mean) > h.width
$$;
COMMENT ON FUNCTION ltv.outside_band IS 'says so if a mean prediction is outside the band of earlier runs';

-- Writes an alert down and tells the channel of the model, which only those know who may read the model.
CREATE FUNCTION ltv.raise_alert(
    model text, kind text, version int, run bigint, feature text, message text
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    raised ltv.alerts;
BEGIN
    INSERT INTO ltv.alerts (model, kind, version, run, feature, message)
    VALUES (raise_alert.model, raise_alert.kind, raise_alert.version, raise_alert.run, raise_alert.feature,
            raise_alert.message)
    RETURNING * INTO raised;
    PERFORM pg_notify(m.alert_channel, json_strip_nulls(json_build_object(
        'model', raised.model, 'kind', raised.kind, 'version', raised.version, 'run', raised.run,
        'feature', raised.feature, 'message', left(raised.message, 1000)))::text)
    FROM ltv.models m WHERE m.model = raised.model;
    RETURN raised.alert;
END
$$;
COMMENT ON FUNCTION ltv.raise_alert IS 'writes an alert down and tells it';
REVOKE ALL ON FUNCTION ltv.raise_alert FROM PUBLIC;

-- Writes a run and its alerts down.
CREATE FUNCTION ltv.record_run(model text, version int, findings jsonb) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_for_caller';
COMMENT ON FUNCTION ltv.record_run(text, int, jsonb) IS 'records what ltv_monitor found; returns the number of alerts';

CREATE FUNCTION ltv.record_run(caller regrole, model text, version int, findings jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this_run bigint := nextval('ltv.monitoring_run');
    raised int;
BEGIN
    PERFORM ltv.check_model(caller, model, 'read');
    PERFORM ltv.check_version(model, version);
    INSERT INTO ltv.monitoring (
        run, model, version, feature, kind, n, psi, js_distance, missing_then, missing_now, mean_then, mean_now,
        threshold, drifted, reason
    )
    SELECT this_run, record_run.model, record_run.version, f.*
    FROM jsonb_to_recordset(findings) AS f(
        feature text, kind text, n bigint, psi float8, js_distance float8, missing_then float8, missing_now float8,
        mean_then float8, mean_now float8, threshold float8, drifted boolean, reason text);
    SELECT count(ltv.raise_alert(m.model, 'drift', m.version, m.run, m.feature, m.reason)) INTO raised
    FROM ltv.monitoring m WHERE m.run = this_run AND m.drifted;
    RETURN raised;
END
$$;
COMMENT ON FUNCTION ltv.record_run(regrole, text, int, jsonb)
    IS 'records what ltv_monitor found, for who may read the model';

CREATE FUNCTION ltv.monitor_query(model text, query text, version bigint, thresholds jsonb, retrain boolean) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used int := ltv.version_or_champion(model, version);
    features jsonb := ltv.described_features(model, used);
    now_profile jsonb;
    predictions jsonb;
    findings jsonb;
    raised int;
BEGIN
    IF retrain THEN
        PERFORM ltv.check_model(model, 'owner');
    END IF;
    thresholds := COALESCE(thresholds,
        (SELECT m.settings -> 'thresholds' FROM ltv.usable_models m WHERE m.model = monitor_query.model));
    PERFORM ltv.check_thresholds(thresholds, features);
    now_profile := ltv.on_rows(model, used, query,
        'SELECT ltv.profile($1, $2 -> ''features'', $2 ->> ''model'', ($2 ->> ''version'')::int)',
        jsonb_build_object('model', model, 'version', used, 'features', features));
    SELECT p.e INTO predictions FROM jsonb_array_elements(now_profile) p(e) WHERE p.e ->> 'name' = 'ltv';
    SELECT jsonb_agg(to_jsonb(f)) INTO findings FROM (
        SELECT c.feature, c.kind, c.n_now AS n, c.psi, c.js_distance, c.missing_then, c.missing_now,
               c.mean_then, c.mean_now, c.threshold,
               c.drifted OR b.reason IS NOT NULL AS drifted, NULLIF(concat_ws('; ', c.reason, b.reason), '') AS reason
        FROM ltv.compare_profiles(ltv.training_profile(features), now_profile, thresholds) c
        LEFT JOIN LATERAL (SELECT CASE WHEN c.feature = 'ltv' THEN ltv.outside_band(
            monitor_query.model, used, c.mean_now,
            (predictions ->> 'std')::float8 / sqrt((predictions ->> 'n')::float8)) END AS reason) b ON true) f;
    raised := ltv.record_run(model, used, findings);
    IF retrain AND raised > 0 THEN
        PERFORM ltv.retrain(model, NULL, NULL, NULL, false, NULL, '{}', NULL);
    END IF;
    RETURN raised;
END
$$;
COMMENT ON FUNCTION ltv.monitor_query IS 'see ltv_monitor; the query is bound';

CREATE FUNCTION ltv.monitor(model text, query text, version bigint, thresholds jsonb, retrain boolean)
RETURNS int
LANGUAGE sql
AS $$ SELECT ltv.monitor_query(model, ltv.bind_query(query), version, thresholds, retrain) $$;
COMMENT ON FUNCTION ltv.monitor(text, text, bigint, jsonb, boolean) IS 'see ltv_monitor';

CREATE FUNCTION @extschema@.ltv_monitor(
    model text, query text DEFAULT NULL, version bigint DEFAULT NULL, thresholds jsonb DEFAULT NULL,
    retrain boolean DEFAULT false
) RETURNS int
LANGUAGE c AS 'MODULE_PATHNAME', 'ltv_quietly';
COMMENT ON FUNCTION @extschema@.ltv_monitor
    IS 'compares rows with the training of the champion, records what it finds, and returns the number of alerts';
